//! A control plane of the whole, and what its edges need to know of it.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use wcdn_control_plane::{ApiKey, Config, ControlPlane, Doors};
use wcdn_proto::Span;

/// A running control plane.
#[derive(Debug)]
pub struct Desk {
    /// Where operators and edges are served.
    pub grpc: SocketAddr,
    /// Where the REST API is.
    pub http: SocketAddr,
    /// Where the operator looks.
    pub admin: SocketAddr,
    /// Where edges send datagrams.
    pub gossip: SocketAddr,
    /// What calls need.
    pub key: String,
    shutdown: CancellationToken,
    plane: ControlPlane,
}

/// Where a control plane listens.
#[derive(Debug)]
pub struct Place {
    /// gRPC.
    pub grpc: TcpListener,
    /// REST.
    pub http: TcpListener,
    /// Probes and metrics.
    pub admin: TcpListener,
    /// Datagrams.
    pub gossip: UdpSocket,
    /// Where edges reach the latter.
    pub advertise: SocketAddr,
}

/// What makes a control plane one of a system's.
#[derive(Debug)]
pub(crate) struct Role {
    /// Its folder.
    pub(crate) home: PathBuf,
    /// That of the first one, with the secrets that all share.
    pub(crate) first: PathBuf,
    pub(crate) cluster_key: PathBuf,
    /// The API key that is to be valid; one is made and kept if not given.
    pub(crate) key: Option<String>,
}

/// What an edge needs to know of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub(crate) grpc: SocketAddr,
    pub(crate) gossip: SocketAddr,
    pub(crate) issuer_key: String,
}

impl Desk {
    /// Starts it; `key` is the API key that its configuration makes valid.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(place: Place, mut config: Config, key: String) -> anyhow::Result<Self> {
        config.gossip.advertise = Some(place.advertise);
        let (grpc, gossip) = (place.grpc.local_addr()?, place.advertise);
        let (http, admin) = (place.http.local_addr()?, place.admin.local_addr()?);
        let Place { grpc: calls, http: rest, admin: probes, gossip: socket, .. } = place;
        let doors = Doors { grpc: calls, http: rest, admin: probes, gossip: Some(socket) };
        let shutdown = CancellationToken::new();
        let plane = wcdn_control_plane::start(config, doors, shutdown.clone()).await?;
        Ok(Self { grpc, http, admin, gossip, key, shutdown, plane })
    }

    /// What an edge's configuration must say to follow it, and no other.
    pub fn introduce(&self, edge: &mut wcdn_node::Config) {
        introduce(edge, &[self.introduction()]);
    }

    pub(crate) fn introduction(&self) -> Introduction {
        let issuer_key = self.plane.issuer_key().to_string();
        Introduction { grpc: self.grpc, gossip: self.gossip, issuer_key }
    }

    /// Drains and stops it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.plane.join().await;
    }
}

/// Says in an edge's configuration where its control planes are, unless it knows, and by which keys they
/// sign.
pub(crate) fn introduce(edge: &mut wcdn_node::Config, desks: &[Introduction]) {
    if desks.is_empty() {
        return;
    }
    if edge.control.endpoints.is_empty() {
        edge.control.endpoints = desks.iter().map(|desk| format!("http://{}", desk.grpc)).collect();
    }
    edge.gossip.seeds = desks.iter().map(|desk| desk.gossip.to_string()).collect();
    let keys: BTreeSet<_> = desks.iter().map(|desk| desk.issuer_key.clone()).collect();
    edge.gossip.issuer_keys = keys.into_iter().collect();
}

impl Role {
    /// Makes the folder of a control plane, and says in its configuration what lies there, and what lies
    /// with the first one. Returns the API key that it will take.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn furnish(&self, config: &mut Config) -> anyhow::Result<String> {
        for folder in [&self.home, &self.first] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let key_file = self.first.join("api.key");
        let key = api_key(&key_file, self.key.as_deref())?;
        config.store.path = self.home.join("control-plane.db");
        config.cluster.key_file.clone_from(&self.cluster_key);
        config.cluster.signing_key_file = self.first.join("signing.key");
        config.keys.fixed_key_file = Some(key_file);
        config.limits.drain_delay = Span::secs(0);
        Ok(key)
    }
}

/// The key that is given, or the one that the folder has, or a new one.
fn api_key(file: &Path, given: Option<&str>) -> anyhow::Result<String> {
    let key = match (given, std::fs::read_to_string(file)) {
        (Some(given), _) => given.to_owned(),
        (None, Ok(kept)) => return Ok(kept.trim().to_owned()),
        (None, Err(_)) => ApiKey::generate().expose().to_owned(),
    };
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(key.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(key)
}
