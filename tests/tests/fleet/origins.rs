//! Origins in bad weather: as long as one is honest, viewers get what they asked for.

use http::StatusCode;
use serde_json::{Value, json};
use wcdn_dev::Topology;
use wcdn_proto::{ByteSize, Span};
use wcdn_tests::{Fleet, bytes};

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
    let fleet = Fleet::with(impatient).await;
    for (n, fault) in faults().into_iter().enumerate() {
        for bad in 0..3 {
            fleet.fault_all(json!({})).await;
            let body = bytes((10 * n + bad) as u64, 60_000 + n);
            let id = fleet.store(body.clone()).await;
            fleet.fault(bad, fault.clone()).await;
            let reply = fleet.get(&format!("/cdn/{id}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{fault}: {reply:?}");
            assert!(reply.complete && reply.body == body, "{fault}");
            assert!(
                reply.header("cache-status").ends_with("detail=full"),
                "{fault}"
            );
        }
    }
}

#[tokio::test]
async fn one_honest_origin_of_three_suffices() {
    let fleet = Fleet::with(impatient).await;
    let faults = faults();
    for (n, fault) in faults
        .iter()
        .enumerate()
        .filter(|(_, fault)| fault["status"] != 404)
    {
        let other = &faults[(n + 4) % faults.len()];
        let other = if other["status"] == 404 { fault } else { other };
        for honest in 0..3 {
            let body = bytes((1_000 + 10 * n + honest) as u64, 50_000 + n);
            let id = fleet.store(body.clone()).await;
            fleet.fault((honest + 1) % 3, fault.clone()).await;
            fleet.fault((honest + 2) % 3, other.clone()).await;
            fleet.fault(honest, json!({})).await;
            let reply = fleet.get(&format!("/cdn/{id}")).await;
            assert_eq!(
                reply.status,
                StatusCode::OK,
                "{fault} and {other}: {reply:?}"
            );
            assert!(reply.complete && reply.body == body, "{fault} and {other}");
        }
    }
}

#[tokio::test]
async fn a_large_blob_from_bad_origins_is_right_or_cut_but_never_ended_wrong() {
    let fleet = Fleet::with(impatient).await;
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
        for bad in 0..3 {
            fleet.fault_all(json!({})).await;
            let body = bytes((2_000 + 10 * n + bad) as u64, 2_500_000);
            let id = fleet.store(body.clone()).await;
            fleet.fault(bad, fault.clone()).await;
            let path = format!("/cdn/{id}");
            let reply = fleet.get(&path).await;
            assert!(!reply.complete || reply.body == body, "{fault} ended wrong");
            let again = fleet.get(&path).await;
            assert!(
                again.complete && again.body == body,
                "{fault} is not forgotten"
            );
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
    assert_eq!(
        fleet.metric("wcdn_origin_bytes_total", "").await,
        4_000_000.0,
        "no byte twice"
    );
}

#[tokio::test]
async fn all_origins_down_serves_what_is_cached_and_names_those_tried_otherwise() {
    let fleet = Fleet::with(impatient).await;
    let (cached, uncached) = (bytes(1, 9_000), bytes(2, 9_000));
    let known = fleet.store(cached.clone()).await;
    let unknown = fleet.store(uncached.clone()).await;
    fleet.get(&format!("/cdn/{known}")).await;
    for (fault, status, code) in [
        (
            json!({"refuse": true}),
            StatusCode::BAD_GATEWAY,
            "ORIGINS_FAILED",
        ),
        (
            json!({"status": 500}),
            StatusCode::BAD_GATEWAY,
            "ORIGINS_FAILED",
        ),
        (
            json!({"corrupt": true}),
            StatusCode::BAD_GATEWAY,
            "ORIGINS_FAILED",
        ),
        (
            json!({"latency_ms": 2_000}),
            StatusCode::GATEWAY_TIMEOUT,
            "ORIGINS_TIMED_OUT",
        ),
        (
            json!({"status": 429}),
            StatusCode::SERVICE_UNAVAILABLE,
            "ORIGINS_BUSY",
        ),
    ] {
        fleet.fault_all(fault.clone()).await;
        let hit = fleet.get(&format!("/cdn/{known}")).await;
        assert_eq!(
            (hit.status, hit.body),
            (StatusCode::OK, cached.clone()),
            "{fault}"
        );
        let miss = fleet.get(&format!("/cdn/{unknown}")).await;
        assert_eq!(
            (miss.status, miss.code().as_str()),
            (status, code),
            "{fault}"
        );
        let message = miss.json()["error"]["message"].as_str().unwrap().to_owned();
        for origin in ["aggregator-1", "aggregator-2", "aggregator-3"] {
            assert!(message.contains(origin), "{fault}: {message}");
        }
        assert_eq!(miss.header("cache-control"), "no-store");
    }
    fleet.fault_all(json!({})).await;
    let healed = fleet.get(&format!("/cdn/{unknown}")).await;
    assert_eq!(
        (healed.status, healed.body),
        (StatusCode::OK, uncached),
        "nothing was cached"
    );
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
        assert!(matches!(
            reply.status,
            StatusCode::OK | StatusCode::NOT_FOUND
        ));
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
    assert_eq!(
        fleet.metric("wcdn_origin_requests_total", lies).await,
        1.0,
        "then it was avoided"
    );
    let others = fleet
        .metric("wcdn_origin_requests_total", "outcome=\"lied\"")
        .await;
    assert_eq!(others, 1.0, "nobody else is accused");
}

#[tokio::test]
async fn an_origin_that_trickles_is_left_for_another() {
    let fleet = Fleet::with(|topology| {
        topology.edge.fetch.min_rate = ByteSize::mib(512);
        topology.edge.fetch.min_rate_window = Span::millis(1);
        topology.edge.fetch.tries = 3;
    })
    .await;
    let id = fleet.store(bytes(1, 900_000)).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(matches!(
        reply.status,
        StatusCode::OK | StatusCode::GATEWAY_TIMEOUT
    ));
    if reply.status == StatusCode::GATEWAY_TIMEOUT {
        assert_eq!(reply.code(), "ORIGINS_TIMED_OUT");
    }
}
