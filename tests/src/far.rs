//! A system whose nodes are far from each other, and may be cut off.
//!
//! Its datagrams go through a [`Wan`], and each edge reaches the control plane's gRPC port through a
//! [`Relay`] of its own. Edges are numbered from 0, region by region; origins are near everybody.

use std::net::SocketAddr;

use wcdn_dev::{GossipPlace, Topology, topology::REGIONS};

use crate::{
    Fleet, eventually,
    relay::Relay,
    wan::{Wan, Weather},
};

/// The system, and what is between its nodes.
#[derive(Debug)]
pub struct Far {
    /// The system.
    pub fleet: Fleet,
    /// Where datagrams go.
    pub wan: Wan,
    /// Where the control plane and the edges themselves listen for datagrams.
    pub sockets: Vec<SocketAddr>,
    ways: Vec<Relay>,
}

/// Of the control plane in the [`Wan`].
pub const CONTROL_PLANE: usize = 0;

/// Of an edge in the [`Wan`].
pub fn in_wan(edge: usize) -> usize {
    edge + 1
}

impl Far {
    /// Starts it, with `per_region` edges in each region, in this weather, and waits until all know of
    /// all.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(
        weather: Weather,
        per_region: u16,
        change: impl FnOnce(&mut Topology),
    ) -> Self {
        let wan = Wan::new(weather, 7);
        let (mut places, mut sockets, mut ways) = (Vec::new(), Vec::new(), Vec::new());
        let edges = (0..REGIONS.len()).flat_map(|region| (0..per_region).map(move |_| region));
        for region in std::iter::once(0).chain(edges) {
            let (_, socket, advertise) = wan.join(region).await.expect("a place");
            sockets.push(socket.local_addr().expect("it is bound"));
            places.push(GossipPlace { socket, advertise });
        }
        for _ in 1..places.len() {
            ways.push(Relay::bind().await.expect("a port"));
        }
        let addresses: Vec<_> = ways.iter().map(Relay::address).collect();
        let fleet = Fleet::among(places, |topology| {
            topology.control_plane = true;
            topology.edges_per_region = per_region;
            // Edges are ready before their ways lead anywhere.
            topology.edge.control.start_grace = wcdn_proto::Span::millis(100);
            topology.control_ways = addresses;
            change(topology);
        })
        .await;
        let far = Self { fleet, wan, sockets, ways };
        let desk = far.fleet.cluster.desk().expect("it runs").grpc;
        far.ways.iter().for_each(|way| way.lead_to(desk));
        far.all_know_all().await;
        far
    }

    async fn all_know_all(&self) {
        let edges = self.ways.len();
        for edge in 0..edges {
            eventually("the edge knows all members, and has a session", || async {
                let known = self.fleet.metric_of(edge, "wcdn_gossip_members_known", "").await;
                let session = self.fleet.metric_of(edge, "wcdn_events_session", "").await;
                known >= f64::from(u32::try_from(edges + 1).expect("a few")) && session > 0.0
            })
            .await;
        }
    }

    /// Cuts an edge off from all other nodes, but not from viewers and origins.
    pub fn cut_off(&self, edge: usize) {
        self.wan.isolate(&[in_wan(edge)]);
        self.ways[edge].cut();
    }

    /// The way of an edge to the control plane.
    pub fn way(&self, edge: usize) -> &Relay {
        &self.ways[edge]
    }

    /// Cuts the connection of an edge to the control plane; datagrams pass.
    pub fn cut_session(&self, edge: usize) {
        self.ways[edge].cut();
    }

    /// Heals everything.
    pub fn heal(&self) {
        self.wan.heal();
        self.ways.iter().for_each(Relay::heal);
    }
}
