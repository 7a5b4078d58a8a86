//! Peers that die, hang, stop, or cannot be reached, while viewers read through them.

use std::time::Duration;

use futures_util::future::{join, join_all};
use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use wcdn_proto::{BlobId, Span};
use wcdn_tests::{
    Fleet, bytes,
    client::Client,
    eventually,
    far::{Far, in_wan},
    program::EdgeProcess,
    region::{NODES, get, know_each_other, owners, peered, reading_through_each_other},
    relay::Relay,
    signal::Signal,
    wan::Weather,
};

/// A blob that streams, and where origins stop in the middle of it.
const LENGTH: usize = 3_000_000;
const MIDDLE: usize = 2_000_000;

/// Three edges of a region, each a process of its own.
struct Trio {
    fleet: Fleet,
    edges: Vec<EdgeProcess>,
    _data: TempDir,
}

impl Trio {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let fleet = Fleet::with(|topology| {
            topology.edges_per_region = 0;
            topology.control_plane = true;
            topology.data = Some(data.path().to_owned());
        })
        .await;
        let mut edges = Vec::new();
        for n in 1..=NODES {
            let name = format!("us-west-{n}");
            let edge = EdgeProcess::of(&fleet, data.path(), &name, |config| {
                config.node.region = "us-west".parse().unwrap();
                config.listen.peer = Some(([127, 0, 0, 1], 0).into());
                config.peer.connect_timeout = Span::secs(2);
                config.fetch.hedge = 0.0;
            });
            edges.push(edge.await);
        }
        for edge in &edges {
            eventually("they know each other", || async {
                edge.metric("wcdn_peer_nodes", "").await == NODES as f64
            })
            .await;
        }
        Self { fleet, edges, _data: data }
    }

    async fn get(&self, edge: usize, id: &BlobId, seed: u64) {
        let reply = Client::default().get(&format!("{}/cdn/{id}", self.edges[edge].url)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert!(reply.complete && reply.body == bytes(seed, LENGTH), "{reply:?}");
    }

    /// Two hundred viewers at the two nodes that do not own a blob; when what they read comes through
    /// the owner, and origins stand still, `befall` befalls it.
    async fn while_two_hundred_read(&self, id: &BlobId, seed: u64, befall: impl FnOnce(usize)) {
        self.fleet.fault_all(json!({"stall_at": MIDDLE})).await;
        let [owner, second, third] = owners(id)[..] else { panic!("three nodes") };
        let viewers = (0..200).map(|n| self.get([second, third][n % 2], id, seed));
        let befalling = async {
            for edge in [second, third] {
                eventually("bytes come through the owner", || async {
                    let read = self.edges[edge].metric("wcdn_peer_bytes_total", "").await;
                    // The end of what there is waits for more, and for the check.
                    read >= (MIDDLE - (64 << 10)) as f64
                })
                .await;
            }
            self.fleet.fault_all(json!({})).await;
            befall(owner);
        };
        join(join_all(viewers), befalling).await;
        // The second may go to origins even sooner, when the third asks it.
        let mut resumed = 0.0;
        for edge in [second, third] {
            resumed += self.edges[edge].metric("wcdn_peer_resumed_total", "").await;
        }
        assert!(resumed >= 1.0);
    }
}

/// The seed and id of a blob that this node owns.
async fn owned_by(
    fleet: &Fleet,
    node: usize,
    seeds: impl IntoIterator<Item = u64>,
) -> (u64, BlobId) {
    for seed in seeds {
        let id = fleet.store(bytes(seed, LENGTH)).await;
        if owners(&id)[0] == node {
            return (seed, id);
        }
    }
    panic!("it owns none of them");
}

#[tokio::test]
async fn an_owner_killed_under_two_hundred_viewers_is_missed_by_none() {
    let trio = Trio::start().await;
    let id = trio.fleet.store(bytes(1, LENGTH)).await;
    trio.while_two_hundred_read(&id, 1, |owner| trio.edges[owner].signal(Signal::Kill)).await;
}

#[tokio::test]
async fn an_owner_that_hangs_under_two_hundred_viewers_is_missed_by_none() {
    let trio = Trio::start().await;
    let id = trio.fleet.store(bytes(2, LENGTH)).await;
    let owner = owners(&id)[0];
    let (seed, other) = owned_by(&trio.fleet, owner, 100..130).await;
    trio.while_two_hundred_read(&id, 2, |owner| trio.edges[owner].signal(Signal::Stop)).await;
    let second = owners(&other)[1];
    eventually("it is missed", || async {
        trio.edges[second].metric("wcdn_peer_nodes", "").await == (NODES - 1) as f64
    })
    .await;
    // The next blob of the same owner: it is not even asked, and the second asks nobody.
    let asked = || trio.edges[second].metric("wcdn_peer_requests_total", "");
    let before = asked().await;
    trio.get(second, &other, seed).await;
    assert_eq!(asked().await, before);
    trio.edges[owner].signal(Signal::Continue);
}

#[tokio::test]
async fn an_owner_that_hangs_before_it_answers_costs_seconds_once() {
    let trio = Trio::start().await;
    let (seed, id) = owned_by(&trio.fleet, 0, 200..230).await;
    const MORE: u64 = 6;
    let mut others = Vec::new();
    for n in 0..MORE {
        others.push(owned_by(&trio.fleet, 0, 1_000 + 30 * n..1_030 + 30 * n).await);
    }
    trio.edges[0].signal(Signal::Stop);
    let began = Instant::now();
    join(trio.get(1, &id, seed), trio.get(2, &id, seed)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let asked = async || {
        trio.edges[1].metric("wcdn_peer_requests_total", "").await
            - trio.edges[1].metric("wcdn_peer_requests_total", "found").await
    };
    let before = asked().await;
    for (seed, other) in others {
        trio.get(1, &other, seed).await;
    }
    // It is left alone for a second, then for two: it may be tried when these are over.
    let tried = asked().await - before;
    assert!(tried <= (MORE / 2) as f64, "{tried} of {MORE}");
    trio.edges[0].signal(Signal::Continue);
}

#[tokio::test]
async fn an_owner_that_drains_ends_what_it_began_and_is_asked_no_more() {
    let fleet = peered(|topology| topology.edge.fetch.idle_timeout = Span::secs(2)).await;
    let (seed, id) = owned_by(&fleet, 0, 300..330).await;
    fleet.fault_all(json!({"stall_at": MIDDLE})).await;
    let reading = async { get(&fleet, 1, &id, seed, LENGTH).await };
    let draining = async {
        eventually("bytes come through the owner", || async {
            fleet.metric_of(1, "wcdn_peer_bytes_total", "").await >= (MIDDLE - (64 << 10)) as f64
        })
        .await;
        fleet.cluster.edges()[0].drain();
        fleet.fault_all(json!({})).await;
    };
    let (reply, ()) = join(reading, draining).await;
    assert_eq!(reply.header("x-source"), "peer");
    assert_eq!(fleet.metric_of(1, "wcdn_peer_resumed_total", "").await, 0.0);
    let (seed, other) = owned_by(&fleet, 0, 330..360).await;
    join_all([1, 2].map(|edge| get(&fleet, edge, &other, seed, LENGTH))).await;
}

#[tokio::test]
async fn peers_that_cannot_reach_each_other_go_on_by_themselves() {
    let mut ways = Vec::new();
    for _ in 0..9 {
        ways.push(Relay::bind().await.unwrap());
    }
    let fleet = peered(|topology| {
        topology.peer_ways = ways.iter().map(Relay::address).collect();
        topology.edge.peer.connect_timeout = Span::secs(1);
    })
    .await;
    for (way, edge) in ways.iter().zip(fleet.cluster.edges()) {
        way.lead_to(edge.peer_addr().unwrap());
    }
    let (seed, id) = owned_by(&fleet, 0, 400..430).await;
    fleet.fault_all(json!({"stall_at": MIDDLE})).await;
    let reading = join_all([1, 2].map(|edge| get(&fleet, edge, &id, seed, LENGTH)));
    let cutting = async {
        for edge in [1, 2] {
            eventually("bytes come through the owner", || async {
                let read = fleet.metric_of(edge, "wcdn_peer_bytes_total", "").await;
                read >= (MIDDLE - (64 << 10)) as f64
            })
            .await;
        }
        ways[..NODES].iter().for_each(Relay::cut);
        fleet.fault_all(json!({})).await;
    };
    let (replies, ()) = join(reading, cutting).await;
    assert_eq!(replies.len(), 2);
    let other = fleet.store(bytes(431, LENGTH)).await;
    join_all((0..NODES).map(|edge| get(&fleet, edge, &other, 431, LENGTH))).await;
    ways.iter().for_each(Relay::heal);
    // In time they read through each other again.
    for seed in 432.. {
        let id = fleet.store(bytes(seed, 5_000)).await;
        let third = owners(&id)[2];
        if get(&fleet, third, &id, seed, 5_000).await.header("x-source") == "peer" {
            break;
        }
        assert!(seed < 5_000, "they never do");
    }
}

#[tokio::test]
async fn nodes_that_see_different_peers_serve_all_the_same() {
    let far = Far::start(Weather::fine(), 3, reading_through_each_other).await;
    know_each_other(&far.fleet).await;
    let nodes = |edge| far.fleet.metric_of(edge, "wcdn_peer_nodes", "");
    let (seed, id) = owned_by(&far.fleet, 0, 500..530).await;
    let (another, other) = owned_by(&far.fleet, 0, 530..560).await;
    // Nobody hears the third, which hears all.
    far.wan.change(|weather| {
        weather.cuts.extend((0..10).filter(|n| *n != in_wan(2)).map(|n| (in_wan(2), n)));
    });
    for edge in [0, 1] {
        eventually("the third is gone", || async { nodes(edge).await == 2.0 }).await;
    }
    join_all((0..NODES).map(|edge| get(&far.fleet, edge, &id, seed, LENGTH))).await;
    assert!(far.fleet.fetches(&id).await <= 2, "once more at the most");
    // Nor does it hear anybody.
    far.wan.isolate(&[in_wan(2)]);
    eventually("it is alone", || async { nodes(2).await == 1.0 }).await;
    join_all((0..NODES).map(|edge| get(&far.fleet, edge, &other, another, LENGTH))).await;
    assert_eq!(far.fleet.fetches(&other).await, 2);
    far.heal();
    know_each_other(&far.fleet).await;
}
