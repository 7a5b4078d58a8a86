//! Which pages may read responses, where an operator says so.

use http::{HeaderMap, Method, StatusCode};
use wcdn_dev::Topology;
use wcdn_tests::{Fleet, bytes};

use super::bad_input::{connect, raw};

fn listed(topology: &mut Topology) {
    let origins = ["https://app.example", "https://*.example.org"];
    topology.edge.cors.origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
}

/// What a response says to the page it is for: the origin it names.
fn named(headers: &HeaderMap) -> Option<&str> {
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["origin"], "{headers:?}");
    let named = headers.get("access-control-allow-origin")?.to_str().unwrap();
    assert!(headers.contains_key("access-control-expose-headers"), "{headers:?}");
    Some(named)
}

#[tokio::test]
async fn only_listed_pages_may_read_whatever_the_answer_is() {
    let fleet = Fleet::with(listed).await;
    let id = fleet.store(bytes(1, 10)).await;
    let (blob, etag, none) = (format!("/cdn/{id}"), format!("\"{id}\""), "A".repeat(43));
    fleet.get(&blob).await;
    let missing = format!("/cdn/{none}");
    type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], u16);
    let cases: [Case<'_>; 8] = [
        (Method::GET, &blob, &[], 200),
        (Method::HEAD, &blob, &[], 200),
        (Method::GET, &blob, &[("range", "bytes=1-2")], 206),
        (Method::GET, &blob, &[("range", "bytes=99-")], 416),
        (Method::GET, &blob, &[("if-none-match", &etag)], 304),
        (Method::GET, &missing, &[], 404),
        (Method::POST, &blob, &[], 405),
        (Method::OPTIONS, &blob, &[("access-control-request-method", "GET")], 204),
    ];
    let allowed = ["https://app.example", "https://a.b.example.org"];
    for (method, path, headers, status) in cases {
        let url = fleet.edge(0, path);
        let asking = |origin: Option<&str>| {
            let asking = fleet.client.request(method.clone(), &url);
            let asking = headers.iter().fold(asking, |it, (name, value)| it.header(name, value));
            origin.into_iter().fold(asking, |it, origin| it.header("origin", origin)).send()
        };
        for origin in allowed {
            let reply = asking(Some(origin)).await;
            assert_eq!(reply.status.as_u16(), status, "{method} {path}");
            assert_eq!(named(&reply.headers), Some(origin), "{method} {path}");
        }
        for origin in [None, Some("null"), Some("https://example.org"), Some("http://app.example")]
        {
            let reply = asking(origin).await;
            assert_eq!(reply.status.as_u16(), status, "{method} {path}");
            assert_eq!(named(&reply.headers), None, "{method} {path} {origin:?}");
        }
    }
    let preflight = fleet.client.request(Method::OPTIONS, &fleet.edge(0, &blob));
    let preflight = preflight.header("origin", allowed[0]).send().await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert_eq!(preflight.header("access-control-max-age"), "86400");
    assert_eq!(preflight.header("access-control-allow-credentials"), "");
}

#[tokio::test]
async fn credentials_are_for_listed_pages() {
    let fleet = Fleet::with(|topology| {
        listed(topology);
        topology.edge.cors.credentials = true;
    })
    .await;
    let url = fleet.edge(0, "/status");
    for (origin, allowed) in [("https://app.example", "true"), ("https://evil.example", "")] {
        let reply = fleet.client.request(Method::GET, &url).header("origin", origin).send().await;
        assert_eq!(reply.header("access-control-allow-credentials"), allowed);
    }
}

#[tokio::test]
async fn a_page_may_read_that_there_are_too_many_connections() {
    let ask = |origin: &str| format!("GET /status HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\n\r\n");
    let answers = async |fleet: &Fleet, origin: &str| {
        let answer = raw(fleet, ask(origin).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        answer
    };
    let full = |topology: &mut Topology| topology.edge.limits.max_connections = 1;
    let open = Fleet::with(full).await;
    let _held = connect(&open).await;
    let answer = answers(&open, "https://evil.example").await;
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "{answer}");
    let some = Fleet::with(|topology| {
        full(topology);
        listed(topology);
    })
    .await;
    let _held = connect(&some).await;
    let answer = answers(&some, "https://app.example").await;
    assert!(answer.contains("\r\naccess-control-allow-origin: https://app.example\r\n"));
    assert!(answer.contains("\r\nvary: origin\r\n"), "{answer}");
    let answer = answers(&some, "https://evil.example").await;
    assert!(answer.contains("\r\nvary: origin\r\n"), "{answer}");
    assert!(!answer.contains("allow-origin"), "{answer}");
}
