//! Redis in bad weather while something is purged: what it brings back is served to nobody.

use std::{fs, path::Path};

use http::StatusCode;
use wcdn_dev::Topology;
use wcdn_proto::{
    BlobId, Span,
    pb::{admin::v1::Receipt, edge::v1::ReadBack},
};
use wcdn_tests::{
    Fleet, bytes,
    client::Reply,
    eventually,
    operator::{Operator, assert_nothing_older},
    redis::{Copy, Redis, RedisPair},
    signal::Signal,
};

/// Six edges before one Redis, which holds a blob that is to be purged and one that is not.
struct Scene {
    fleet: Fleet,
    operator: Operator,
    purged: BlobId,
    bystander: BlobId,
    before: Copy,
    /// Fetches of the bystander.
    fetched: u64,
}

const PURGED: (u64, usize) = (1, 1_500_000);
const BYSTANDER: (u64, usize) = (2, 30_000);

/// The edge that fills them, and one that has neither until it asks Redis.
const FILLER: usize = 0;
const STRANGER: usize = 5;

const AVAILABLE: &str = "wcdn_redis_available";

impl Scene {
    async fn new(redis: &Redis, change: impl FnOnce(&mut Topology)) -> Self {
        let fleet = Fleet::with(|topology| {
            topology.edges_per_region = 2;
            topology.control_plane = true;
            redis.serve(topology);
            change(topology);
        })
        .await;
        let operator = fleet.operator();
        operator.sees(6).await;
        let [purged, bystander] =
            [shared(&fleet, redis, PURGED).await, shared(&fleet, redis, BYSTANDER).await];
        let (before, fetched) = (redis.copy().await, fleet.fetches(&bystander).await);
        Self { fleet, operator, purged, bystander, before, fetched }
    }

    async fn get(&self, edge: usize, id: &BlobId) -> Reply {
        get(&self.fleet, edge, id).await
    }

    /// The old bytes lie in Redis again; an edge that asks for them there fetches the blob.
    async fn is_fetched_again(&self, redis: &Redis, receipt: &Receipt) {
        redis.put_back(&self.before).await;
        self.nothing_older_is_served(receipt).await;
    }

    /// An edge that asks Redis, where the old bytes lie, fetches the blob.
    async fn nothing_older_is_served(&self, receipt: &Receipt) {
        for edge in 0..6 {
            eventually("redis is used", || async {
                self.fleet.metric_of(edge, AVAILABLE, "").await == 1.0
            })
            .await;
        }
        let (fetched, refused) = (self.fleet.fetches(&self.purged).await, self.refused().await);
        let first = self.get(STRANGER, &self.purged).await;
        assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
        assert_eq!(first.body, bytes(PURGED.0, PURGED.1));
        assert!(self.fleet.fetches(&self.purged).await > fetched);
        assert!(self.refused().await > refused, "the old bytes were there");
        for edge in 0..6 {
            self.get(edge, &self.purged).await;
        }
        assert_nothing_older(&self.operator, &self.purged, receipt.change.as_ref().unwrap()).await;
    }

    /// How often the stranger found bytes in Redis that it did not serve.
    async fn refused(&self) -> f64 {
        let tier = "tier=\"redis\"";
        self.fleet.metric_of(STRANGER, "wcdn_events_rejected_total", tier).await
    }

    /// What was not purged is still a hit, in memory and from Redis.
    async fn others_are_hits(&self) {
        assert_eq!(self.get(FILLER, &self.bystander).await.header("x-source"), "memory");
        assert_eq!(self.get(STRANGER, &self.bystander).await.header("x-cache"), "HIT");
        assert_eq!(self.fleet.fetches(&self.bystander).await, self.fetched);
    }
}

async fn get(fleet: &Fleet, edge: usize, id: &BlobId) -> Reply {
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply
}

async fn shared(fleet: &Fleet, redis: &Redis, (seed, length): (u64, usize)) -> BlobId {
    let id = fleet.store(bytes(seed, length)).await;
    get(fleet, FILLER, &id).await;
    eventually("the region has the blob", || redis.has(&id)).await;
    id
}

#[tokio::test]
async fn a_redis_that_was_down_during_a_purge_brings_nothing_back() {
    let mut redis = Redis::start().await;
    let scene = Scene::new(&redis, |_| {}).await;
    redis.kill();
    let receipt = scene.operator.purge(&[scene.purged]).await;
    assert_eq!(scene.get(FILLER, &scene.bystander).await.header("x-source"), "memory");
    redis.restart().await;
    scene.is_fetched_again(&redis, &receipt).await;
    scene.others_are_hits().await;
}

#[tokio::test]
async fn a_redis_that_hangs_during_a_purge_is_not_waited_for() {
    let redis = Redis::start().await;
    let timeout = Span::millis(300);
    let scene = Scene::new(&redis, |topology| topology.edge.redis.timeout = timeout).await;
    redis.signal(Signal::Stop);
    let receipt = scene.operator.purge(&[scene.purged]).await;
    assert!(
        receipt.nodes.iter().all(|line| line.outcome.is_none()),
        "redis is silent: {receipt:?}"
    );
    let fetched = scene.fleet.fetches(&scene.purged).await;
    let meanwhile = scene.get(FILLER, &scene.purged).await;
    assert_eq!((meanwhile.header("x-cache"), meanwhile.header("x-source")), ("MISS", "walrus"));
    assert!(scene.fleet.fetches(&scene.purged).await > fetched);
    redis.signal(Signal::Continue);
    let change = receipt.change.as_ref().unwrap();
    eventually("every node tells what became of it", || async {
        scene.operator.receipt(change).await.nodes.iter().all(|line| line.outcome.is_some())
    })
    .await;
    let told = scene.operator.receipt(change).await;
    let stale = |line: &wcdn_proto::pb::admin::v1::NodeReceipt| {
        line.outcome.as_ref().is_some_and(|outcome| outcome.read_back() == ReadBack::Stale)
    };
    assert!(!told.nodes.iter().any(stale), "{told:?}");
    scene.is_fetched_again(&redis, &receipt).await;
    scene.others_are_hits().await;
}

#[tokio::test]
async fn a_failover_that_loses_the_delete_brings_nothing_back_however_often() {
    let redis = Redis::start().await;
    let scene = Scene::new(&redis, |_| {}).await;
    let receipt = scene.operator.purge(&[scene.purged]).await;
    eventually("it is gone from redis", || async { !redis.has(&scene.purged).await }).await;
    scene.is_fetched_again(&redis, &receipt).await;
    // The second time there are newer bytes, which the old ones replace.
    let again = scene.operator.purge(&[scene.purged]).await;
    scene.is_fetched_again(&redis, &again).await;
    scene.others_are_hits().await;
}

#[tokio::test]
async fn a_replica_that_is_promoted_without_the_delete_brings_nothing_back() {
    let mut pair = RedisPair::start().await;
    let scene = Scene::new(&pair.master, |topology| pair.serve(topology)).await;
    pair.replicate(&[scene.purged, scene.bystander]).await;
    let receipt = scene.operator.purge(&[scene.purged]).await;
    eventually("it is gone from the master", || async { !pair.master.has(&scene.purged).await })
        .await;
    pair.fail_over().await;
    assert!(pair.replica.has(&scene.purged).await, "it never heard of the delete");
    scene.nothing_older_is_served(&receipt).await;
    scene.others_are_hits().await;
}

#[tokio::test]
async fn a_purge_of_everything_is_undone_by_no_old_redis() {
    let redis = Redis::start().await;
    let scene = Scene::new(&redis, |_| {}).await;
    let receipt = scene.operator.purge_all().await;
    redis.put_back(&scene.before).await;
    for (id, (seed, length)) in [(scene.purged, PURGED), (scene.bystander, BYSTANDER)] {
        let fetched = scene.fleet.fetches(&id).await;
        let first = scene.get(STRANGER, &id).await;
        assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
        assert_eq!(first.body, bytes(seed, length));
        assert!(scene.fleet.fetches(&id).await > fetched);
        for edge in 0..6 {
            scene.get(edge, &id).await;
        }
        assert_nothing_older(&scene.operator, &id, receipt.change.as_ref().unwrap()).await;
    }
}

#[tokio::test]
async fn a_fresh_log_believes_nothing_that_an_old_redis_holds() {
    let redis = Redis::start().await;
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let scene = Scene::new(&redis, |topology| topology.data = Some(old.path().to_owned())).await;
    // The delete is lost, and with the log all knowledge of the purge.
    scene.operator.purge(&[scene.purged]).await;
    eventually("it is gone from redis", || async { !redis.has(&scene.purged).await }).await;
    scene.fleet.stop().await;
    redis.put_back(&scene.before).await;
    same_key(old.path(), new.path());
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.data = Some(new.path().to_owned());
        redis.serve(topology);
    })
    .await;
    fleet.operator().sees(3).await;
    for (id, (seed, length)) in [(scene.purged, PURGED), (scene.bystander, BYSTANDER)] {
        assert_eq!(fleet.store(bytes(seed, length)).await, id);
        let first = get(&fleet, 0, &id).await;
        assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
        assert!(fleet.fetches(&id).await > 0);
    }
    let refused = fleet.metric("wcdn_events_rejected_total", "tier=\"redis\"").await;
    assert_eq!(refused, 2.0, "both were there");
    eventually("what is fetched now is shared", || async {
        get(&fleet, 1, &scene.purged).await.header("x-source") != "walrus"
    })
    .await;
}

/// The new system's nodes would else not even be able to read what the old one's wrote.
fn same_key(old: &Path, new: &Path) {
    fs::copy(old.join("cluster.key"), new.join("cluster.key")).unwrap();
}
