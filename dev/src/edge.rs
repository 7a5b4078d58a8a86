//! One edge of the system, in this process.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wcdn_node::{Doors, Node};
use wcdn_proto::Region;

use crate::{
    gossip_place::{GossipPlace, listen},
    topology::{PEER_PORT, Ports, Topology},
};

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    /// Where it stands.
    pub region: Region,
    /// `http://…`, for viewers.
    pub url: String,
    /// `https://…`, for viewers, where there is a certificate.
    pub tls_url: Option<String>,
    /// `http://…`, for the operator.
    pub admin_url: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) node: Node,
    /// What it was started with.
    pub(crate) config: wcdn_node::Config,
}

impl Edge {
    /// The edge itself.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where its peers ask it, if they do.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.config.listen.peer
    }

    /// Tells the edge to drain; [`Cluster::stop`](crate::Cluster::stop) waits for it.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }
}

/// Starts one, at a documented port or anywhere.
///
/// # Errors
/// When a port is taken, or the edge does not start.
pub(crate) async fn start(
    topology: &Topology,
    mut config: wcdn_node::Config,
    port: u16,
    place: Option<GossipPlace>,
) -> anyhow::Result<Edge> {
    let admin_port = if port == 0 { 0 } else { port + 1 };
    let place = match place {
        None if config.control.endpoints.is_empty() => None,
        None => Some(GossipPlace::bind(on(topology.ports, admin_port)).await?),
        some => some,
    };
    if let Some(GossipPlace { socket, advertise }) = &place {
        config.gossip.listen = Some(socket.local_addr()?);
        config.gossip.advertise = Some(*advertise);
    }
    let doors = Doors {
        edge: bind(topology.ports, port).await?,
        tls: match config.listen.tls {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        },
        admin: bind(topology.ports, admin_port).await?,
        peer: match topology.peers && place.is_some() {
            true => Some(bind(topology.ports, if port == 0 { 0 } else { port + PEER_PORT }).await?),
            false => None,
        },
        gossip: place.map(|place| place.socket),
    };
    config.listen.peer = doors.peer.as_ref().map(TcpListener::local_addr).transpose()?;
    let shutdown = CancellationToken::new();
    let node = wcdn_node::start(config.clone(), doors, shutdown.clone())?;
    Ok(Edge {
        region: config.node.region.clone(),
        url: format!("http://{}", node.edge_addr()),
        tls_url: node.tls_addr().map(|address| format!("https://{address}")),
        admin_url: format!("http://{}", node.admin_addr()),
        shutdown,
        node,
        config,
    })
}

pub(crate) async fn bind(ports: Ports, documented: u16) -> anyhow::Result<TcpListener> {
    listen(on(ports, documented)).await
}

pub(crate) fn on(ports: Ports, documented: u16) -> u16 {
    match ports {
        Ports::Documented => documented,
        Ports::Any => 0,
    }
}
