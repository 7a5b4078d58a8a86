//! Starts the whole system, and stops it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wcdn_node::{Doors, Node, config::OriginSpec};
use wcdn_proto::{Region, Span};
use wcdn_walrus::BaseUrl;

use crate::{
    redis::{self, RedisAddress, RedisServer},
    standin::{self, Standin, StandinOptions},
    topology::{AGGREGATORS, PUBLISHER_PORT, Ports, REDIS_PORT, REGIONS, Topology, WalrusNetwork},
};

/// A running system.
#[derive(Debug)]
pub struct Cluster {
    standin: Option<Standin>,
    edges: Vec<Edge>,
    redis: Vec<RegionRedis>,
    walrus_shutdown: CancellationToken,
    _home: Option<TempDir>,
}

/// The Redis of a region.
#[derive(Debug)]
pub struct RegionRedis {
    /// Whose it is.
    pub region: Region,
    /// The server.
    pub server: RedisServer,
}

/// A running edge of it.
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
    shutdown: CancellationToken,
    node: Node,
}

impl Cluster {
    /// Starts the stand-in Walrus if the network is local, then every edge.
    ///
    /// # Errors
    /// When a port is taken or a part cannot start; what had started is stopped.
    pub async fn start(topology: &Topology) -> anyhow::Result<Self> {
        let walrus_shutdown = CancellationToken::new();
        let guard = walrus_shutdown.clone().drop_guard();
        let standin = match topology.network {
            WalrusNetwork::Local => Some(start_standin(topology, walrus_shutdown.clone()).await?),
            WalrusNetwork::Public(_) => None,
        };
        let (redis, config, home) = start_redis(topology).await?;
        let mut edges = Vec::new();
        for (region, number, port) in topology.edges() {
            let mut config = config.clone();
            if let Some(own) = redis.iter().find(|own| own.region == region) {
                config.redis.urls = vec![own.server.url()];
            }
            edges.push(start_edge(topology, config, standin.as_ref(), region, number, port).await?);
        }
        guard.disarm();
        Ok(Self { standin, edges, redis, walrus_shutdown, _home: home })
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
        self.walrus_shutdown.cancel();
        if let Some(standin) = self.standin {
            standin.join().await;
        }
    }
}

impl Edge {
    /// The edge itself.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Tells the edge to drain; [`Cluster::stop`] waits for it.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }
}

async fn start_standin(
    topology: &Topology,
    shutdown: CancellationToken,
) -> anyhow::Result<Standin> {
    let publisher = bind(topology.ports, PUBLISHER_PORT).await?;
    let mut aggregators = Vec::new();
    for n in 1..=AGGREGATORS {
        aggregators.push(bind(topology.ports, PUBLISHER_PORT + n).await?);
    }
    let options = StandinOptions {
        encoding: topology.encoding,
        publisher,
        aggregators,
        dir: topology.data.as_ref().map(|data| data.join("walrus")),
        visible_after: topology.visible_after,
        max_body: topology.max_body,
        max_quilt_body: standin::MAX_QUILT_BODY,
    };
    Standin::start(options, shutdown).await.context("cannot start the stand-in Walrus")
}

/// Starts a Redis for each region, if that is wanted and can be; the configuration of edges then
/// has a key of this cluster.
async fn start_redis(
    topology: &Topology,
) -> anyhow::Result<(Vec<RegionRedis>, wcdn_node::Config, Option<TempDir>)> {
    let mut config = topology.edge.clone();
    let wanted = topology.redis && config.redis.urls.is_empty();
    if !wanted || !redis::is_installed() {
        return Ok((Vec::new(), config, None));
    }
    let home = tempfile::tempdir().context("cannot make a temporary folder")?;
    if config.cluster.key_file.is_none() {
        let key = home.path().join("cluster.key");
        redis::write_cluster_key(&key)?;
        config.cluster.key_file = Some(key);
    }
    let mut servers = Vec::new();
    for (n, (region, _)) in (0..).zip(REGIONS) {
        let dir = home.path().join(region);
        let address = match topology.ports {
            Ports::Documented => RedisAddress::Port(REDIS_PORT + 10 * n),
            Ports::Any => RedisAddress::Socket(dir.join("redis.sock")),
        };
        let server = RedisServer::start(address, &dir, &[]).await?;
        servers.push(RegionRedis { region: region.parse()?, server });
    }
    Ok((servers, config, Some(home)))
}

async fn start_edge(
    topology: &Topology,
    mut config: wcdn_node::Config,
    standin: Option<&Standin>,
    region: Region,
    number: u16,
    port: u16,
) -> anyhow::Result<Edge> {
    config.node.id = format!("{region}-{number}").parse()?;
    config.node.region = region.clone();
    // No load balancer stands before these, and Ctrl-C is not to be waited for.
    config.limits.drain_delay = Span::secs(0);
    match topology.network {
        WalrusNetwork::Public(network) => config.walrus.network = network,
        WalrusNetwork::Local => config.walrus.n_shards = topology.encoding.n_shards(),
    }
    if let Some(standin) = standin
        && config.origins.is_empty()
    {
        config.origins = origins(&standin.aggregator_urls)?;
    }
    let doors = Doors {
        edge: bind(topology.ports, port).await?,
        tls: match config.listen.tls {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        },
        admin: bind(topology.ports, port + 1).await?,
    };
    let shutdown = CancellationToken::new();
    let node = wcdn_node::start(config, doors, shutdown.clone())?;
    Ok(Edge {
        region,
        url: format!("http://{}", node.edge_addr()),
        tls_url: node.tls_addr().map(|address| format!("https://{address}")),
        admin_url: format!("http://{}", node.admin_addr()),
        shutdown,
        node,
    })
}

fn origins(urls: &[BaseUrl]) -> anyhow::Result<Vec<OriginSpec>> {
    let named = urls
        .iter()
        .enumerate()
        .map(|(n, url)| Ok(OriginSpec::new(format!("aggregator-{}", n + 1).parse()?, url.clone())));
    named.collect()
}

async fn bind(ports: Ports, documented: u16) -> anyhow::Result<TcpListener> {
    let port = match ports {
        Ports::Documented => documented,
        Ports::Any => 0,
    };
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}; is `make run` running twice?"))
}
