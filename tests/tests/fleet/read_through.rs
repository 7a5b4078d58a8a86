//! One fill per region: nodes read through the one that owns a blob.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use wcdn_proto::ByteSize;
use wcdn_tests::{
    Fleet, bytes, eventually,
    operator::assert_nothing_older,
    redis::Redis,
    region::{NODES, get, in_region, owners, peered},
    storm,
};

const MATCHES: &str = "result=\"match\"";

/// What came of requests to peers, node by node.
async fn outcomes(fleet: &Fleet) -> String {
    let mut lines = String::new();
    for edge in fleet.cluster.edges() {
        let page = fleet.client.get(&format!("{}/metrics", edge.admin_url)).await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        for line in page.lines().filter(|line| line.starts_with("wcdn_peer_requests_total")) {
            lines.push('\n');
            lines.push_str(line);
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_viewers_at_nine_nodes_cost_three_fetches() {
    let fleet = peered(|_| {}).await;
    for (seed, length) in [(1, 1_100_000), (2, 50_000)] {
        let id = fleet.store(bytes(seed, length)).await;
        fleet.fault_all(json!({"latency_ms": 300})).await;
        let viewers = (0..300).map(|n| get(&fleet, n % 9, &id, seed, length));
        join_all(viewers).await;
        fleet.fault_all(json!({})).await;
        let fetches = fleet.fetches(&id).await;
        assert_eq!(fetches, 3, "of {length} bytes: {}", outcomes(&fleet).await);
    }
}

#[tokio::test]
async fn a_node_that_does_not_own_a_blob_has_it_from_the_one_that_does() {
    let fleet = peered(|_| {}).await;
    let id = fleet.store(bytes(3, 60_000)).await;
    let [owner, second, third] = owners(&id)[..] else { panic!("three nodes") };
    let reply = get(&fleet, third, &id, 3, 60_000).await;
    assert_eq!(reply.header("x-source"), "peer");
    assert_eq!(reply.header("x-cache"), "MISS");
    let name = &fleet.cluster.edges()[third].node().config().node.id;
    assert_eq!(
        reply.header("cache-status"),
        format!("\"{name}\"; fwd=miss; fwd-status=200; stored; detail=attested")
    );
    assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(reply.header("etag"), format!("\"{id}\""));
    assert!(reply.header("server-timing").ends_with(";desc=peer"), "{reply:?}");
    assert_eq!(get(&fleet, owner, &id, 3, 60_000).await.header("x-source"), "memory");
    assert_eq!(get(&fleet, second, &id, 3, 60_000).await.header("x-source"), "peer");
    assert_eq!(get(&fleet, second, &id, 3, 60_000).await.header("x-source"), "memory");
    assert_eq!(fleet.fetches(&id).await, 1);
    assert_eq!(in_region(&fleet, "wcdn_verifications_total", MATCHES).await, 1.0);
    assert_eq!(in_region(&fleet, "wcdn_checks_spared_total", "by=\"peer\"").await, 2.0);
    let served = fleet.metric_of(owner, "wcdn_peer_served_total", "").await;
    assert_eq!(served, 2.0);
}

#[tokio::test]
async fn parts_of_a_cold_blob_and_files_of_a_quilt_come_through_its_owner_too() {
    let fleet = peered(|_| {}).await;
    let id = fleet.store(bytes(4, 2_000_000)).await;
    let third = owners(&id)[2];
    let url = fleet.edge(third, &format!("/cdn/{id}"));
    let head = fleet.client.head(&url).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "2000000"));
    let part = fleet.client.range(&url, "bytes=1999990-").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, bytes(4, 2_000_000).slice(1_999_990..));
    // Its length, and then all of it.
    assert_eq!(fleet.fetches(&id).await, 2);

    let files = [("a.txt", bytes(5, 700), "text/plain"), ("b.txt", bytes(6, 900), "text/plain")];
    let (quilt, _) = fleet.store_quilt(&files).await;
    for edge in 0..NODES {
        let file = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{quilt}/b.txt"))).await;
        assert_eq!((file.status, file.body), (StatusCode::OK, bytes(6, 900)));
    }
    assert_eq!(fleet.fetches(&quilt).await, 1);
}

#[tokio::test]
async fn a_blob_that_nobody_has_is_asked_for_by_its_owner_alone() {
    let fleet = peered(|_| {}).await;
    let id = storm::any_blob();
    for edge in 0..NODES {
        let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{reply:?}");
    }
    let refused = in_region(&fleet, "wcdn_origin_requests_total", "outcome=\"not_found\"").await;
    assert_eq!(refused, 2.0, "two witnesses, once");
}

#[tokio::test]
async fn only_the_owner_writes_to_redis_and_redis_is_asked_first() {
    let redis = Redis::start().await;
    let fleet = peered(|topology| redis.serve(topology)).await;
    let id = fleet.store(bytes(7, 60_000)).await;
    let [_, second, third] = owners(&id)[..] else { panic!("three nodes") };
    assert_eq!(get(&fleet, third, &id, 7, 60_000).await.header("x-source"), "peer");
    eventually("the region has the blob", || redis.has(&id)).await;
    assert_eq!(get(&fleet, second, &id, 7, 60_000).await.header("x-source"), "redis");
    let stored = in_region(&fleet, "wcdn_redis_operations_total", "result=\"stored\"").await;
    assert_eq!((stored, fleet.fetches(&id).await), (1.0, 1));
}

#[tokio::test]
async fn a_purge_while_nodes_read_through_each_other_leaves_nothing_old() {
    let fleet = peered(|_| {}).await;
    let (seed, length) = (8, 3_000_000);
    let operator = fleet.operator();
    operator.sees(9).await;
    let id = fleet.store(bytes(seed, length)).await;
    let third = owners(&id)[2];
    fleet.fault_all(json!({"stall_at": 2_000_000})).await;
    let url = fleet.edge(third, &format!("/cdn/{id}"));
    let (status, _, body) = fleet.client.request(http::Method::GET, &url).open().await.unwrap();
    assert_eq!(status, StatusCode::OK, "it streams, through the owner");
    assert_eq!(fleet.metric_of(third, "wcdn_peer_requests_total", "found").await, 1.0);
    let receipt = operator.purge(&[id]).await;
    assert!(receipt.complete, "{receipt:?}");
    let change = receipt.change.unwrap();
    fleet.fault_all(json!({})).await;
    let fetched = fleet.fetches(&id).await;
    // Whoever comes now gets what was fetched since, wherever it comes.
    join_all((0..NODES).map(|edge| get(&fleet, edge, &id, seed, length))).await;
    assert!(fleet.fetches(&id).await > fetched);
    assert_nothing_older(&operator, &id, &change).await;
    drop(body);
}

#[tokio::test]
async fn a_block_while_nodes_read_through_each_other_ends_it_everywhere() {
    let fleet = peered(|_| {}).await;
    let operator = fleet.operator();
    operator.sees(9).await;
    let id = fleet.store(bytes(9, 3_000_000)).await;
    let third = owners(&id)[2];
    fleet.fault_all(json!({"stall_at": 2_000_000})).await;
    let url = fleet.edge(third, &format!("/cdn/{id}"));
    let client = fleet.client.clone();
    let viewing = async { client.get(&url).await };
    let blocking = async {
        eventually("bytes come through the owner", || async {
            fleet.metric_of(third, "wcdn_peer_bytes_total", "").await > 1_900_000.0
        })
        .await;
        operator.block(&[id]).await;
    };
    let (cut, ()) = tokio::join!(viewing, blocking);
    assert!(!cut.complete, "it is cut");
    fleet.fault_all(json!({})).await;
    for edge in 0..NODES {
        let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
        assert_eq!(reply.status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    }
}

#[tokio::test]
async fn a_blob_is_checked_once_in_the_whole_network() {
    let fleet = peered(|_| {}).await;
    let (seed, length) = (10, 1_500_000);
    let id = fleet.store(bytes(seed, length)).await;
    let third = owners(&id)[2];
    get(&fleet, third, &id, seed, length).await;
    eventually("two nodes of each other region know of the check", || async {
        let mut told = 0.0;
        for edge in NODES..3 * NODES {
            told += fleet.metric_of(edge, "wcdn_notes_total", "result=\"kept\"").await;
        }
        told == 4.0
    })
    .await;
    for edge in NODES..3 * NODES {
        let reply = get(&fleet, edge, &id, seed, length).await;
        let again = get(&fleet, edge, &id, seed, length).await;
        assert_eq!(again.header("x-source"), "memory", "after {reply:?}");
        assert!(again.header("cache-status").ends_with("detail=attested"), "{again:?}");
        assert_eq!(again.header("cache-control"), "public, max-age=31536000, immutable");
    }
    let (mut checks, mut spared) = (0.0, 0.0);
    for edge in 0..3 * NODES {
        checks += fleet.metric_of(edge, "wcdn_verifications_total", "").await;
        spared += fleet.metric_of(edge, "wcdn_checks_spared_total", "by=\"region\"").await;
    }
    assert_eq!((checks, spared, fleet.fetches(&id).await), (1.0, 2.0, 3));
}

#[tokio::test]
async fn slices_of_a_large_blob_are_fetched_once_in_a_region() {
    let fleet = peered(|topology| {
        topology.edge.cache.memory = ByteSize::mib(64);
        topology.edge.fetch.slice = ByteSize::new(64 << 10);
        topology.max_body = 64 << 20;
    })
    .await;
    // Larger than an eighth of the memory.
    let (seed, length) = (11, 9 << 20);
    let id = fleet.store(bytes(seed, length)).await;
    get(&fleet, 0, &id, seed, length).await;
    let fetched = fleet.fetches(&id).await;
    for edge in 1..NODES {
        get(&fleet, edge, &id, seed, length).await;
    }
    assert_eq!(fleet.fetches(&id).await, fetched, "the second and the third ask no origin");
    // Three nodes have shared the fetching.
    for edge in 0..NODES {
        let slices = fleet.metric_of(edge, "wcdn_origin_bytes_total", "").await;
        assert!((1.0..9_000_000.0).contains(&slices), "{edge}: {slices}");
    }
}
