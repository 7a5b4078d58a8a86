//! One fetch for many viewers, and what becomes of it when they leave.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use wcdn_proto::{ByteSize, Span};
use wcdn_tests::{Fleet, bytes, eventually};

#[tokio::test]
async fn a_herd_after_one_blob_costs_one_fetch() {
    let fleet = Fleet::start().await;
    let body = bytes(1, 200_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"latency_ms": 200})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let herd = (0..100).map(|_| fleet.client.get(&url));
    let replies = join_all(herd).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK && reply.body == body));
    assert_eq!(fleet.fetches(&id).await, 1);
    let collapsed =
        |reply: &&wcdn_tests::client::Reply| reply.header("cache-status").contains("collapsed");
    assert_eq!(replies.iter().filter(collapsed).count(), 99);
}

#[tokio::test]
async fn a_large_blob_streams_before_it_is_complete_and_its_end_waits_for_the_check() {
    let fleet = Fleet::start().await;
    let body = bytes(2, 3_000_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"stall_at": 2_000_000})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let (status, headers, mut rest) = fleet.client.request(Method::GET, &url).open().await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-length"], "3000000");
    assert_eq!(headers["cache-control"], "public, max-age=60", "not checked yet");
    let mut came = 0;
    while came < 1_900_000 {
        let frame = rest.frame().await.unwrap().unwrap();
        came += frame.data_ref().unwrap().len();
    }
    assert!(came <= 2_000_000);
}

#[tokio::test]
async fn a_small_fill_survives_its_first_viewer() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(3, 100_000)).await;
    fleet.fault_all(json!({"latency_ms": 300})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let impatient = fleet.client.get(&url);
    let gave_up = tokio::time::timeout(Duration::from_millis(50), impatient).await;
    assert!(gave_up.is_err());
    eventually("the fill ends by itself", || async {
        fleet.metric("wcdn_fills_total", "result=\"filled\"").await == 1.0
    })
    .await;
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.header("x-cache"), "HIT");
    assert_eq!(fleet.fetches(&id).await, 1);
}

#[tokio::test]
async fn a_large_fill_that_nobody_waits_for_is_given_up() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(4, 6_000_000)).await;
    fleet.fault_all(json!({"stall_at": 1_500_000})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let (_, _, body) = fleet.client.request(Method::GET, &url).open().await.unwrap();
    assert_eq!(fleet.metric("wcdn_fills_in_flight", "").await, 1.0);
    drop(body);
    eventually("the fill is given up and its memory returned", || async {
        fleet.metric("wcdn_fills_total", "result=\"abandoned\"").await == 1.0
            && fleet.metric("wcdn_cache_bytes", "").await == 0.0
    })
    .await;
    assert_eq!(fleet.metric("wcdn_responses_cut_total", "").await, 1.0);
}

#[tokio::test]
async fn a_large_fill_whose_viewer_left_before_it_began_is_given_up() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(14, 6_000_000)).await;
    fleet.fault_all(json!({"latency_ms": 200, "stall_at": 1_500_000})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let impatient = tokio::time::timeout(Duration::from_millis(50), fleet.client.get(&url));
    assert!(impatient.await.is_err());
    eventually("the fill is given up", || async {
        fleet.metric("wcdn_fills_total", "result=\"abandoned\"").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_viewer_that_leaves_does_not_hurt_the_others() {
    let fleet = Fleet::start().await;
    let body = bytes(5, 4_000_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"latency_ms": 100})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let leaving = async {
        let (_, _, body) = fleet.client.request(Method::GET, &url).open().await.unwrap();
        drop(body);
    };
    let (reply, ()) = tokio::join!(fleet.client.get(&url), leaving);
    assert!(reply.complete && reply.body == body);
    assert_eq!(fleet.fetches(&id).await, 1);
}

#[tokio::test]
async fn memory_stays_within_its_budget_in_a_storm_of_new_blobs() {
    const BUDGET: u64 = 16 << 20;
    let fleet = Fleet::with(|topology| {
        topology.edge.cache.memory = ByteSize::new(BUDGET);
        topology.edge.fetch.slice = ByteSize::mib(1);
        topology.edge.verify.wait = Span::secs(20);
    })
    .await;
    let bodies: Vec<_> = (0..120).map(|n| bytes(1_000 + n, 300_000)).collect();
    let ids = join_all(bodies.iter().map(|body| fleet.store(body.clone()))).await;
    let urls: Vec<String> = ids.iter().map(|id| fleet.edge(0, &format!("/cdn/{id}"))).collect();
    let (mut peak, mut shed) = (0.0_f64, 0);
    for (urls, bodies) in urls.chunks(10).zip(bodies.chunks(10)) {
        let replies = join_all(urls.iter().map(|url| fleet.client.get(url))).await;
        for (reply, body) in replies.iter().zip(bodies) {
            match reply.status {
                StatusCode::OK => assert_eq!(reply.body, *body),
                status => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
                    assert_eq!(reply.header("retry-after"), "1");
                    shed += 1;
                }
            }
        }
        peak = peak.max(fleet.metric("wcdn_cache_bytes", "").await);
    }
    assert!(peak <= BUDGET as f64, "{peak} bytes");
    assert!(peak > 0.5 * BUDGET as f64, "the budget is used: {peak} bytes");
    assert_eq!(shed, 0, "eviction makes room for a quarter of the budget");
}
