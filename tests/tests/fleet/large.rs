//! Blobs larger than what may be held.

use futures_util::future::join_all;
use http::StatusCode;
use wcdn_dev::Topology;
use wcdn_proto::ByteSize;
use wcdn_tests::{Fleet, bytes};

/// More than an eighth of the memory, and more than all of it.
const LENGTHS: [usize; 2] = [5_000_000, 20_000_000];

fn small_memory(topology: &mut Topology) {
    topology.edge.cache.memory = ByteSize::mib(16);
    topology.edge.fetch.slice = ByteSize::mib(1);
    topology.max_body = 64 << 20;
}

#[tokio::test]
async fn they_are_streamed_right_in_bounded_memory() {
    let fleet = Fleet::with(small_memory).await;
    for (n, length) in LENGTHS.into_iter().enumerate() {
        let body = bytes(n as u64, length);
        let id = fleet.store(body.clone()).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.complete && reply.body == body, "{length}");
        assert_eq!(reply.header("content-length"), length.to_string());
        assert_eq!(reply.header("cache-control"), "public, max-age=60");
        assert!(reply.header("cache-status").ends_with("detail=origin"), "nothing is claimed");
        assert!(fleet.metric("wcdn_cache_bytes", "").await <= f64::from(16 << 20));
    }
}

#[tokio::test]
async fn a_range_of_one_costs_the_slices_it_lies_in() {
    let fleet = Fleet::with(small_memory).await;
    let body = bytes(7, LENGTHS[1]);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for (range, expected) in
        [("bytes=9999990-10000009", 9_999_990..10_000_010), ("bytes=-5", 19_999_995..20_000_000)]
    {
        let reply = fleet.client.range(&url, range).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(reply.body, body.slice(expected));
    }
    let fetched = fleet.metric("wcdn_origin_bytes_total", "").await;
    assert!(fetched < 3.0 * f64::from(1 << 20), "{fetched} bytes for two small ranges");
}

#[tokio::test]
async fn viewers_of_the_same_scene_share_its_slices() {
    let fleet = Fleet::with(small_memory).await;
    let body = bytes(8, LENGTHS[1]);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let viewers = (0..20).map(|_| fleet.client.range(&url, "bytes=2097152-4194303"));
    for reply in join_all(viewers).await {
        assert_eq!(reply.body, body.slice(2_097_152..4_194_304));
    }
    assert_eq!(
        fleet.fetches(&id).await,
        5,
        "two witnesses of its length, its beginning, two slices"
    );
}

#[tokio::test]
async fn what_it_is_is_told_by_its_beginning_wherever_the_range_lies() {
    let fleet = Fleet::with(small_memory).await;
    let body = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &bytes(11, LENGTHS[0])].concat();
    let id = fleet.store(body.into()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for range in ["bytes=4000000-4000009", "bytes=0-9"] {
        assert_eq!(fleet.client.range(&url, range).await.header("content-type"), "image/png");
    }
    let whole = fleet.client.head(&url).await;
    assert_eq!(whole.header("content-type"), "image/png");
}

#[tokio::test]
async fn a_second_viewer_of_the_whole_is_not_a_second_look_at_its_length() {
    let fleet = Fleet::with(small_memory).await;
    let id = fleet.store(bytes(10, LENGTHS[0])).await;
    fleet.get(&format!("/cdn/{id}")).await;
    let before = fleet.fetches(&id).await;
    fleet.get(&format!("/cdn/{id}")).await;
    assert!(fleet.fetches(&id).await <= before + 1, "slices are in memory");
}

#[tokio::test]
async fn an_origin_that_breaks_off_costs_nobody_a_byte() {
    let fleet = Fleet::with(small_memory).await;
    let body = bytes(9, LENGTHS[0]);
    let id = fleet.store(body.clone()).await;
    fleet.fault(0, serde_json::json!({"truncate_at": 300_000})).await;
    fleet.fault(1, serde_json::json!({"truncate_at": 500_000})).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(reply.complete && reply.body == body);
}
