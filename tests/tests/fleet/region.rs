//! What the nodes of a region share.

use http::StatusCode;
use serde_json::json;
use wcdn_dev::Topology;
use wcdn_node::config::Mode;
use wcdn_proto::{BlobId, ByteSize};
use wcdn_tests::{
    Fleet, bytes,
    client::Reply,
    eventually,
    redis::{Redis, record_key, slice_key},
};

/// Two nodes of each region before one Redis.
async fn fleet(redis: &Redis, change: impl FnOnce(&mut Topology)) -> Fleet {
    Fleet::with(|topology| {
        topology.edges_per_region = 2;
        redis.serve(topology);
        change(topology);
    })
    .await
}

async fn get(fleet: &Fleet, edge: usize, id: &BlobId) -> Reply {
    fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await
}

/// Stores a blob and has the first node fill it and give it to the region.
async fn shared(fleet: &Fleet, redis: &Redis, seed: u64, length: usize) -> BlobId {
    let id = fleet.store(bytes(seed, length)).await;
    let reply = get(fleet, 0, &id).await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, bytes(seed, length)));
    eventually("the region has the blob", || redis.has(&id)).await;
    id
}

#[tokio::test]
async fn what_one_node_filled_another_serves_from_redis() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 1, 60_000).await;
    let fetched = fleet.fetches(&id).await;
    let reply = get(&fleet, 1, &id).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &bytes(1, 60_000)));
    assert_eq!(reply.header("x-source"), "redis");
    assert_eq!(reply.header("x-cache"), "HIT");
    assert_eq!(reply.header("cache-status"), "\"us-west-2\"; hit; detail=attested");
    assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(reply.header("etag"), format!("\"{id}\""));
    assert_eq!(get(&fleet, 1, &id).await.header("x-source"), "memory");
    assert_eq!(fleet.fetches(&id).await, fetched, "no origin was asked again");
}

#[tokio::test]
async fn a_blob_of_many_slices_comes_whole_and_in_parts() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let body = bytes(2, 3_500_000);
    let id = shared(&fleet, &redis, 2, body.len()).await;
    let fetched = fleet.fetches(&id).await;
    let url = |edge| fleet.edge(edge, &format!("/cdn/{id}"));
    let head = fleet.client.head(&url(1)).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "3500000"));
    let part = fleet.client.range(&url(2), "bytes=1048570-1048585").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, body.slice(1_048_570..1_048_586));
    let tail = fleet.client.range(&url(3), "bytes=-100").await;
    assert_eq!(tail.body, body.slice(3_499_900..));
    assert_eq!(get(&fleet, 4, &id).await.body, body);
    assert_eq!(fleet.fetches(&id).await, fetched, "no origin was asked again");
}

#[tokio::test]
async fn a_herd_at_every_node_costs_redis_one_look_each() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 3, 2_500_000).await;
    let fetched = fleet.fetches(&id).await;
    let herd = (0..100).map(|_| get(&fleet, 1, &id));
    for reply in futures_util::future::join_all(herd).await {
        assert!(reply.complete && reply.body == bytes(3, 2_500_000));
    }
    assert_eq!(fleet.fetches(&id).await, fetched);
    let hits =
        fleet.metric_of(1, "wcdn_redis_operations_total", "operation=\"get\",result=\"hit\"");
    assert_eq!(hits.await, 1.0);
}

#[tokio::test]
async fn an_empty_blob_is_shared_like_any() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 4, 0).await;
    let reply = get(&fleet, 1, &id).await;
    assert_eq!((reply.status, reply.header("x-source")), (StatusCode::OK, "redis"));
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn files_are_cut_from_a_quilt_that_the_region_has() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let files = [("a.txt", bytes(5, 700), "text/plain"), ("b.txt", bytes(6, 900), "text/plain")];
    let (quilt, _) = fleet.store_quilt(&files).await;
    fleet.get(&format!("/cdn/{quilt}/a.txt")).await;
    eventually("the region has the quilt", || redis.has(&quilt)).await;
    let fetched = fleet.fetches(&quilt).await;
    let url = fleet.edge(1, &format!("/cdn/{quilt}/b.txt"));
    let reply = fleet.client.get(&url).await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, bytes(6, 900)));
    assert_eq!(fleet.fetches(&quilt).await, fetched);
}

#[tokio::test]
async fn all_that_is_written_has_an_end_and_fits_in_a_slice() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |topology| {
        topology.edge.redis.ttl = wcdn_proto::Span::secs(1_000);
    })
    .await;
    let id = shared(&fleet, &redis, 7, 2_100_000).await;
    let keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*")).await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(keys.contains(&record_key(&id)) && keys.contains(&slice_key(&id, 2)));
    for key in keys {
        let left: i64 = redis.ask(redis::cmd("TTL").arg(&key)).await;
        assert!((900..=1_000).contains(&left), "{key} ends in {left} s");
        let length: usize = redis.ask(redis::cmd("STRLEN").arg(&key)).await;
        assert!(length <= 1 << 20);
    }
}

#[tokio::test]
async fn blobs_beyond_the_limit_are_not_given_to_the_region() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |topology| {
        topology.edge.redis.max_blob = ByteSize::new(100_000);
    })
    .await;
    let large = fleet.store(bytes(8, 100_001)).await;
    assert_eq!(get(&fleet, 0, &large).await.status, StatusCode::OK);
    shared(&fleet, &redis, 9, 100_000).await;
    assert!(!redis.has(&large).await);
}

#[tokio::test]
async fn another_clusters_word_is_not_believed() {
    let (redis, other) = (Redis::start().await, Redis::start().await);
    let first = fleet(&redis, |_| {}).await;
    let id = shared(&first, &redis, 10, 5_000).await;
    let stranger =
        fleet(&redis, |topology| topology.edge.cluster.key_file = Some(other.key())).await;
    stranger.store(bytes(10, 5_000)).await;
    let reply = get(&stranger, 0, &id).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &bytes(10, 5_000)));
    assert_eq!(reply.header("x-source"), "walrus");
    let disbelieved = stranger.metric("wcdn_redis_operations_total", "disbelieved").await;
    assert_eq!(disbelieved, 1.0);
}

#[tokio::test]
async fn without_checking_a_region_shares_what_its_origins_say() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |topology| topology.edge.verify.mode = Mode::Off).await;
    let id = shared(&fleet, &redis, 11, 5_000).await;
    let reply = get(&fleet, 1, &id).await;
    assert_eq!((reply.header("x-source"), &reply.body), ("redis", &bytes(11, 5_000)));
    assert!(reply.header("cache-status").ends_with("detail=origin"));
    assert_eq!(reply.header("cache-control"), "public, max-age=60");
}

#[tokio::test]
async fn what_another_node_attested_is_checked_again_now_and_then() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |topology| topology.edge.verify.recheck = 1.0).await;
    let id = shared(&fleet, &redis, 12, 50_000).await;
    assert!(get(&fleet, 1, &id).await.header("cache-status").ends_with("detail=attested"));
    eventually("the blob is checked in full", || async {
        get(&fleet, 1, &id).await.header("cache-status").ends_with("detail=full")
    })
    .await;
    assert_eq!(fleet.metric_of(1, "wcdn_false_attestations_total", "").await, 0.0);
}

#[tokio::test]
async fn a_restarted_redis_is_given_back_what_nodes_hold() {
    let mut redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let mut ids = Vec::new();
    for seed in 20..25 {
        ids.push(shared(&fleet, &redis, seed, 30_000).await);
    }
    redis.restart().await;
    assert!(!redis.has(&ids[0]).await, "it came back empty");
    // Nodes notice when they next use it.
    let fresh = fleet.store(bytes(30, 100)).await;
    get(&fleet, 0, &fresh).await;
    for id in &ids {
        eventually("the blob is back in redis", || redis.has(id)).await;
    }
    for edge in 0..6 {
        eventually("the node is connected again", || async {
            fleet.metric_of(edge, "wcdn_redis_available", "").await == 1.0
        })
        .await;
    }
    fleet.fault_all(json!({"refuse": true})).await;
    for (seed, id) in (20..25).zip(&ids) {
        let reply = get(&fleet, 5, id).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body == bytes(seed, 30_000));
    }
}
