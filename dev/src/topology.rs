//! How many of what runs, and on which ports.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use wcdn_node::config::OriginSpec;
use wcdn_proto::Region;
use wcdn_walrus::{Encoding, Network};

/// What a [`Cluster`](crate::Cluster) consists of.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Which Walrus the edges fill from.
    pub network: WalrusNetwork,
    /// Edges in each region, 1 to 5.
    pub edges_per_region: u16,
    /// Which ports are taken.
    pub ports: Ports,
    /// Where everything is kept that is to be there the next time; a temporary folder, and memory for
    /// the blobs of the stand-in Walrus, if not given.
    pub data: Option<PathBuf>,
    /// Whether each region has a `redis-server`, if one is installed.
    pub redis: bool,
    /// Shards of the stand-in Walrus; fewer make ids cheap, for tests.
    pub encoding: Encoding,
    /// How long the stand-in answers 404 for a blob just stored, as real aggregators may.
    pub visible_after: Duration,
    /// The largest blob that the stand-in's publisher takes.
    pub max_body: usize,
    /// Whether there is a control plane.
    pub control_plane: bool,
    /// Whether the nodes of a region read through each other; they know of each other by the control
    /// plane's gossip.
    pub peers: bool,
    /// Where edges reach each other, in their order, if something stands in between.
    pub peer_ways: Vec<SocketAddr>,
    /// How many there are, 1 to 5; several share a PostgreSQL database, which is started if
    /// [`Self::control`] names none.
    pub control_planes: u16,
    /// Ports of the first for gRPC and for the operator, if they are not to follow from `ports`.
    pub control_ports: Option<(u16, u16)>,
    /// Where edges reach it, in their order, if something stands in between.
    pub control_ways: Vec<SocketAddr>,
    /// What edges fill from, in their order, if something stands between them and the origins.
    pub origin_ways: Vec<Vec<OriginSpec>>,
    /// Its configuration, before its own names, ports and files are put in.
    pub control: wcdn_control_plane::Config,
    /// The API key that it knows; one is made if not given.
    pub api_key: Option<String>,
    /// The configuration of every edge, before its own names, ports and origins are put in.
    pub edge: wcdn_node::Config,
}

/// The Walrus behind the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalrusNetwork {
    /// The stand-in, in this process.
    Local,
    /// A public one.
    Public(Network),
}

/// A word that names no network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no network: use local, testnet or mainnet")]
pub struct UnknownNetwork(String);

impl FromStr for WalrusNetwork {
    type Err = UnknownNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            "testnet" => Ok(Self::Public(Network::Testnet)),
            "mainnet" => Ok(Self::Public(Network::Mainnet)),
            other => Err(UnknownNetwork(other.to_owned())),
        }
    }
}

/// Which ports are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Those that the documentation names.
    Documented,
    /// Whatever is free.
    Any,
}

/// The stand-in's publisher; its aggregators follow.
pub const PUBLISHER_PORT: u16 = 4590;

/// Aggregators of the stand-in.
pub const AGGREGATORS: u16 = 3;

/// The control plane's port for REST; that for gRPC and datagrams is one above, and those of further ones
/// follow in twos.
pub const CONTROL_PORT: u16 = 4500;

/// Its port for the operator; those of further ones follow.
pub const CONTROL_ADMIN_PORT: u16 = 4600;

/// The port of the first region's Redis; those of the others follow in tens.
pub const REDIS_PORT: u16 = 4610;

/// How far the port of an edge for its peers is above that for viewers.
pub const PEER_PORT: u16 = 200;

/// Regions, and the port of the first edge in each; its admin port is one above.
pub const REGIONS: [(&str, u16); 3] =
    [("us-west", 4510), ("eu-west", 4520), ("asia-pacific", 4530)];

impl Default for Topology {
    fn default() -> Self {
        Self {
            network: WalrusNetwork::Local,
            edges_per_region: 1,
            ports: Ports::Documented,
            data: None,
            redis: true,
            encoding: Encoding::PUBLIC,
            visible_after: Duration::ZERO,
            max_body: crate::standin::MAX_BODY,
            control_plane: true,
            control_planes: 1,
            peers: true,
            peer_ways: Vec::new(),
            control_ports: None,
            control_ways: Vec::new(),
            origin_ways: Vec::new(),
            control: wcdn_control_plane::Config::default(),
            api_key: None,
            edge: wcdn_node::Config::default(),
        }
    }
}

impl Topology {
    /// A small Walrus, ids that cost microseconds, free ports, no Redis, no control plane and no reading
    /// through peers: for tests.
    ///
    /// # Panics
    /// Never: 100 shards are a valid number.
    pub fn for_tests() -> Self {
        let encoding = Encoding::new(100).expect("100 shards make a code");
        let (redis, control_plane, peers) = (false, false, false);
        let ports = Ports::Any;
        let mut topology = Self { ports, redis, control_plane, peers, encoding, ..Self::default() };
        // They ask as fast as they can.
        topology.control.limits.key_per_minute = 0;
        topology
    }

    /// Every edge: its region, its number in it from 1, and its port.
    pub fn edges(&self) -> impl Iterator<Item = (Region, u16, u16)> + '_ {
        REGIONS.into_iter().flat_map(move |(region, base)| {
            let region: Region = region.parse().expect("regions are names");
            (0..self.edges_per_region).map(move |n| (region.clone(), n + 1, base + 2 * n))
        })
    }
}
