//! Pins in bad weather: nodes that die, blobs that vanish, and very many of them.

use std::{fs, path::Path, time::Duration};

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use wcdn_dev::Topology;
use wcdn_proto::{BlobId, ByteSize, Span, pb::admin::v1::PinState};
use wcdn_tests::{
    Fleet, bytes, client::Client, eventually, operator::Operator, program::EdgeProcess,
    redis::Redis,
};
use wcdn_walrus::blob_id;

/// So that a node that is killed is missed soon.
const LEASE: Span = Span::secs(2);

/// A control plane without edges, which keeps everything in a folder.
async fn desk(change: impl FnOnce(&mut Topology)) -> (Fleet, Operator, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let fleet = Fleet::with(|topology| {
        topology.edges_per_region = 0;
        topology.control_plane = true;
        topology.data = Some(data.path().to_owned());
        topology.control.receipts.lease = LEASE;
        topology.control.receipts.lost_after = LEASE;
        change(topology);
    })
    .await;
    let operator = fleet.operator();
    (fleet, operator, data)
}

async fn edge(fleet: &Fleet, data: &TempDir, name: &str, redis: Option<&Redis>) -> EdgeProcess {
    EdgeProcess::of(fleet, data.path(), name, |config| {
        config.cluster.lease = LEASE;
        config.redis.timeout = Span::secs(2);
        config.redis.urls = redis.iter().map(|redis| redis.url()).collect();
    })
    .await
}

/// Fails unless the edge has the blob in memory.
async fn assert_ready(edge: &EdgeProcess, id: &BlobId) {
    let reply = Client::default().get(&format!("{}/cdn/{id}", edge.url)).await;
    let told = (reply.status, reply.header("x-cache"), reply.header("x-source"));
    assert_eq!(told, (StatusCode::OK, "HIT", "memory"));
}

/// The nodes that hold the blob since it is pinned.
async fn holders(operator: &Operator, id: &BlobId) -> Vec<String> {
    let nodes = operator.explain(id).await.into_iter();
    let holding = nodes.filter(|node| node.holding.as_ref().is_some_and(|it| it.pinned));
    holding.map(|node| node.node).collect()
}

#[tokio::test]
async fn when_a_keeper_is_killed_the_next_node_takes_over_and_no_origin_is_asked() {
    let (fleet, operator, data) = desk(|_| {}).await;
    let redis = Redis::start().await;
    let names = ["one", "two", "three"];
    let mut edges = Vec::new();
    for name in names {
        edges.push(edge(&fleet, &data, name, Some(&redis)).await);
    }
    operator.sees(3).await;
    let id = fleet.store(bytes(1, 40_000)).await;
    operator.hold(&[id]).await;
    assert_eq!(operator.standing(&id).await.expected, 2);
    let before = holders(&operator, &id).await;
    assert_eq!(before.len(), 2, "two of three keep it: {before:?}");
    eventually("the region has it", || redis.has(&id)).await;
    let fetched = fleet.fetches(&id).await;
    fleet.fault_all(json!({"refuse": true})).await;
    let place = |name: &str| names.iter().position(|it| *it == name).unwrap();
    edges[place(&before[0])].kill();
    let survivor = &edges[place(&before[1])];
    let third = names.iter().position(|name| !before.contains(&(*name).to_owned())).unwrap();
    eventually("the third node holds it", || async {
        assert_ready(survivor, &id).await;
        holders(&operator, &id).await.contains(&names[third].to_owned())
    })
    .await;
    assert_ready(&edges[third], &id).await;
    operator.held(&id, 2).await;
    assert_eq!(fleet.fetches(&id).await, fetched, "it came from the region");
}

#[tokio::test]
async fn a_blob_that_vanished_is_served_by_whoever_holds_it_and_its_pin_says_who_cannot() {
    let (fleet, operator, data) = desk(|_| {}).await;
    let regions = ["north", "south"];
    let mut edges = Vec::new();
    for name in regions {
        let edge = EdgeProcess::of(&fleet, data.path(), name, |config| {
            config.node.region = name.parse().unwrap();
            config.cluster.lease = LEASE;
        });
        edges.push(edge.await);
    }
    operator.sees(2).await;
    let id = fleet.store(bytes(2, 40_000)).await;
    operator.hold(&[id]).await;
    fleet.fault_all(json!({"status": 404})).await;
    for edge in &edges {
        assert_ready(edge, &id).await;
    }
    assert_eq!(operator.standing(&id).await.state(), PinState::Held, "nothing is lost yet");
    edges[1].start_again().await;
    operator.sees(2).await;
    eventually("the node that forgot it says why it has none", || async {
        let standing = operator.standing(&id).await;
        standing.state() == PinState::Degraded && standing.failed == 1 && standing.held == 1
    })
    .await;
    let reason = operator.standing(&id).await.reason;
    assert_eq!(reason, "south: no origin has the blob");
    assert_ready(&edges[0], &id).await;
    // It was only away.
    fleet.fault_all(json!({})).await;
    operator.held(&id, 2).await;
    assert_ready(&edges[1], &id).await;
}

#[tokio::test]
async fn pins_outlast_a_restart_of_everything() {
    let data = tempfile::tempdir().unwrap();
    let start = async || {
        let fleet = Fleet::with(|topology| {
            topology.control_plane = true;
            topology.data = Some(data.path().to_owned());
        })
        .await;
        let operator = fleet.operator();
        operator.sees(3).await;
        (fleet, operator)
    };
    let (before, operator) = start().await;
    let (id, other) = (before.store(bytes(3, 9_000)).await, before.store(bytes(4, 9_000)).await);
    operator.hold(&[id, other]).await;
    operator.unpin(&[other]).await;
    before.stop().await;
    let (after, operator) = start().await;
    operator.held(&id, 3).await;
    let reply = after.get(&format!("/cdn/{id}")).await;
    assert_eq!((reply.status, reply.header("x-cache")), (StatusCode::OK, "HIT"));
    assert_eq!(operator.pins().await.len(), 1);
}

#[tokio::test]
async fn an_edge_that_starts_without_its_control_plane_keeps_what_was_pinned() {
    let (mut fleet, operator, data) = desk(|_| {}).await;
    let mut edge = edge(&fleet, &data, "alone", None).await;
    operator.sees(1).await;
    let id = fleet.store(bytes(5, 9_000)).await;
    operator.hold(&[id]).await;
    let state = data.path().join("edges/alone/events.state");
    let needle = id.as_bytes();
    eventually("the pin is on the disk", || async {
        fs::read(&state).is_ok_and(|bytes| bytes.windows(32).any(|window| window == needle))
    })
    .await;
    edge.kill();
    fleet.stop_desk().await;
    edge.start_again().await;
    let client = Client::default();
    let metrics = format!("{}/metrics", edge.admin_url);
    eventually("the edge holds it again", || async {
        let page = client.get(&metrics).await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        page.lines().any(|line| {
            line.starts_with("wcdn_pins{") && line.contains("\"held\"") && line.ends_with(" 1")
        })
    })
    .await;
    assert_ready(&edge, &id).await;
}

#[tokio::test]
async fn redis_that_comes_back_empty_is_given_what_is_pinned() {
    let (fleet, operator, data) = desk(|_| {}).await;
    let mut redis = Redis::start().await;
    let edge = edge(&fleet, &data, "keeper", Some(&redis)).await;
    operator.sees(1).await;
    let id = fleet.store(bytes(6, 9_000)).await;
    operator.hold(&[id]).await;
    eventually("the region has it", || redis.has(&id)).await;
    redis.restart().await;
    // The node notices when it next uses it.
    let other = fleet.store(bytes(7, 100)).await;
    Client::default().get(&format!("{}/cdn/{other}", edge.url)).await;
    eventually("it is back in redis", || redis.has(&id)).await;
}

/// Writes blobs into the folder of the stand-in Walrus before it starts.
fn stored(data: &Path, count: u32) -> Vec<BlobId> {
    let (folder, encoding) = (data.join("walrus"), Topology::for_tests().encoding);
    fs::create_dir_all(&folder).unwrap();
    let store = |n: u32| {
        let body = bytes(u64::from(n) + 1_000, 64);
        let id = blob_id(encoding, std::slice::from_ref(&body)).unwrap();
        fs::write(folder.join(id.to_string()), &body).unwrap();
        id
    };
    (0..count).map(store).collect()
}

#[tokio::test]
async fn ten_thousand_pins_are_held_in_bounded_time_and_memory() {
    const PINS: u32 = 10_000;
    let data = tempfile::tempdir().unwrap();
    let ids = stored(data.path(), PINS);
    let fleet = Fleet::with(|topology| {
        topology.edges_per_region = 0;
        topology.control_plane = true;
        topology.data = Some(data.path().to_owned());
    })
    .await;
    let operator = fleet.operator();
    let edge = EdgeProcess::of(&fleet, data.path(), "busy", |config| {
        config.cache.memory = ByteSize::mib(16);
        config.fetch.slice = ByteSize::mib(1);
        config.limits.misses_per_client = 2_000;
        config.fetch.origin_rate = 2_000;
    })
    .await;
    operator.sees(1).await;
    let bystander = fleet.store(bytes(8, 100_000)).await;
    let url = format!("{}/cdn/{bystander}", edge.url);
    let begun = Instant::now();
    operator.pin(&ids).await;
    let client = Client::default();
    let serving = async {
        loop {
            let asked = Instant::now();
            assert_eq!(client.get(&url).await.status, StatusCode::OK);
            assert!(asked.elapsed() < Duration::from_secs(5), "viewers come first");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::select! {
        told = operator.settled_pins(&ids) => told,
        () = serving => unreachable!("it goes on"),
    };
    assert_eq!(told.held, PINS, "{told:?}");
    println!(
        "{PINS} pins held after {:?}, {} MiB at most",
        begun.elapsed(),
        edge.peak_memory() >> 20
    );
    assert!(edge.peak_memory() < 256 << 20, "{} bytes", edge.peak_memory());
    for id in ids.iter().step_by(997) {
        assert_ready(&edge, id).await;
    }
    operator.unpin(&ids).await;
    eventually("all room is given back", || async {
        let page = client.get(&format!("{}/metrics", edge.admin_url)).await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        page.lines().any(|line| line.starts_with("wcdn_pinned_bytes{") && line.ends_with(" 0"))
    })
    .await;
}
