//! The system with each edge, and each control plane, in a process of its own: any of them can be
//! killed, and started again by hand.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::Region;

use crate::{
    cluster::{Cluster, DeskPorts},
    desk::{self, Introduction},
    ports,
    process::Process,
    topology::{PEER_PORT, Ports, Topology},
};

/// A running system.
#[derive(Debug)]
pub struct Apart {
    ground: Cluster,
    desks: Vec<DeskPart>,
    edges: Vec<EdgePart>,
    processes: TaskTracker,
    shutdown: CancellationToken,
}

/// A control plane of it.
#[derive(Debug)]
pub struct DeskPart {
    /// Its name.
    pub name: String,
    /// Where operators and edges are served.
    pub grpc: SocketAddr,
    /// Where the REST API is.
    pub http: SocketAddr,
    /// Where the operator looks.
    pub admin: SocketAddr,
    /// What calls need.
    pub key: String,
    issuer_key: String,
    /// Its process.
    pub run: Run,
}

/// One of its edges.
#[derive(Debug)]
pub struct EdgePart {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub region: Region,
    /// `http://…`, for viewers.
    pub url: String,
    /// `http://…`, for the operator.
    pub admin_url: String,
    /// Its process.
    pub run: Run,
}

/// How a part runs.
#[derive(Debug, Clone)]
pub struct Run {
    /// The number of its process, as it was first started.
    pub pid: u32,
    /// What starts it again.
    pub command: String,
}

impl Apart {
    /// Starts the stand-in Walrus and each server as ever, then the control planes, then every edge, each
    /// with a configuration file and a log in the folder `processes`.
    ///
    /// # Errors
    /// When a port is taken or a part cannot start; what had started is stopped.
    pub async fn start(topology: &Topology) -> anyhow::Result<Self> {
        let ground = Cluster::ground(topology).await?;
        let place = ground.home.path.join("processes");
        std::fs::create_dir_all(&place)
            .with_context(|| format!("cannot make {}", place.display()))?;
        let (processes, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let desks = Vec::new();
        let mut apart = Self { ground, desks, edges: Vec::new(), processes, shutdown };
        let guard = apart.shutdown.clone().drop_guard();
        for n in apart.ground.desk_numbers() {
            let desk = apart.start_desk(&place, n).await?;
            apart.desks.push(desk);
        }
        for (region, number, port) in topology.edges() {
            let edge = apart.start_edge(&place, region, number, port).await?;
            apart.edges.push(edge);
        }
        guard.disarm();
        Ok(apart)
    }

    async fn start_desk(&self, place: &Path, n: usize) -> anyhow::Result<DeskPart> {
        let (ports, documented) = (self.ground.topology.ports, DeskPorts::documented(n)?);
        let grpc = beside(ports, documented.grpc)?;
        let (http, admin) = (beside(ports, documented.http)?, beside(ports, documented.admin)?);
        let (mut config, role) = self.ground.desk_role(n)?;
        let key = role.furnish(&mut config)?;
        (config.listen.grpc, config.listen.http, config.listen.admin) = (grpc, http, admin);
        config.listen.gossip = Some(grpc);
        config.gossip.seeds = self.desks.iter().map(|desk| desk.grpc.to_string()).collect();
        let (file, name) = match n {
            0 => ("control-plane".to_owned(), "control plane".to_owned()),
            n => (format!("control-plane-{}", n + 1), format!("control plane {}", n + 1)),
        };
        let file = write(place, &file, &config)?;
        let process = Process::start("wcdn-control-plane", &file, "control plane serves").await?;
        let issuer_key = process.said("issuer_key").context("a control plane without a key")?;
        let issuer_key = issuer_key.to_owned();
        let run = keep(&name, process, &self.processes, &self.shutdown);
        Ok(DeskPart { name, grpc, http, admin, key, issuer_key, run })
    }

    async fn start_edge(
        &self,
        place: &Path,
        region: Region,
        number: u16,
        port: u16,
    ) -> anyhow::Result<EdgePart> {
        let mut config = self.ground.edge_config(&region, number)?;
        let name = config.node.id.to_string();
        let (edge, admin) = pair(self.ground.topology.ports, port)?;
        (config.listen.edge, config.listen.admin) = (edge, admin);
        if self.ground.topology.peers {
            config.listen.peer = Some(beside(self.ground.topology.ports, port + PEER_PORT)?);
        }
        config.gossip.listen = Some(admin);
        let desks = self.desks.iter().map(|desk| Introduction {
            grpc: desk.grpc,
            gossip: desk.grpc,
            issuer_key: desk.issuer_key.clone(),
        });
        desk::introduce(&mut config, &desks.collect::<Vec<_>>());
        let file = write(place, &name, &config)?;
        let process = Process::start("wcdn-node", &file, "edge serves").await?;
        let run = keep(&name, process, &self.processes, &self.shutdown);
        let (url, admin_url) = (format!("http://{edge}"), format!("http://{admin}"));
        Ok(EdgePart { name, region, url, admin_url, run })
    }

    /// What the rest stands on.
    pub fn ground(&self) -> &Cluster {
        &self.ground
    }

    /// The first control plane.
    ///
    /// # Panics
    /// When it was started without any.
    pub fn desk(&self) -> &DeskPart {
        self.desks.first().expect("a control plane")
    }

    /// Every control plane.
    pub fn desks(&self) -> &[DeskPart] {
        &self.desks
    }

    /// Every edge, region by region.
    pub fn edges(&self) -> &[EdgePart] {
        &self.edges
    }

    /// Drains every part that was started here and still runs, then stops the rest. Parts that were
    /// started again by hand are left alone.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.processes.close();
        self.processes.wait().await;
        self.ground.stop().await;
    }
}

/// Watches a process, and stops it in the end.
fn keep(
    name: &str,
    mut process: Process,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Run {
    let run = Run { pid: process.pid(), command: process.command().to_owned() };
    let (name, command, shutdown) = (name.to_owned(), run.command.clone(), shutdown.clone());
    tasks.spawn(async move {
        match shutdown.run_until_cancelled(process.ended()).await {
            Some(Ok(status)) => {
                println!("  {name} ended ({status}); start it again with\n    {command}")
            }
            Some(Err(error)) => tracing::warn!(name, %error, "cannot tell whether it runs"),
            None => process.stop().await,
        }
    });
    run
}

/// Two addresses: one at a documented port, one above it; or both anywhere.
fn pair(ports: Ports, documented: u16) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    Ok((beside(ports, documented)?, beside(ports, documented + 1)?))
}

/// An address at a documented port, or anywhere.
fn beside(ports: Ports, documented: u16) -> anyhow::Result<SocketAddr> {
    let port = match ports {
        Ports::Documented => documented,
        Ports::Any => ports::quiet()?,
    };
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Writes the configuration of a part, with whole paths: it may be started from anywhere.
fn write(place: &Path, name: &str, config: &impl Serialize) -> anyhow::Result<PathBuf> {
    let file = std::path::absolute(place.join(format!("{name}.toml")))?;
    let text = toml::to_string(config).context("a configuration that cannot be written")?;
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
