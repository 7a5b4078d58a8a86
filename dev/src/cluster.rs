//! Starts the whole system, and stops it.

mod desks;

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::Context;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wcdn_proto::{Region, Span};

pub(crate) use self::desks::DeskPorts;
use self::desks::Desks;
use crate::{
    desk,
    edge::{self, Edge},
    gossip_place::GossipPlace,
    origins,
    redis::{self, RedisAddress, RedisServer},
    standin::Standin,
    topology::{Ports, REDIS_PORT, REGIONS, Topology, WalrusNetwork},
    walrus,
};

/// A running system.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) topology: Box<Topology>,
    standin: Option<Standin>,
    desks: Desks,
    edges: Vec<Edge>,
    redis: Vec<RegionRedis>,
    walrus_shutdown: CancellationToken,
    pub(crate) home: Home,
}

/// Where the system keeps what it must not forget.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    /// Gone with the system, unless a folder was given.
    _temporary: Option<TempDir>,
}

/// The Redis of a region.
#[derive(Debug)]
pub struct RegionRedis {
    /// Whose it is.
    pub region: Region,
    /// The server.
    pub server: RedisServer,
}

impl Cluster {
    /// Starts the stand-in Walrus if the network is local, then the control planes, then every edge.
    ///
    /// # Errors
    /// When a port is taken or a part cannot start; what had started is stopped.
    pub async fn start(topology: &Topology) -> anyhow::Result<Self> {
        Self::start_among(topology, Vec::new()).await
    }

    /// The same, with the first members of the gossip at these places: the control planes, then the
    /// edges in their order.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_among(
        topology: &Topology,
        places: Vec<GossipPlace>,
    ) -> anyhow::Result<Self> {
        let mut places = places.into_iter();
        let mut cluster = Self::ground(topology).await?;
        let guard = cluster.walrus_shutdown.clone().drop_guard();
        for n in cluster.desk_numbers() {
            cluster.start_desk_at(n, places.next()).await?;
        }
        let edges: Vec<_> = cluster.topology.edges().collect();
        for (n, (region, number, port)) in edges.into_iter().enumerate() {
            let mut config = cluster.edge_config(&region, number)?;
            desk::introduce(&mut config, &cluster.introductions());
            if let Some(way) = cluster.topology.control_ways.get(n) {
                config.control.endpoints = vec![format!("http://{way}")];
            }
            config.peer.advertise = cluster.topology.peer_ways.get(n).copied();
            if let Some(origins) = cluster.topology.origin_ways.get(n) {
                config.origins.clone_from(origins);
            }
            let place = places.next();
            let edge = edge::start(&cluster.topology, config, port, place).await?;
            cluster.edges.push(edge);
        }
        guard.disarm();
        Ok(cluster)
    }

    /// What the rest stands on: a folder, a stand-in Walrus if the network is local, Redis, and PostgreSQL if
    /// there are several control planes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn ground(topology: &Topology) -> anyhow::Result<Self> {
        let home = Home::of(topology)?;
        let walrus_shutdown = CancellationToken::new();
        let guard = walrus_shutdown.clone().drop_guard();
        let standin = match topology.network {
            WalrusNetwork::Local => Some(
                walrus::start(topology, Ipv4Addr::LOCALHOST.into(), walrus_shutdown.clone())
                    .await?,
            ),
            WalrusNetwork::Public(_) => None,
        };
        let edge = keyed(topology, &home)?;
        let topology = Box::new(Topology { edge, ..topology.clone() });
        let redis = start_redis(&topology, &home).await?;
        let desks = Desks::ground(&topology, &home).await?;
        guard.disarm();
        let edges = Vec::new();
        Ok(Self { topology, standin, desks, edges, redis, walrus_shutdown, home })
    }

    /// The configuration of the control planes, but for their sockets and files.
    pub(crate) fn control_config(&self) -> anyhow::Result<wcdn_control_plane::Config> {
        origins::watch(&self.topology, self.standin.as_ref())
    }

    /// Drains and stops an edge, and starts it with what it kept on disk, at other ports, after its
    /// configuration was changed; its place in [`Self::edges`] stays.
    ///
    /// # Errors
    /// When it cannot be started again; then its place is gone.
    pub async fn restart_edge(
        &mut self,
        n: usize,
        change: impl FnOnce(&mut wcdn_node::Config),
    ) -> anyhow::Result<()> {
        let edge = self.edges.remove(n);
        let mut config = edge.config.clone();
        change(&mut config);
        edge.shutdown.cancel();
        edge.node.join().await;
        self.edges.insert(n, edge::start(&self.topology, config, 0, None).await?);
        Ok(())
    }

    /// The configuration of an edge, but for its sockets and its control plane.
    pub(crate) fn edge_config(
        &self,
        region: &Region,
        number: u16,
    ) -> anyhow::Result<wcdn_node::Config> {
        let mut config = self.topology.edge.clone();
        config.node.id = format!("{region}-{number}").parse()?;
        config.node.region = region.clone();
        // No load balancer stands before these, and Ctrl-C is not to be waited for.
        config.limits.drain_delay = Span::secs(0);
        match self.topology.network {
            WalrusNetwork::Public(network) => config.walrus.network = network,
            WalrusNetwork::Local => config.walrus.n_shards = self.topology.encoding.n_shards(),
        }
        if let Some(standin) = &self.standin
            && config.origins.is_empty()
        {
            config.origins = origins::named(&standin.aggregator_urls)?;
        }
        if let Some(own) = self.redis.iter().find(|own| own.region == *region) {
            config.redis.urls = vec![own.server.url()];
        }
        if self.topology.control_plane {
            config.cluster.key_file = Some(self.home.cluster_key());
            config.node.state_dir =
                Some(self.home.path.join("edges").join(config.node.id.as_str()));
        }
        Ok(config)
    }

    /// The stand-in Walrus, if there is one.
    pub fn standin(&self) -> Option<&Standin> {
        self.standin.as_ref()
    }

    /// Every edge, region by region.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The Redis of each region, if there is any.
    pub fn redis(&self) -> &[RegionRedis] {
        &self.redis
    }

    /// Drains every edge, then stops the rest.
    pub async fn stop(self) {
        self.edges.iter().for_each(|edge| edge.shutdown.cancel());
        for edge in self.edges {
            edge.node.join().await;
        }
        self.desks.stop().await;
        self.walrus_shutdown.cancel();
        if let Some(standin) = self.standin {
            standin.join().await;
        }
    }
}

impl Home {
    fn of(topology: &Topology) -> anyhow::Result<Self> {
        if let Some(data) = &topology.data {
            std::fs::create_dir_all(data)
                .with_context(|| format!("cannot make {}", data.display()))?;
            return Ok(Self { path: std::path::absolute(data)?, _temporary: None });
        }
        let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
        Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }

    pub(crate) fn cluster_key(&self) -> PathBuf {
        self.path.join("cluster.key")
    }
}

/// The configuration of edges, with a key of this cluster where one is needed.
fn keyed(topology: &Topology, home: &Home) -> anyhow::Result<wcdn_node::Config> {
    let mut config = topology.edge.clone();
    let key = home.cluster_key();
    let is_needed = topology.control_plane || starts_redis(topology);
    if is_needed && config.cluster.key_file.is_none() {
        if !key.exists() {
            redis::write_cluster_key(&key)?;
        }
        config.cluster.key_file = Some(key);
    }
    Ok(config)
}

fn starts_redis(topology: &Topology) -> bool {
    topology.redis && topology.edge.redis.urls.is_empty() && redis::is_installed()
}

/// Starts a Redis for each region, if that is wanted and can be.
async fn start_redis(topology: &Topology, home: &Home) -> anyhow::Result<Vec<RegionRedis>> {
    if !starts_redis(topology) {
        return Ok(Vec::new());
    }
    let mut servers = Vec::new();
    for (n, (region, _)) in (0..).zip(REGIONS) {
        let dir = home.path.join("redis").join(region);
        let address = match topology.ports {
            Ports::Documented => RedisAddress::Port(REDIS_PORT + 10 * n),
            Ports::Any => RedisAddress::Socket(dir.join("redis.sock")),
        };
        let server = RedisServer::start(address, &dir, &[]).await?;
        servers.push(RegionRedis { region: region.parse()?, server });
    }
    Ok(servers)
}
