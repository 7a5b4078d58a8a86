//! What is preloaded is there before anybody asks.

use http::StatusCode;
use serde_json::json;
use wcdn_proto::BlobId;
use wcdn_tests::{
    Fleet, bytes, eventually, operator::Operator, program::EdgeProcess, redis::Redis,
};

async fn fleet(edges_per_region: u16, redis: Option<&Redis>) -> (Fleet, Operator) {
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.edges_per_region = edges_per_region;
        redis.into_iter().for_each(|redis| redis.serve(topology));
    })
    .await;
    let operator = fleet.operator();
    operator.sees(fleet.cluster.edges().len()).await;
    (fleet, operator)
}

async fn stored(fleet: &Fleet, count: u64, length: usize) -> Vec<BlobId> {
    let mut ids = Vec::new();
    for seed in 0..count {
        ids.push(fleet.store(bytes(seed, length)).await);
    }
    ids
}

#[tokio::test]
async fn the_first_viewer_of_every_region_gets_a_hit() {
    let (fleet, operator) = fleet(1, None).await;
    let ids = stored(&fleet, 20, 5_000).await;
    let job = operator.preload(&ids, &[]).await;
    let told = operator.preloaded(&job).await;
    assert_eq!(told.regions.len(), 3);
    for region in &told.regions {
        let counts = (region.wanted, region.done, region.failed, region.bytes);
        assert_eq!(counts, (20, 20, 0, 100_000), "{}", region.region);
    }
    fleet.fault_all(json!({"refuse": true})).await;
    for id in &ids {
        for edge in 0..3 {
            let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
            assert_eq!((reply.status, reply.header("x-cache")), (StatusCode::OK, "HIT"));
        }
    }
    assert_eq!(fleet.metric("wcdn_preloaded_total", "result=\"done\"").await, 20.0);
}

#[tokio::test]
async fn nodes_of_a_region_share_the_work_and_all_of_them_hit() {
    let redis = Redis::start().await;
    let (fleet, operator) = fleet(2, Some(&redis)).await;
    let ids = stored(&fleet, 60, 2_000).await;
    let told = operator.preloaded(&operator.preload(&ids, &["us-west"]).await).await;
    assert_eq!((told.regions.len(), told.regions[0].done), (1, 60));
    let mut shares = Vec::new();
    for edge in 0..6 {
        shares.push(fleet.metric_of(edge, "wcdn_preloaded_total", "done").await);
    }
    assert!(shares[0] > 0.0 && shares[1] > 0.0 && shares[0] + shares[1] == 60.0, "{shares:?}");
    assert!(shares[2..].iter().all(|share| *share == 0.0), "{shares:?}");
    for id in &ids {
        eventually("the region has it", || redis.has(id)).await;
    }
    fleet.fault_all(json!({"refuse": true})).await;
    for id in &ids {
        for edge in 0..2 {
            let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
            assert_eq!((reply.status, reply.header("x-cache")), (StatusCode::OK, "HIT"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_named_with_the_reason_and_the_rest_is_there() {
    let (fleet, operator) = fleet(1, None).await;
    let mut ids = stored(&fleet, 3, 1_000).await;
    let nowhere = BlobId::from_bytes([9; 32]);
    ids.push(nowhere);
    let told = operator.preloaded(&operator.preload(&ids, &["eu-west"]).await).await;
    let region = &told.regions[0];
    assert_eq!((region.done, region.failed, told.settled), (3, 1, true));
    assert_eq!(told.failures[0].id, nowhere.to_string());
    assert_eq!(told.failures[0].reason, "eu-west-1: no origin has the blob");
}

#[tokio::test]
async fn what_a_killed_node_leaves_undone_another_of_its_region_does() {
    let data = tempfile::tempdir().unwrap();
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.edges_per_region = 0;
        topology.data = Some(data.path().to_owned());
    })
    .await;
    let operator = fleet.operator();
    let edge = |name| EdgeProcess::of(&fleet, data.path(), name, |_| {});
    let (mut first, _second) = (edge("first").await, edge("second").await);
    operator.sees(2).await;
    let ids = stored(&fleet, 200, 1_000).await;
    // Slow enough that it is not done before the node dies.
    fleet.fault_all(json!({"latency_ms": 200})).await;
    let job = operator.preload(&ids, &[]).await;
    eventually("it has begun", || async { operator.preload_now(&job).await.regions[0].done > 4 })
        .await;
    first.kill();
    fleet.fault_all(json!({})).await;
    let told = operator.preloaded(&job).await;
    assert_eq!((told.regions[0].done, told.regions[0].failed), (200, 0));
}
