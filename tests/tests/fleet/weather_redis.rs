//! Redis in bad weather: viewers see none of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio_util::task::TaskTracker;
use wcdn_dev::Topology;
use wcdn_proto::{BlobId, Span};
use wcdn_tests::{
    Fleet, bytes,
    client::Reply,
    eventually,
    redis::{Redis, RedisCluster, record_key, slice_key},
    signal::Signal,
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

async fn shared(fleet: &Fleet, redis: &Redis, seed: u64, length: usize) -> BlobId {
    let id = fleet.store(bytes(seed, length)).await;
    assert_eq!(get(fleet, 0, &id).await.body, bytes(seed, length));
    eventually("the region has the blob", || redis.has(&id)).await;
    id
}

/// Fresh blobs and known ones are all served right.
async fn all_is_served(
    fleet: &Fleet,
    known: &BlobId,
    known_body: &Bytes,
    seeds: std::ops::Range<u64>,
) {
    for seed in seeds {
        let id = fleet.store(bytes(seed, 20_000)).await;
        let miss = get(fleet, 0, &id).await;
        assert_eq!((miss.status, &miss.body), (StatusCode::OK, &bytes(seed, 20_000)));
        assert!(miss.header("cache-status").ends_with("detail=full"));
        let hit = get(fleet, 0, known).await;
        assert_eq!((hit.status, hit.header("x-source")), (StatusCode::OK, "memory"));
        assert_eq!(&hit.body, known_body);
    }
}

const AVAILABLE: &str = "wcdn_redis_available";

#[tokio::test]
async fn a_killed_redis_is_missed_by_nobody_and_used_again_when_it_is_back() {
    let mut redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 1, 10_000).await;
    redis.kill();
    all_is_served(&fleet, &id, &bytes(1, 10_000), 100..110).await;
    assert_eq!(fleet.metric(AVAILABLE, "").await, 0.0);
    redis.restart().await;
    eventually("redis is used again", || async { fleet.metric(AVAILABLE, "").await == 1.0 }).await;
    shared(&fleet, &redis, 2, 10_000).await;
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_no_reason_not_to_serve() {
    let mut redis = Redis::start().await;
    redis.kill();
    let fleet = fleet(&redis, |_| {}).await;
    let id = fleet.store(bytes(1, 10_000)).await;
    get(&fleet, 0, &id).await;
    all_is_served(&fleet, &id, &bytes(1, 10_000), 100..105).await;
    let ready = fleet.client.get(&format!("{}/readyz", fleet.cluster.edges()[0].admin_url)).await;
    assert_eq!(ready.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hung_redis_costs_one_deadline_and_is_then_left_alone() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |topology| topology.edge.redis.timeout = Span::millis(200)).await;
    let id = shared(&fleet, &redis, 1, 10_000).await;
    redis.signal(Signal::Stop);
    all_is_served(&fleet, &id, &bytes(1, 10_000), 100..130).await;
    let outages = "operation=\"get\",result=\"outage\"";
    assert_eq!(fleet.metric("wcdn_redis_operations_total", outages).await, 1.0);
    let closed = "operation=\"get\",result=\"closed\"";
    assert_eq!(fleet.metric("wcdn_redis_operations_total", closed).await, 29.0);
    redis.signal(Signal::Continue);
    eventually("redis is used again", || async { fleet.metric(AVAILABLE, "").await == 1.0 }).await;
    let again = shared(&fleet, &redis, 2, 10_000).await;
    assert_eq!(get(&fleet, 1, &again).await.header("x-source"), "redis");
}

#[tokio::test]
async fn a_redis_without_memory_is_read_and_not_waited_for() {
    let redis = Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]).await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 1, 10_000).await;
    redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1")).await;
    all_is_served(&fleet, &id, &bytes(1, 10_000), 100..110).await;
    eventually("writes are refused", || async {
        let refused = "operation=\"set\",result=\"refused\"";
        fleet.metric("wcdn_redis_operations_total", refused).await >= 10.0
    })
    .await;
    assert_eq!(fleet.metric(AVAILABLE, "").await, 1.0, "it can still be read");
    assert_eq!(get(&fleet, 1, &id).await.header("x-source"), "redis");
}

#[tokio::test]
async fn wrong_data_at_a_key_is_not_served() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let body = bytes(1, 2_500_000);
    let id = shared(&fleet, &redis, 1, body.len()).await;
    let record = redis.get(&record_key(&id)).await.unwrap();
    let first = redis.get(&slice_key(&id, 0)).await.unwrap();
    let mut swapped = first.to_vec();
    swapped[77] ^= 1;
    let mut forged = record.to_vec();
    forged[2] ^= 1;
    let wrong: [(String, Vec<u8>); 6] = [
        (record_key(&id), forged),
        (record_key(&id), Vec::new()),
        (record_key(&id), vec![9; 4_000_000]),
        (slice_key(&id, 0), swapped),
        (slice_key(&id, 0), first[1..].to_vec()),
        (slice_key(&id, 0), Vec::new()),
    ];
    for (edge, (key, value)) in (1..).zip(wrong) {
        redis.set(&record_key(&id), &record).await;
        redis.set(&slice_key(&id, 0), &first).await;
        redis.set(&key, &value).await;
        let edge = edge % 6;
        let reply = get(&fleet, edge, &id).await;
        assert!(reply.complete && reply.body == body, "{key}");
        if edge > 0 {
            assert_eq!(reply.header("x-source"), "walrus", "{key}");
            eventually("the right bytes are written over it", || async {
                fleet.metric_of(edge, "wcdn_redis_operations_total", "result=\"stored\"").await
                    == 1.0
            })
            .await;
        }
    }
}

#[tokio::test]
async fn another_type_at_a_key_is_a_miss_and_is_written_over() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let body = bytes(1, 30_000);
    let id = fleet.store(body.clone()).await;
    redis.ask::<()>(redis::cmd("RPUSH").arg(record_key(&id)).arg("x")).await;
    redis.ask::<()>(redis::cmd("HSET").arg(slice_key(&id, 0)).arg("x").arg("y")).await;
    let reply = get(&fleet, 0, &id).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &body));
    eventually("the record is written over", || async {
        let kind: String = redis.ask(redis::cmd("TYPE").arg(record_key(&id))).await;
        kind == "string"
    })
    .await;
    assert_eq!(fleet.metric(AVAILABLE, "").await, 1.0);
    let other = get(&fleet, 1, &id).await;
    assert_eq!((other.header("x-source"), &other.body), ("redis", &body));
}

#[tokio::test]
async fn a_blob_that_is_evicted_while_it_is_read_goes_on_from_an_origin() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let body = bytes(1, 3_300_000);
    let id = shared(&fleet, &redis, 1, body.len()).await;
    redis.ask::<()>(redis::cmd("DEL").arg(slice_key(&id, 2))).await;
    let reply = get(&fleet, 1, &id).await;
    assert!(reply.complete && reply.body == body);
    let fetched = fleet.metric_of(1, "wcdn_origin_bytes_total", "").await;
    assert_eq!(fetched, f64::from(1 << 20), "nothing but the slice that was gone");
    let again = get(&fleet, 1, &id).await;
    assert_eq!(again.header("cache-status"), "\"us-west-2\"; hit; detail=attested");
    eventually("what was gone is given back", || async {
        redis.get(&slice_key(&id, 2)).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_liar_is_found_out_by_the_digest_of_the_slice_that_was_gone() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    for bad in 0..3 {
        let seed = 50 + bad as u64;
        let body = bytes(seed, 3_300_000);
        let id = shared(&fleet, &redis, seed, body.len()).await;
        redis.ask::<()>(redis::cmd("DEL").arg(slice_key(&id, 1))).await;
        fleet.fault(bad, json!({"corrupt": true})).await;
        let reply = get(&fleet, 1, &id).await;
        assert!(reply.complete && reply.body == body, "the others are honest");
        fleet.fault(bad, json!({})).await;
    }
}

#[tokio::test]
async fn what_a_liar_adds_to_an_evicted_blob_reaches_nobody() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let body = bytes(1, 3_300_000);
    let id = shared(&fleet, &redis, 1, body.len()).await;
    redis.ask::<()>(redis::cmd("DEL").arg(slice_key(&id, 2))).await;
    fleet.fault_all(json!({"corrupt": true})).await;
    let reply = get(&fleet, 1, &id).await;
    assert!(!reply.complete && reply.body.len() <= 2 << 20);
    assert_eq!(reply.body, body.slice(..reply.body.len()));
    fleet.fault_all(json!({})).await;
    let again = get(&fleet, 1, &id).await;
    assert!(again.complete && again.body == body);
}

#[tokio::test]
async fn a_redis_that_comes_back_with_older_data_is_as_good() {
    let redis = Redis::start().await;
    let fleet = fleet(&redis, |_| {}).await;
    let id = shared(&fleet, &redis, 1, 1_500_000).await;
    let mut old = Vec::new();
    for key in [record_key(&id), slice_key(&id, 0), slice_key(&id, 1)] {
        old.push((key.clone(), redis.get(&key).await.unwrap()));
    }
    redis.ask::<()>(&redis::cmd("FLUSHALL")).await;
    let newer = shared(&fleet, &redis, 2, 10_000).await;
    for (key, value) in &old {
        redis.set(key, value).await;
    }
    redis.ask::<()>(redis::cmd("DEL").arg(record_key(&newer))).await;
    for edge in 1..4 {
        assert_eq!(get(&fleet, edge, &id).await.body, bytes(1, 1_500_000));
        assert_eq!(get(&fleet, edge, &newer).await.body, bytes(2, 10_000));
    }
}

/// Viewers that ask for known and fresh blobs until told to stop; counts what was not right.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    viewers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(fleet: &Arc<Fleet>, known: Vec<(BlobId, Bytes)>) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let known = Arc::new(known);
        let tasks = TaskTracker::new();
        let viewers = (0..6u64).map(|viewer| {
            let (fleet, known) = (Arc::clone(fleet), Arc::clone(&known));
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tasks.spawn(async move {
                for round in 0u64.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let edge = usize::try_from((viewer + round) % 6).unwrap();
                    let fresh = bytes(1_000_000 + viewer * 10_000 + round, 9_000);
                    let id = fleet.store(fresh.clone()).await;
                    let (old, body) = &known[usize::try_from(round).unwrap() % known.len()];
                    for (id, body) in [(&id, &fresh), (old, body)] {
                        let reply = get(&fleet, edge, id).await;
                        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
                        assert!(reply.complete && reply.body == body, "{id}");
                        served.fetch_add(1, SeqCst);
                    }
                }
            })
        });
        let viewers = viewers.collect();
        Self { stop, served, viewers }
    }

    /// Waits until viewers were served `more` times.
    async fn serves(&self, more: u64) {
        let until = self.served.load(SeqCst) + more;
        eventually("viewers are served", || async { self.served.load(SeqCst) >= until }).await;
    }

    /// Ends it; a viewer that got something wrong fails the test here.
    async fn end(self) {
        self.stop.store(true, SeqCst);
        for viewer in self.viewers {
            viewer.await.expect("every viewer got what it asked for");
        }
    }
}

async fn before_cluster(cluster: &RedisCluster) -> (Arc<Fleet>, Load) {
    let fleet = Fleet::with(|topology| {
        topology.edges_per_region = 2;
        cluster.serve(topology);
        topology.edge.redis.timeout = Span::millis(500);
    })
    .await;
    let fleet = Arc::new(fleet);
    let mut known = Vec::new();
    for seed in 0..20 {
        let body = bytes(seed, 40_000);
        let id = fleet.store(body.clone()).await;
        assert_eq!(get(&fleet, 0, &id).await.body, body);
        known.push((id, body));
    }
    eventually("the cluster is used", || async {
        fleet.metric("wcdn_redis_operations_total", "result=\"stored\"").await >= 15.0
    })
    .await;
    let load = Load::begin(&fleet, known);
    (fleet, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_fails_under_load_is_replaced_unseen() {
    let mut cluster = RedisCluster::start().await;
    let (fleet, load) = before_cluster(&cluster).await;
    load.serves(50).await;
    let master = cluster.masters()[0];
    cluster.kill(master);
    load.serves(50).await;
    eventually("a replica is promoted", || async { cluster.masters().len() == 3 }).await;
    eventually("all of it is used again", || async { fleet.metric(AVAILABLE, "").await == 1.0 })
        .await;
    load.serves(50).await;
    load.end().await;
    let again = fleet.store(bytes(77, 5_000)).await;
    get(&fleet, 0, &again).await;
    eventually("what is new is shared again", || async {
        get(&fleet, 1, &again).await.header("x-source") != "walrus"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_between_masters_under_load_are_followed() {
    let cluster = RedisCluster::start().await;
    let (fleet, load) = before_cluster(&cluster).await;
    load.serves(30).await;
    let masters = cluster.masters();
    let (from, to) = (masters[0], masters[1]);
    let address = format!("127.0.0.1:{}", cluster.port(from));
    let (from, to) = (cluster.node_id(from), cluster.node_id(to));
    let moving = tokio::task::spawn_blocking(move || {
        std::process::Command::new("redis-cli")
            .args(["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to])
            .args(["--cluster-slots", "2000", "--cluster-yes"])
            .stdout(std::process::Stdio::null())
            .status()
    });
    let moved = tokio::time::timeout(Duration::from_secs(120), moving).await;
    assert!(moved.expect("in time").unwrap().unwrap().success(), "2,000 slots have moved");
    load.serves(50).await;
    load.end().await;
    eventually("all of it is used", || async { fleet.metric(AVAILABLE, "").await == 1.0 }).await;
}
