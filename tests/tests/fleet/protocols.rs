//! HTTP/1.1, HTTP/2 and TLS: the same answers by every way.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode, Version};
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wcdn_proto::Span;
use wcdn_tests::{
    Fleet, bytes,
    client::{Client, Protocol, Reply},
    eventually,
    frames::{END, Line, frame, get, kind},
    tls::{Deployed, Issued},
};

#[tokio::test]
async fn one_port_speaks_http1_and_http2() {
    let fleet = Fleet::start().await;
    let body = bytes(1, 100_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for (client, version) in
        [(Client::default(), Version::HTTP_11), (Client::http2(), Version::HTTP_2)]
    {
        let reply = client.get(&url).await;
        assert_eq!(
            (reply.version, reply.status, reply.body),
            (version, StatusCode::OK, body.clone())
        );
    }
}

/// What must be the same however a request came.
fn lasting(reply: Reply) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = reply.headers;
    for passing in ["date", "x-request-id", "server-timing", "age"] {
        headers.remove(passing);
    }
    let body = if reply.status.is_success() { reply.body } else { Bytes::new() };
    (reply.status, headers, body)
}

#[tokio::test]
async fn http2_answers_as_http1_does() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(2, 300_000)).await;
    let blob = format!("/cdn/{id}");
    fleet.get(&blob).await;
    let (old, new) = (Client::default(), Client::http2());
    let etag = format!("\"{id}\"");
    let none = "A".repeat(43);
    let missing = format!("/cdn/{none}");
    let part = format!("/v1/blobs/{id}/byte-range?start=10&length=20");
    type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 13] = [
        (Method::GET, &blob, &[]),
        (Method::HEAD, &blob, &[]),
        (Method::GET, &blob, &[("range", "bytes=5-99")]),
        (Method::GET, &blob, &[("range", "bytes=-7")]),
        (Method::GET, &blob, &[("range", "bytes=900000-")]),
        (Method::GET, &blob, &[("if-none-match", &etag)]),
        (Method::GET, &blob, &[("if-match", "\"other\"")]),
        (Method::GET, &missing, &[]),
        (Method::HEAD, &missing, &[]),
        (Method::GET, "/cdn/nonsense", &[]),
        (Method::GET, &part, &[]),
        (Method::PUT, &blob, &[]),
        (Method::OPTIONS, &blob, &[]),
    ];
    for (method, path, headers) in cases {
        let url = fleet.edge(0, path);
        let mut replies = Vec::new();
        for client in [&old, &new] {
            let asking = client.request(method.clone(), &url);
            let asking =
                headers.iter().fold(asking, |asking, (name, value)| asking.header(name, value));
            let reply = asking.send().await;
            assert!(reply.complete, "{method} {path} {headers:?}");
            replies.push(lasting(reply));
        }
        assert_eq!(replies[0], replies[1], "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn an_uncached_blob_streams_over_http2_to_many_at_once() {
    let fleet = Fleet::start().await;
    let body = bytes(3, 3_000_000);
    let id = fleet.store(body.clone()).await;
    let (client, url) = (Client::http2(), fleet.edge(0, &format!("/cdn/{id}")));
    let replies = join_all((0..50).map(|_| client.get(&url))).await;
    assert!(replies.iter().all(|reply| reply.complete && reply.body == body));
    assert_eq!(fleet.fetches(&id).await, 1);
    assert_eq!(fleet.metric("wcdn_connections", "").await, 1.0);
}

#[tokio::test]
async fn an_upload_over_http2_is_refused_and_the_connection_lives_on() {
    let fleet = Fleet::start().await;
    let client = Client::http2();
    let url = fleet.edge(0, "/v1/blobs");
    let refused = client.request(Method::PUT, &url).body(bytes(1, 500_000)).send().await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.header("connection"), "", "HTTP/2 has no such header");
    assert_eq!(client.get(&fleet.edge(0, "/status")).await.body, "OK");
}

/// The status of a response over HTTP/2 whose head begins with an indexed field.
async fn status(fleet: &Fleet, block: &[u8]) -> Option<u16> {
    let mut line = Line::open(fleet.address(), &[]).await;
    line.send(&frame(kind::HEADERS, END, 1, block)).await.unwrap();
    match line.next_of(kind::HEADERS).await?.payload[..] {
        [0x88, ..] => Some(200),
        [0x8c, ..] => Some(400),
        ref other => panic!("{other:x?}"),
    }
}

#[tokio::test]
async fn a_request_over_http2_names_one_host() {
    let fleet = Fleet::start().await;
    for (block, expected) in [
        (get(Some("edge.example"), "/status", &[]), 200),
        (get(None, "/status", &[("host", "edge.example")]), 200),
        (get(Some("edge.example"), "/status", &[("host", "EDGE.example")]), 200),
        (get(None, "/status", &[]), 400),
        (get(Some("edge.example"), "/status", &[("host", "other.example")]), 400),
        (get(Some("a"), "/status", &[("host", "a"), ("host", "a")]), 400),
    ] {
        assert_eq!(status(&fleet, &block).await, Some(expected), "{block:?}");
    }
}

#[tokio::test]
async fn tls_speaks_both_versions_and_the_protocol_that_was_agreed() {
    let issued = Issued::new();
    let deployed = Deployed::new(&issued);
    let fleet = Fleet::with(|topology| deployed.serve(topology)).await;
    let body = bytes(4, 200_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.tls(&format!("/cdn/{id}"));
    for versions in [&TLS12, &TLS13] {
        for (protocol, version) in
            [(Protocol::Http1, Version::HTTP_11), (Protocol::Http2, Version::HTTP_2)]
        {
            let client = Client::over_tls(protocol, &issued.der, &[versions]);
            let reply = client.get(&url).await;
            assert_eq!((reply.version, reply.status), (version, StatusCode::OK));
            assert_eq!(reply.body, body);
        }
    }
}

#[tokio::test]
async fn browsers_are_told_over_tls_alone_to_come_by_it() {
    let issued = Issued::new();
    let deployed = Deployed::new(&issued);
    let fleet = Fleet::with(|topology| {
        deployed.serve(topology);
        topology.edge.tls.hsts =
            Some(wcdn_node::config::Hsts { include_subdomains: true, ..Default::default() });
    })
    .await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let client = Client::over_tls(protocol, &issued.der, &[&TLS13]);
        for path in ["/status", "/cdn/nonsense"] {
            let told = client.get(&fleet.tls(path)).await;
            let told = told.header("strict-transport-security").to_owned();
            assert_eq!(told, "max-age=31536000; includeSubDomains", "{path}");
            assert_eq!(fleet.get(path).await.header("strict-transport-security"), "", "{path}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_exchanged_under_load_and_nothing_is_dropped() {
    let (first, second) = (Issued::new(), Issued::new());
    let deployed = Deployed::new(&first);
    let fleet = Fleet::with(|topology| deployed.serve(topology)).await;
    let body = bytes(5, 50_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.tls(&format!("/cdn/{id}"));
    let client = |protocol, issued: &Issued| Client::over_tls(protocol, &issued.der, &[&TLS13]);
    let old = [client(Protocol::Http1, &first), client(Protocol::Http2, &first)];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = join_all(old.iter().map(|client| async {
        let mut count = 0;
        while !*stopped.borrow() {
            let reply = client.get(&url).await;
            assert!(reply.complete && reply.body == body);
            count += 1;
        }
        count
    }));
    let swap = async {
        eventually("the load runs", || async {
            fleet.metric("wcdn_requests_total", "source=\"memory\"").await > 20.0
        })
        .await;
        deployed.write(&second);
        let node = fleet.cluster.edges()[0].node();
        assert_eq!(node.reload(node.config()).unwrap().needs_restart, Vec::<String>::new());
        for protocol in [Protocol::Http1, Protocol::Http2] {
            assert_eq!(client(protocol, &second).get(&url).await.body, body);
            let refused = client(protocol, &first);
            assert!(refused.request(Method::GET, &url).open().await.is_err());
        }
        let before = fleet.metric("wcdn_requests_total", "source=\"memory\"").await;
        eventually("the load runs on", || async {
            fleet.metric("wcdn_requests_total", "source=\"memory\"").await > before + 20.0
        })
        .await;
        stop.send(true).unwrap();
    };
    let (counts, ()) = tokio::join!(load, swap);
    assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one() {
    let first = Issued::new();
    let deployed = Deployed::new(&first);
    let fleet = Fleet::with(|topology| deployed.serve(topology)).await;
    deployed.spoil();
    let node = fleet.cluster.edges()[0].node();
    let told = node.reload(node.config()).unwrap_err().to_string();
    assert!(told.starts_with("tls cannot be reloaded"), "{told}");
    let client = Client::over_tls(Protocol::Http2, &first.der, &[&TLS13]);
    assert_eq!(client.get(&fleet.tls("/status")).await.body, "OK");
}

fn quick(topology: &mut wcdn_dev::Topology) {
    let limits = &mut topology.edge.limits;
    limits.handshake_timeout = Span::millis(200);
    limits.first_byte_timeout = Span::millis(200);
    limits.head_timeout = Span::millis(300);
    limits.idle_timeout = Span::millis(400);
    limits.send_timeout = Span::millis(400);
}

#[tokio::test]
async fn a_handshake_or_a_preface_that_does_not_end_is_cut() {
    let deployed = Deployed::new(&Issued::new());
    let fleet = Fleet::with(|topology| {
        quick(topology);
        deployed.serve(topology);
    })
    .await;
    let tls = fleet.tls("").replace("https://", "");
    for (address, beginning) in [
        (fleet.address().to_string(), &b"PRI * HTTP/2.0\r\n"[..]),
        (tls.clone(), b"\x16\x03\x01\x02\x00\x01\x00"),
        (tls, b""),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await.is_err();
        assert_eq!(answer, b"");
    }
}

/// A handshake is over, and nothing else has come.
async fn shaken(
    fleet: &Fleet,
    issued: &Issued,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.der.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_owned()];
    let address = fleet.tls("").replace("https://", "");
    let stream = TcpStream::connect(&address).await.unwrap();
    let name = rustls::pki_types::IpAddr::from(std::net::Ipv4Addr::LOCALHOST).into();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn a_viewer_that_says_nothing_after_its_handshake_is_cut() {
    let issued = Issued::new();
    let deployed = Deployed::new(&issued);
    let fleet = Fleet::with(|topology| {
        quick(topology);
        // What would end it if silence did not.
        topology.edge.limits.idle_timeout = Span::secs(600);
        deployed.serve(topology);
    })
    .await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut stream = shaken(&fleet, &issued, protocol).await;
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), ended).await;
        assert!(ended.is_ok() && answer.is_empty(), "{protocol:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_drain_answers_who_has_just_connected_over_tls() {
    let issued = Issued::new();
    let deployed = Deployed::new(&issued);
    let fleet = Fleet::with(|topology| {
        topology.edge.limits.drain_delay = Span::millis(0);
        deployed.serve(topology);
    })
    .await;
    let mut old = shaken(&fleet, &issued, b"http/1.1").await;
    let mut new = shaken(&fleet, &issued, b"h2").await;
    fleet.cluster.edges()[0].drain();
    eventually("nobody is let in", || async { TcpStream::connect(fleet.address()).await.is_err() })
        .await;
    old.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let request = frame(kind::HEADERS, END, 1, &get(Some("a"), "/status", &[]));
    let hello = [wcdn_tests::frames::PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), &request].concat();
    new.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(2).any(|bytes| bytes == b"OK") {
        assert_ne!(new.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
    drop(new);
    fleet.stop().await;
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_over_tls_is_cut() {
    let issued = Issued::new();
    let deployed = Deployed::new(&issued);
    let fleet = Fleet::with(|topology| {
        quick(topology);
        topology.edge.limits.min_send_rate = wcdn_proto::ByteSize::mib(1);
        deployed.serve(topology);
        topology.max_body = 64 << 20;
    })
    .await;
    let id = fleet.store(bytes(7, 30_000_000)).await;
    let (path, url) = (format!("/cdn/{id}"), fleet.tls(&format!("/cdn/{id}")));
    fleet.get(&path).await;
    for (protocol, cut) in [(Protocol::Http1, 1.0), (Protocol::Http2, 2.0)] {
        let client = Client::over_tls(protocol, &issued.der, &[&TLS13]);
        let _unread = client.request(Method::GET, &url).open().await.unwrap();
        eventually("the response is cut", || async {
            fleet.metric("wcdn_responses_cut_total", "").await == cut
        })
        .await;
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_go() {
    let fleet = Fleet::with(quick).await;
    let mut line = Line::open(fleet.address(), &[]).await;
    let block = get(Some("a"), "/status", &[]);
    line.send(&frame(kind::HEADERS, END, 1, &block)).await.unwrap();
    assert!(line.next_of(kind::HEADERS).await.is_some());
    assert!(line.next_of(kind::GOAWAY).await.is_some());
    while line.next().await.is_some() {}
}

#[tokio::test]
async fn a_drain_lets_http2_requests_finish_and_begins_none() {
    let fleet = Fleet::start().await;
    let body = bytes(6, 60_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(serde_json::json!({"latency_ms": 400})).await;
    let (client, url) = (Client::http2(), fleet.edge(0, &format!("/cdn/{id}")));
    let running = join_all((0..5).map(|_| client.get(&url)));
    let draining = async {
        eventually("the requests run", || async {
            fleet.metric("wcdn_fills_in_flight", "").await == 1.0
        })
        .await;
        fleet.cluster.edges()[0].drain();
    };
    let (replies, ()) = tokio::join!(running, draining);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK && reply.body == body));
    fleet.stop().await;
}
