//! What operators see and do.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use wcdn_proto::Span;
use wcdn_tests::{Fleet, bytes, eventually};

#[tokio::test]
async fn a_ready_edge_says_so_and_tells_its_metrics() {
    let fleet = Fleet::start().await;
    let admin = fleet.cluster.edges()[0].admin_url.clone();
    for path in ["/livez", "/readyz"] {
        assert_eq!(fleet.client.get(&format!("{admin}{path}")).await.status, StatusCode::OK);
    }
    let id = fleet.store(bytes(1, 10)).await;
    fleet.get(&format!("/cdn/{id}")).await;
    let metrics = fleet.client.get(&format!("{admin}/metrics")).await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for name in ["wcdn_requests", "wcdn_response_head_seconds", "wcdn_cache_bytes", "wcdn_fills"] {
        let types = format!("# TYPE {name} ");
        assert_eq!(text.matches(&types).count(), 1, "{name} is declared once");
    }
    assert!(text.contains("region=\"us-west\"") && text.ends_with("# EOF\n"));
    let outside = fleet.get("/metrics").await;
    assert_eq!(outside.status, StatusCode::NOT_FOUND, "viewers have no business there");
}

#[tokio::test]
async fn draining_finishes_what_runs_and_refuses_what_is_new() {
    let fleet = Fleet::start().await;
    let body = bytes(1, 60_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"latency_ms": 400})).await;
    let (url, admin) =
        (fleet.edge(0, &format!("/cdn/{id}")), fleet.cluster.edges()[0].admin_url.clone());
    let running = fleet.client.get(&url);
    let draining = async {
        eventually("the request runs", || async {
            fleet.metric("wcdn_fills_in_flight", "").await == 1.0
        })
        .await;
        fleet.cluster.edges()[0].drain();
        eventually("the edge says that it drains", || async {
            let ready = fleet.client.get(&format!("{admin}/readyz")).await;
            ready.status == StatusCode::SERVICE_UNAVAILABLE && ready.body == "draining\n"
        })
        .await;
        let address = url.split('/').nth(2).unwrap().to_owned();
        eventually("nothing new is accepted", || async {
            tokio::net::TcpStream::connect(&address).await.is_err()
        })
        .await;
    };
    let (reply, ()) = tokio::join!(running, draining);
    assert_eq!((reply.status, reply.body), (StatusCode::OK, body));
    fleet.stop().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_even_if_a_viewer_does_not() {
    let fleet =
        Fleet::with(|topology| topology.edge.limits.drain_timeout = Span::millis(300)).await;
    let id = fleet.store(bytes(2, 5_000_000)).await;
    fleet.fault_all(json!({"stall_at": 2_000_000})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let (_, _, mut body) = fleet.client.request(Method::GET, &url).open().await.unwrap();
    body.frame().await.unwrap().unwrap();
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(10), fleet.stop());
    stopped.await.expect("the drain ends");
}

#[tokio::test]
async fn a_head_is_no_response_cut_short() {
    let fleet = Fleet::start().await;
    for path in ["/status", "/cdn/nonsense"] {
        let reply = fleet.client.head(&fleet.edge(0, path)).await;
        assert_ne!(reply.header("content-length"), "0", "{path}");
    }
    assert_eq!(fleet.metric("wcdn_responses_cut_total", "").await, 0.0);
}

#[tokio::test]
async fn every_request_leaves_a_line_in_the_access_log() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("access.log");
    let fleet = Fleet::with(|topology| topology.edge.access_log.to = path.clone()).await;
    let id = fleet.store(bytes(3, 1_234)).await;
    fleet.get(&format!("/cdn/{id}")).await;
    fleet.get(&format!("/cdn/{id}")).await;
    fleet.get("/cdn/nonsense").await;
    fleet.stop().await;
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line["status"].as_u64(), line["cache"].as_str(), line["source"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(200), Some("MISS"), Some("walrus")),
            (Some(200), Some("HIT"), Some("memory")),
            (Some(400), Some("-"), Some("edge")),
        ]
    );
    assert_eq!(lines[0]["bytes"], 1_234);
    assert_eq!(lines[0]["completed"], true);
    assert_eq!(lines[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn several_edges_of_a_region_run_side_by_side() {
    let fleet = Fleet::with(|topology| topology.edges_per_region = 2).await;
    assert_eq!(fleet.cluster.edges().len(), 6);
    let id = fleet.store(bytes(4, 100)).await;
    for edge in 0..6 {
        let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
        assert_eq!(reply.body, bytes(4, 100));
    }
}
