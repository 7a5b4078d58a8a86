//! A system whose nodes read through each other, region by region.

use http::StatusCode;
use wcdn_dev::Topology;
use wcdn_node::peer::ring::{Ring, RingNode};
use wcdn_proto::{BlobId, Span};

use crate::{Fleet, bytes, client::Reply, eventually};

/// Nodes of a region.
pub const NODES: usize = 3;

/// Starts it, with three nodes in each of three regions, and waits until all know of each other. Nothing is asked twice for being slow, so that fetches can be counted, and a machine that
/// compiles meanwhile is not taken for a dead peer.
///
/// # Panics
/// When it does not start.
pub async fn peered(change: impl FnOnce(&mut Topology)) -> Fleet {
    let fleet = Fleet::with(|topology| {
        reading_through_each_other(topology);
        change(topology);
    })
    .await;
    know_each_other(&fleet).await;
    fleet
}

/// What [`peered`] sets.
pub fn reading_through_each_other(topology: &mut Topology) {
    topology.control_plane = true;
    topology.peers = true;
    topology.edges_per_region = 3;
    topology.edge.fetch.hedge = 0.0;
    topology.edge.peer.connect_timeout = Span::secs(5);
    topology.edge.verify.recheck = 0.0;
}

/// Waits until all nodes know of each other, and those of each region where to ask each other.
///
/// # Panics
/// When they do not come to.
pub async fn know_each_other(fleet: &Fleet) {
    let edges = fleet.cluster.edges().len();
    let all = (edges + fleet.cluster.desks().count()) as f64;
    for edge in 0..edges {
        eventually("the node knows the others", || async {
            fleet.metric_of(edge, "wcdn_gossip_members_live", "").await >= all
                && fleet.metric_of(edge, "wcdn_peer_nodes", "").await == NODES as f64
        })
        .await;
    }
}

/// The edges of the first region, by number from 0, in the order in which they own a blob.
///
/// # Panics
/// Never: they have names.
pub fn owners(id: &BlobId) -> Vec<usize> {
    let name = |n: usize| format!("us-west-{}", n + 1);
    let node = |n| RingNode {
        node: name(n).parse().expect("a name"),
        gossip: ([127, 0, 0, 1], 9).into(),
        peer: None,
    };
    let ring = Ring::new((0..NODES).map(node));
    let number = |owner: &RingNode| (0..NODES).find(|n| name(*n) == owner.node.as_str());
    ring.owners(id).into_iter().filter_map(number).collect()
}

/// GET of a blob on an edge, which must come as it is.
///
/// # Panics
/// When it does not.
pub async fn get(fleet: &Fleet, edge: usize, id: &BlobId, seed: u64, length: usize) -> Reply {
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.complete && reply.body == bytes(seed, length), "edge {edge}");
    reply
}

/// The sum of a metric over the edges of the first region.
pub async fn in_region(fleet: &Fleet, name: &str, labels: &str) -> f64 {
    let mut sum = 0.0;
    for edge in 0..NODES {
        sum += fleet.metric_of(edge, name, labels).await;
    }
    sum
}
