//! The control plane of the whole, and what its edges need to know of it.

use std::{
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
    /// Where the operator looks.
    pub admin: SocketAddr,
    /// Where edges send datagrams.
    pub gossip: SocketAddr,
    /// What calls need.
    pub key: String,
    shutdown: CancellationToken,
    plane: ControlPlane,
}

/// Where a control plane listens, and where it keeps what it knows.
#[derive(Debug)]
pub struct Place {
    /// gRPC.
    pub grpc: TcpListener,
    /// Probes and metrics.
    pub admin: TcpListener,
    /// Datagrams.
    pub gossip: UdpSocket,
    /// Where edges reach the latter.
    pub advertise: SocketAddr,
    /// The folder of its store and keys.
    pub home: PathBuf,
}

impl Desk {
    /// Starts it; `key` is the API key that is to be valid, else one is made and kept in the folder.
    ///
    /// # Errors
    /// When the folder cannot be written, or the store cannot be read.
    pub async fn start(
        place: Place,
        mut config: Config,
        cluster_key: &Path,
        key: Option<&str>,
    ) -> anyhow::Result<Self> {
        let key = furnish(&mut config, &place.home, cluster_key, key)?;
        config.gossip.advertise = Some(place.advertise);
        let (grpc, gossip) = (place.grpc.local_addr()?, place.advertise);
        let admin = place.admin.local_addr()?;
        let doors = Doors { grpc: place.grpc, admin: place.admin, gossip: Some(place.gossip) };
        let shutdown = CancellationToken::new();
        let plane = wcdn_control_plane::start(config, doors, shutdown.clone()).await?;
        Ok(Self { grpc, admin, gossip, key, shutdown, plane })
    }

    /// What an edge's configuration must say to follow it.
    pub fn introduce(&self, edge: &mut wcdn_node::Config) {
        introduce(edge, self.grpc, self.gossip, self.plane.issuer_key().to_string());
    }

    /// Drains and stops it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.plane.join().await;
    }
}

/// Says in an edge's configuration where its control plane is, unless it knows, and by which key that
/// signs.
pub(crate) fn introduce(
    edge: &mut wcdn_node::Config,
    grpc: SocketAddr,
    gossip: SocketAddr,
    issuer_key: String,
) {
    if edge.control.endpoints.is_empty() {
        edge.control.endpoints = vec![format!("http://{grpc}")];
    }
    edge.gossip.seeds = vec![gossip.to_string()];
    edge.gossip.issuer_keys = vec![issuer_key];
}

/// Makes the folder of a control plane, and says in its configuration what lies there. Returns the API
/// key that it will take.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn furnish(
    config: &mut Config,
    home: &Path,
    cluster_key: &Path,
    key: Option<&str>,
) -> anyhow::Result<String> {
    std::fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let key_file = home.join("api.key");
    let key = api_key(&key_file, key)?;
    config.store.path = home.join("control-plane.db");
    config.cluster.key_file = cluster_key.to_owned();
    config.cluster.signing_key_file = home.join("signing.key");
    config.keys.fixed_key_file = Some(key_file);
    config.limits.drain_delay = Span::secs(0);
    Ok(key)
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
