//! Edges that die or stand still at the wrong moment of a purge.

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use wcdn_proto::{
    BlobId, Span,
    pb::admin::v1::{Change, NodeState},
};
use wcdn_tests::{
    Fleet, bytes,
    client::{Client, Reply},
    eventually,
    operator::{Operator, assert_nothing_older, line},
    program::EdgeProcess,
    redis::{Redis, slice_key},
    signal::Signal,
};

/// Two edges of a region, each a process of its own, before one Redis.
struct Pair {
    fleet: Fleet,
    operator: Operator,
    redis: Redis,
    first: EdgeProcess,
    second: EdgeProcess,
    _data: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (data, redis) = (tempfile::tempdir().unwrap(), Redis::start().await);
        let fleet = Fleet::with(|topology| {
            topology.edges_per_region = 0;
            topology.control_plane = true;
            topology.data = Some(data.path().to_owned());
        })
        .await;
        let edge = |name| {
            EdgeProcess::of(&fleet, data.path(), name, |config| {
                config.redis.urls = vec![redis.url()];
                config.redis.timeout = Span::secs(2);
            })
        };
        let (first, second) = (edge("first").await, edge("second").await);
        let operator = fleet.operator();
        operator.sees(2).await;
        Self { fleet, operator, redis, first, second, _data: data }
    }
}

async fn get(edge: &EdgeProcess, id: &BlobId) -> Reply {
    let reply = Client::default().get(&format!("{}/cdn/{id}", edge.url)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.complete);
    reply
}

impl Pair {
    /// Fails if an edge answers with bytes that are older than a change: it must fetch them, or find
    /// in Redis what was fetched after.
    async fn is_not_older(&self, edge: &EdgeProcess, id: &BlobId, change: &Change) {
        let (fetched, last) = (self.fleet.fetches(id).await, change.last.unwrap());
        let reply = get(edge, id).await;
        match reply.header("x-source") {
            "walrus" => assert!(self.fleet.fetches(id).await > fetched, "{id}"),
            "redis" => {
                assert!(self.redis.token(id).await >= Some((last.epoch, last.seq)), "{id}");
            }
            other => panic!("{id} from {other}"),
        }
    }
}

/// Waits until a change is true on an edge that was started anew.
async fn has_caught_up(edge: &EdgeProcess, change: &Change) {
    let url = format!("{}/metrics", edge.admin_url);
    eventually("the edge has caught up", || async {
        let page = Client::default().get(&url).await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        let line = page.lines().find(|line| line.starts_with("wcdn_events_applied_seq"));
        let seq = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        seq >= change.last.map(|last| last.seq)
    })
    .await;
}

#[tokio::test]
async fn an_edge_killed_between_memory_and_redis_serves_nothing_that_was_purged() {
    let mut pair = Pair::start().await;
    let id = pair.fleet.store(bytes(1, 40_000)).await;
    get(&pair.first, &id).await;
    eventually("the region has the blob", || pair.redis.has(&id)).await;
    let before = pair.redis.copy().await;
    pair.redis.signal(Signal::Stop);
    let change = pair.operator.purge(&[id]).await.change.unwrap();
    pair.first.kill();
    pair.redis.signal(Signal::Continue);
    // Whatever of the deletes arrived all the same is undone.
    pair.redis.put_back(&before).await;
    // It begins without anybody to tell it of the purge: what others vouch for means nothing then.
    pair.fleet.stop_desk().await;
    pair.first.start_again().await;
    let fetched = pair.fleet.fetches(&id).await;
    assert_eq!(get(&pair.first, &id).await.header("x-source"), "walrus");
    assert!(pair.fleet.fetches(&id).await > fetched);
    pair.fleet.start_desk().await;
    pair.operator.sees(2).await;
    pair.redis.put_back(&before).await;
    pair.is_not_older(&pair.second, &id, &change).await;
    // And with somebody to tell it.
    pair.first.kill();
    pair.redis.put_back(&before).await;
    pair.first.start_again().await;
    pair.is_not_older(&pair.first, &id, &change).await;
    has_caught_up(&pair.first, &change).await;
    get(&pair.first, &id).await;
    assert_nothing_older(&pair.operator, &id, &change).await;
}

#[tokio::test]
async fn an_edge_that_was_dead_during_a_purge_serves_nothing_of_it_and_its_receipt_says_so() {
    let mut pair = Pair::start().await;
    let id = pair.fleet.store(bytes(2, 40_000)).await;
    get(&pair.first, &id).await;
    eventually("the region has the blob", || pair.redis.has(&id)).await;
    let before = pair.redis.copy().await;
    pair.first.kill();
    let change = pair.operator.begin_purge(&[id]).await;
    pair.operator.applied_by("second", &change).await;
    let receipt = pair.operator.receipt(&change).await;
    let dead = line(&receipt, "first").expect("it is named");
    assert_ne!(dead.state(), NodeState::Applied);
    assert!(!receipt.complete, "{receipt:?}");
    eventually("it is gone from redis", || async { !pair.redis.has(&id).await }).await;
    pair.redis.put_back(&before).await;
    pair.first.start_again().await;
    pair.is_not_older(&pair.first, &id, &change).await;
    pair.operator.applied_by("first", &change).await;
    assert!(pair.operator.complete(&change).await.complete, "it has come back in time");
    get(&pair.first, &id).await;
    assert_nothing_older(&pair.operator, &id, &change).await;
}

/// Where a writer is when it stops.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The origin has been asked and has not answered.
    Asked,
    /// Some of the blob lies in Redis.
    Writing,
}

/// Has the first edge fetch a blob, and stops it on the way; the reply comes when it goes on.
async fn stopped(pair: &Pair, id: BlobId, at: Moment) -> tokio::task::JoinHandle<Reply> {
    let url = format!("{}/cdn/{id}", pair.first.url);
    let viewer = TaskTracker::new().spawn(async move { Client::default().get(&url).await });
    match at {
        Moment::Asked => {
            eventually("it asks", || async { pair.fleet.fetches(&id).await > 0 }).await;
        }
        Moment::Writing => {
            let slice = slice_key(&id, 0);
            eventually("it writes", || async { pair.redis.get(&slice).await.is_some() }).await;
        }
    }
    pair.first.signal(Signal::Stop);
    viewer
}

#[tokio::test]
async fn an_edge_that_stood_still_between_fetch_and_store_brings_nothing_back() {
    let pair = Pair::start().await;
    let bystander = pair.fleet.store(bytes(100, 20_000)).await;
    get(&pair.second, &bystander).await;
    for (seed, at) in (0..).zip([Moment::Asked, Moment::Writing].repeat(3)) {
        let body = bytes(seed, 3_300_000);
        let id = pair.fleet.store(body.clone()).await;
        let latency = if matches!(at, Moment::Asked) { 300 } else { 0 };
        pair.fleet.fault_all(json!({"latency_ms": latency})).await;
        let viewer = stopped(&pair, id, at).await;
        pair.fleet.fault_all(json!({})).await;
        let change = pair.operator.begin_purge(&[id]).await;
        pair.operator.applied_by("second", &change).await;
        assert_eq!(get(&pair.second, &bystander).await.header("x-source"), "memory");
        pair.first.signal(Signal::Continue);
        let late = viewer.await.unwrap();
        assert!(late.status == StatusCode::OK && late.complete && late.body == body, "{at:?}");
        pair.operator.complete(&change).await;
        pair.is_not_older(&pair.second, &id, &change).await;
        get(&pair.first, &id).await;
        assert_nothing_older(&pair.operator, &id, &change).await;
    }
}
