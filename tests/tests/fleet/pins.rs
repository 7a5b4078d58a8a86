//! What is pinned is kept ready everywhere, and says how far it is.

use std::path::Path;

use http::StatusCode;
use serde_json::json;
use tonic::Code;
use wcdn_dev::Topology;
use wcdn_proto::{
    BlobId, ByteSize, Span,
    pb::admin::v1::{PinState, PurgeRequest},
};
use wcdn_tests::{
    Fleet, bytes, eventually,
    operator::Operator,
    redis::{Redis, record_key},
};

/// A control plane and three edges, each in a region of its own, with what they keep in a folder.
async fn fleet(data: &Path, change: impl FnOnce(&mut Topology)) -> (Fleet, Operator) {
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.data = Some(data.to_owned());
        change(topology);
    })
    .await;
    let operator = fleet.operator();
    operator.sees(fleet.cluster.edges().len()).await;
    (fleet, operator)
}

/// Fails unless every edge has the blob in memory.
async fn assert_ready(fleet: &Fleet, id: &BlobId) {
    for edge in 0..fleet.cluster.edges().len() {
        let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
        let told = (reply.status, reply.header("x-cache"), reply.header("x-source"));
        assert_eq!(told, (StatusCode::OK, "HIT", "memory"), "edge {edge}");
    }
}

/// Nodes that hold the blob since it is pinned.
async fn holders(operator: &Operator, id: &BlobId) -> Vec<String> {
    let nodes = operator.explain(id).await.into_iter();
    let holding = nodes.filter(|node| node.holding.as_ref().is_some_and(|it| it.pinned));
    holding.map(|node| node.node).collect()
}

#[tokio::test]
async fn a_pinned_blob_is_in_every_memory_before_anybody_asks_until_it_is_unpinned() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let id = fleet.store(bytes(1, 30_000)).await;
    operator.hold(&[id]).await;
    let standing = operator.standing(&id).await;
    assert_eq!((standing.state(), standing.held, standing.expected), (PinState::Held, 3, 3));
    let fetched = fleet.fetches(&id).await;
    assert_ready(&fleet, &id).await;
    assert_eq!(fleet.fetches(&id).await, fetched, "no origin was asked for viewers");
    assert_eq!(holders(&operator, &id).await.len(), 3);
    assert_eq!(fleet.metric("wcdn_pins", "state=\"held\"").await, 1.0);
    assert!(fleet.metric("wcdn_pinned_bytes", "").await >= 30_000.0);
    operator.unpin(&[id]).await;
    assert!(operator.pins().await.is_empty());
    for edge in 0..3 {
        eventually("its room is given back", || async {
            fleet.metric_of(edge, "wcdn_pinned_bytes", "").await == 0.0
        })
        .await;
    }
    assert!(holders(&operator, &id).await.is_empty());
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, bytes(1, 30_000)));
}

#[tokio::test]
async fn what_viewers_had_fetched_before_it_was_pinned_is_not_fetched_again() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let id = fleet.store(bytes(2, 5_000)).await;
    for edge in 0..3 {
        fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    }
    let fetched = fleet.fetches(&id).await;
    operator.hold(&[id]).await;
    assert_ready(&fleet, &id).await;
    assert_eq!(fleet.fetches(&id).await, fetched);
}

#[tokio::test]
async fn a_blob_that_finds_no_room_says_so_and_evicts_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |topology| {
        topology.edge.cache.pinned_memory = ByteSize::new(70_000);
    })
    .await;
    let mut ids = Vec::new();
    for seed in 0..3 {
        ids.push(fleet.store(bytes(seed, 30_000)).await);
    }
    let large = fleet.store(bytes(9, 80_000)).await;
    operator.hold(&ids[..2]).await;
    operator.pin(&[ids[2], large]).await;
    let told = operator.settled_pins(&[ids[2], large]).await;
    assert_eq!(told.over_budget, 2, "{told:?}");
    let standing = operator.standing(&ids[2]).await;
    assert_eq!((standing.state(), standing.over_budget), (PinState::OverBudget, 3));
    assert!(standing.reason.contains("others fill cache.pinned_memory"), "{standing:?}");
    for id in &ids[..2] {
        assert_eq!(operator.standing(id).await.state(), PinState::Held);
        assert_ready(&fleet, id).await;
    }
    // It is served as any other.
    let reply = fleet.get(&format!("/cdn/{large}")).await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, bytes(9, 80_000)));
    operator.unpin(&[ids[0]]).await;
    operator.held(&ids[2], 3).await;
}

#[tokio::test]
async fn a_purge_spares_what_is_pinned_and_by_force_has_it_fetched_anew() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let id = fleet.store(bytes(3, 20_000)).await;
    let other = fleet.store(bytes(4, 20_000)).await;
    operator.hold(&[id]).await;
    let purge = PurgeRequest { ids: vec![id.to_string(), other.to_string()], ..Default::default() };
    for purge in [purge.clone(), PurgeRequest { all: true, ..Default::default() }] {
        let refused = operator.try_purge(purge).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }
    operator.purge(&[other]).await;
    let fetched = fleet.fetches(&id).await;
    let forced = PurgeRequest { force: true, ..purge };
    for purge in [forced, PurgeRequest { all: true, force: true, ..Default::default() }] {
        let change = operator.try_purge(purge).await.unwrap();
        let receipt = operator.complete(&change).await;
        let removed = receipt.nodes.iter().filter_map(|node| node.outcome.as_ref());
        assert!(removed.map(|it| it.memory_removed + it.fills_marked).sum::<u64>() >= 3);
        operator.held(&id, 3).await;
        wcdn_tests::operator::assert_nothing_older(&operator, &id, &change).await;
    }
    assert!(fleet.fetches(&id).await > fetched, "it was fetched anew");
    assert_ready(&fleet, &id).await;
}

#[tokio::test]
async fn a_blocked_pin_is_withheld_and_ready_again_when_it_is_unblocked() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let id = fleet.store(bytes(5, 9_000)).await;
    operator.hold(&[id]).await;
    operator.block(&[id]).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert_eq!(reply.status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    operator.unblock(&[id]).await;
    assert_ready(&fleet, &id).await;
}

#[tokio::test]
async fn a_pinned_quilt_serves_its_files() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let files = [("a.txt", bytes(6, 700), "text/plain"), ("b.txt", bytes(7, 900), "text/plain")];
    let (quilt, stored) = fleet.store_quilt(&files).await;
    let patch = stored["storedQuiltBlobs"][0]["quiltPatchId"].as_str().unwrap();
    operator.hold(&[patch]).await;
    let fetched = fleet.fetches(&quilt).await;
    for (name, body, _) in files {
        let url = fleet.edge(1, &format!("/cdn/{quilt}/{name}"));
        assert_eq!(fleet.client.get(&url).await.body, body);
    }
    assert_eq!(fleet.fetches(&quilt).await, fetched);
    assert_eq!(operator.standing(&quilt).await.state(), PinState::Held, "it is the quilt's pin");
}

#[tokio::test]
async fn a_blob_too_large_to_be_held_whole_is_named_as_such() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |topology| {
        topology.edge.cache.memory = ByteSize::mib(16);
        topology.edge.fetch.slice = ByteSize::mib(1);
    })
    .await;
    let id = fleet.store(bytes(8, 3 << 20)).await;
    operator.pin(&[id]).await;
    let told = operator.settled_pins(&[id]).await;
    assert_eq!(told.degraded, 1, "{told:?}");
    let reason = &told.troubled[0].standing.as_ref().unwrap().reason;
    assert!(reason.contains("it has 3 MiB; up to 2 MiB are held as a whole"), "{reason}");
}

#[tokio::test]
async fn what_is_pinned_stays_in_redis_for_a_day_and_is_written_again_when_it_is_gone() {
    let (redis, data) = (Redis::start().await, tempfile::tempdir().unwrap());
    let (fleet, operator) = fleet(data.path(), |topology| {
        redis.serve(topology);
        topology.edge.redis.ttl = Span::secs(1_000);
        topology.edge.redis.pin_check = Span::millis(200);
    })
    .await;
    let (id, other) = (fleet.store(bytes(10, 5_000)).await, fleet.store(bytes(11, 5_000)).await);
    fleet.get(&format!("/cdn/{other}")).await;
    operator.hold(&[id]).await;
    let left =
        async |id: &BlobId| -> i64 { redis.ask(redis::cmd("TTL").arg(record_key(id))).await };
    eventually("the region has it for a day", || async { left(&id).await > 80_000 }).await;
    assert!(left(&other).await <= 1_000);
    // A server that has no room for it any more.
    redis.ask::<()>(redis::cmd("DEL").arg(record_key(&id))).await;
    eventually("it is there again", || redis.has(&id)).await;
    redis.ask::<()>(redis::cmd("EXPIRE").arg(record_key(&id)).arg(100)).await;
    eventually("its time begins anew", || async { left(&id).await > 80_000 }).await;
    fleet.fault_all(json!({"refuse": true})).await;
    assert_ready(&fleet, &id).await;
}
