//! Origins in bad weather: as long as one is honest, viewers get what they asked for.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use wcdn_dev::Topology;
use wcdn_node::config::OriginSpec;
use wcdn_proto::{BlobId, Span};
use wcdn_tests::{
    Fleet, bytes,
    script::{self, ScriptedOrigin},
};
use wcdn_walrus::blob_id;

fn impatient(topology: &mut Topology) {
    topology.edge.fetch.head_timeout = Span::millis(300);
    topology.edge.fetch.idle_timeout = Span::millis(300);
}

/// Every way of failing that the stand-in knows.
fn faults() -> Vec<Value> {
    vec![
        json!({"corrupt": true}),
        json!({"truncate_at": 1_000}),
        json!({"truncate_at": 0}),
        json!({"stall_at": 1_000}),
        json!({"extra_bytes": 10}),
        json!({"html": true}),
        json!({"refuse": true}),
        json!({"status": 500}),
        json!({"status": 503}),
        json!({"status": 429}),
        json!({"status": 404}),
        json!({"status": 502}),
        json!({"latency_ms": 2_000}),
        json!({"max_body": 10}),
        json!({"corrupt": true, "truncate_at": 20_000}),
        json!({"extra_bytes": 7, "truncate_at": 20_000}),
    ]
}

#[tokio::test]
async fn one_bad_origin_of_three_is_never_seen_by_viewers() {
    for (n, fault) in faults().into_iter().enumerate() {
        // The same blob with another origin bad each time: once the bad one is asked first.
        let body = bytes(n as u64, 60_000 + n);
        let mut asked = 0;
        for bad in 0..3 {
            let fleet = Fleet::with(impatient).await;
            let id = fleet.store(body.clone()).await;
            fleet.fault(bad, fault.clone()).await;
            let reply = fleet.get(&format!("/cdn/{id}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{fault}: {reply:?}");
            assert!(reply.complete && reply.body == body, "{fault}");
            assert!(reply.header("cache-status").ends_with("detail=full"), "{fault}");
            let stats = fleet.client.get(&format!("{}/_stats", fleet.aggregator(bad))).await;
            asked += stats.json()["requests"].as_u64().unwrap();
        }
        assert!(asked > 0, "{fault} was never met");
    }
}

#[tokio::test]
async fn one_honest_origin_of_three_suffices() {
    // Two that say 404 are believed: that is no fault one honest origin could outweigh.
    let faults: Vec<_> = faults().into_iter().filter(|fault| fault["status"] != 404).collect();
    for (n, fault) in faults.iter().enumerate() {
        let other = &faults[(n + 4) % faults.len()];
        let body = bytes(1_000 + n as u64, 50_000 + n);
        for honest in 0..3 {
            let fleet = Fleet::with(impatient).await;
            let id = fleet.store(body.clone()).await;
            fleet.fault((honest + 1) % 3, fault.clone()).await;
            fleet.fault((honest + 2) % 3, other.clone()).await;
            let reply = fleet.get(&format!("/cdn/{id}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{fault} and {other}: {reply:?}");
            assert!(reply.complete && reply.body == body, "{fault} and {other}");
        }
    }
}

#[tokio::test]
async fn a_large_blob_from_bad_origins_is_right_or_cut_but_never_ended_wrong() {
    for (n, fault) in [
        json!({"corrupt": true}),
        json!({"truncate_at": 2_000_000}),
        json!({"stall_at": 1_500_000}),
        json!({"extra_bytes": 9}),
        json!({"corrupt": true, "truncate_at": 1_800_000}),
    ]
    .into_iter()
    .enumerate()
    {
        let body = bytes(2_000 + n as u64, 2_500_000);
        for bad in 0..3 {
            let fleet = Fleet::with(impatient).await;
            let id = fleet.store(body.clone()).await;
            fleet.fault(bad, fault.clone()).await;
            let path = format!("/cdn/{id}");
            let reply = fleet.get(&path).await;
            assert!(!reply.complete || reply.body == body, "{fault} ended wrong");
            let again = fleet.get(&path).await;
            assert!(again.complete && again.body == body, "{fault} is not forgotten");
        }
    }
}

#[tokio::test]
async fn a_blob_continues_at_the_byte_reached() {
    let fleet = Fleet::with(impatient).await;
    let body = bytes(1, 4_000_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"truncate_at": 3_000_000})).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(reply.complete && reply.body == body);
    assert_eq!(fleet.metric("wcdn_origin_bytes_total", "").await, 4_000_000.0, "no byte twice");
}

#[tokio::test]
async fn where_every_origin_breaks_off_again_and_again_a_blob_still_gets_done() {
    let fleet = Fleet::with(impatient).await;
    let body = bytes(3, 7_000_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"truncate_at": 1_000_000})).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(reply.complete && reply.body == body);
    assert_eq!(fleet.metric("wcdn_origin_bytes_total", "").await, 7_000_000.0, "no byte twice");
}

#[tokio::test]
async fn all_origins_down_serves_what_is_cached_and_names_those_tried_otherwise() {
    let fleet = Fleet::with(impatient).await;
    let (cached, uncached) = (bytes(1, 9_000), bytes(2, 9_000));
    let known = fleet.store(cached.clone()).await;
    let unknown = fleet.store(uncached.clone()).await;
    fleet.get(&format!("/cdn/{known}")).await;
    for (fault, status, code) in [
        (json!({"refuse": true}), StatusCode::BAD_GATEWAY, "ORIGINS_FAILED"),
        (json!({"status": 500}), StatusCode::BAD_GATEWAY, "ORIGINS_FAILED"),
        (json!({"corrupt": true}), StatusCode::BAD_GATEWAY, "ORIGINS_FAILED"),
        (json!({"latency_ms": 2_000}), StatusCode::GATEWAY_TIMEOUT, "ORIGINS_TIMED_OUT"),
        (json!({"status": 429}), StatusCode::SERVICE_UNAVAILABLE, "ORIGINS_BUSY"),
    ] {
        fleet.fault_all(fault.clone()).await;
        let hit = fleet.get(&format!("/cdn/{known}")).await;
        assert_eq!((hit.status, hit.body), (StatusCode::OK, cached.clone()), "{fault}");
        let miss = fleet.get(&format!("/cdn/{unknown}")).await;
        assert_eq!((miss.status, miss.code().as_str()), (status, code), "{fault}");
        let message = miss.json()["error"]["message"].as_str().unwrap().to_owned();
        for origin in ["aggregator-1", "aggregator-2", "aggregator-3"] {
            assert!(message.contains(origin), "{fault}: {message}");
        }
        assert_eq!(miss.header("cache-control"), "no-store");
    }
    fleet.fault_all(json!({})).await;
    let healed = fleet.get(&format!("/cdn/{unknown}")).await;
    assert_eq!((healed.status, healed.body), (StatusCode::OK, uncached), "nothing was cached");
}

#[tokio::test]
async fn one_origin_alone_is_not_believed_that_a_blob_is_gone() {
    let fleet = Fleet::start().await;
    for bad in 0..3 {
        fleet.fault_all(json!({})).await;
        let body = bytes(bad as u64, 3_000);
        let id = fleet.store(body.clone()).await;
        fleet.fault(bad, json!({"status": 404})).await;
        fleet.fault((bad + 1) % 3, json!({"status": 451})).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert!(matches!(reply.status, StatusCode::OK | StatusCode::NOT_FOUND));
        fleet.fault((bad + 1) % 3, json!({})).await;
        let body = bytes(50 + bad as u64, 3_000);
        let id = fleet.store(body.clone()).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!((reply.status, reply.body), (StatusCode::OK, body));
    }
}

#[tokio::test]
async fn two_origins_that_withhold_a_blob_make_it_451() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(1, 3_000)).await;
    fleet.fault_all(json!({"status": 451})).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert_eq!(reply.status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    assert_eq!(reply.code(), "FORBIDDEN_BLOB");
}

#[tokio::test]
async fn a_liar_is_named_in_the_metrics_and_asked_last() {
    let fleet = Fleet::start().await;
    fleet.fault(1, json!({"corrupt": true})).await;
    for n in 0..30 {
        let body = bytes(n, 60_000);
        let id = fleet.store(body.clone()).await;
        assert_eq!(fleet.get(&format!("/cdn/{id}")).await.body, body);
    }
    let lies = "origin=\"aggregator-2\",outcome=\"lied\"";
    assert_eq!(fleet.metric("wcdn_origin_requests_total", lies).await, 1.0, "then it was avoided");
    let others = fleet.metric("wcdn_origin_requests_total", "outcome=\"lied\"").await;
    assert_eq!(others, 1.0, "nobody else is accused");
}

/// An edge before these origins alone.
async fn before(origins: &[&ScriptedOrigin], change: impl FnOnce(&mut Topology)) -> Fleet {
    let specs = origins.iter().enumerate().map(|(n, origin)| {
        let name = format!("scripted-{n}").parse().unwrap();
        OriginSpec::new(name, origin.url().parse().unwrap())
    });
    let specs: Vec<_> = specs.collect();
    Fleet::with(|topology| {
        impatient(topology);
        topology.edge.origins = specs;
        change(topology);
    })
    .await
}

/// A blob for which the first of two scripted origins is asked first.
fn blob() -> (bytes::Bytes, BlobId) {
    let body = bytes(77, 5_000);
    let id = blob_id(Topology::for_tests().encoding, std::slice::from_ref(&body)).unwrap();
    (body, id)
}

#[tokio::test]
async fn answers_that_make_no_sense_cost_a_retry_and_no_error() {
    let (body, id) = blob();
    let answers: Vec<Vec<u8>> = vec![
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec(),
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 1\r\n\r\nx".to_vec(),
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            .to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'y'; 600_000], b"\r\n\r\n"].concat(),
        script::with_length(&body, 5_001),
        script::with_length(&body, 4_999),
        script::with_length(b"", usize::MAX / 2),
        Vec::new(),
    ];
    for answer in answers {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let honest = body.clone();
        let odd = ScriptedOrigin::start(move |_| answer.clone()).await;
        let good = ScriptedOrigin::start(move |_| script::ok(&honest)).await;
        let fleet = before(&[&odd, &good], |_| {}).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{shown}: {reply:?}");
        assert!(reply.complete && reply.body == body, "{shown}");
        assert!(odd.requests() > 0 || good.requests() > 0);
    }
}

#[tokio::test]
async fn an_origin_that_trickles_is_left_for_another() {
    let (body, id) = blob();
    let answer = script::ok(&body);
    let slow = ScriptedOrigin::trickling(answer.clone(), Duration::from_millis(20)).await;
    let good = ScriptedOrigin::start(move |_| answer.clone()).await;
    for origins in [[&slow, &good], [&good, &slow]] {
        let fleet = before(&origins, |topology| {
            topology.edge.fetch.min_rate_window = Span::millis(500);
        })
        .await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert!(reply.status == StatusCode::OK && reply.body == body, "{reply:?}");
    }
    assert!(slow.requests() > 0, "it was asked first at least once");
}
