//! A control plane and its edges, as their users run them: programs, a store on disk, datagrams.

use std::{fs, net::UdpSocket, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use wcdn_dev::topology::REGIONS;
use wcdn_gossip::frame::SigningKey;

use crate::{
    body::{self, Body},
    edge::{Edge, Setup},
    origin::{self, Origin},
    process::{Process, free_port, sibling, wait_until},
    viewer::Viewer,
};

/// Of the control plane; this network lasts for seconds.
const SEED: [u8; 32] = [7; 32];
const API_KEY: &str = "bench-bench-bench-bench";

/// A blob that all edges hold, and nobody purges.
const HOT: usize = 10_240;

/// A running system.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) desk: Desk,
    /// One in each region. The first is on processor 0.
    pub(super) edges: Vec<Edge>,
    pub(super) origin: Origin,
    hot: Body,
    home: TempDir,
}

/// A running control plane.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) process: Process,
    /// Where operators call.
    pub(super) grpc: u16,
    gossip: u16,
}

impl Fleet {
    /// Starts it, and waits until every edge follows the log by datagrams and by its session.
    pub(super) fn start() -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        secret(&home.path().join("cluster.key"), &"5a".repeat(32))?;
        let hot = body::of(HOT);
        let (id, bytes) = (hot.id.to_string(), hot.bytes.clone());
        let origin = Origin::start(move |_, asked, stream| {
            origin::send(stream, (asked == id).then_some(&bytes))
        })?;
        let desk = Desk::start(home.path())?;
        let mut fleet = Self { desk, edges: Vec::new(), origin, hot, home };
        for (region, _) in REGIONS {
            let edge = fleet.edge(region)?;
            fleet.edges.push(edge);
        }
        for edge in &fleet.edges {
            let knows_all = || edge.metric("wcdn_gossip_members_live", "").ok() == Some(4.0);
            wait_until("every edge knows every member", knows_all)?;
        }
        fleet.warm()?;
        Ok(fleet)
    }

    fn edge(&self, region: &str) -> anyhow::Result<Edge> {
        let (home, gossip) = (self.home.path(), free_udp_port()?);
        let state = home.join(region);
        fs::create_dir(&state)?;
        let tables = format!(
            "[node]\nid = \"{region}-1\"\nregion = \"{region}\"\nstate_dir = \"{}\"\n\
             [cluster]\nkey_file = \"{}\"\n\
             [control]\nendpoints = [\"http://127.0.0.1:{}\"]\n\
             [gossip]\nlisten = \"127.0.0.1:{gossip}\"\nseeds = [\"127.0.0.1:{}\"]\n\
             issuer_keys = [\"{}\"]\n",
            state.display(),
            home.join("cluster.key").display(),
            self.desk.grpc,
            self.desk.gossip,
            SigningKey::from_seed(&SEED).public(),
        );
        let is_pinned = self.edges.is_empty();
        Edge::start(&Setup { origins: vec![self.origin.port], tables: &tables, is_pinned })
    }

    /// Has the hot blob in the first edge's memory.
    fn warm(&self) -> anyhow::Result<()> {
        let (port, path) = (self.edges[0].port, format!("/cdn/{}", self.hot.id));
        let mut viewer = Viewer::connect(port)?;
        viewer.get(&path)?;
        let again = viewer.get(&path)?;
        ensure!(again.header("x-cache") == "HIT", "the edge does not keep the hot blob");
        Ok(())
    }

    /// The hot blob, on the first edge.
    pub(super) fn hot_url(&self) -> String {
        format!("http://127.0.0.1:{}/cdn/{}", self.edges[0].port, self.hot.id)
    }
}

impl Desk {
    fn start(home: &Path) -> anyhow::Result<Self> {
        let (grpc, http, admin) = (free_port()?, free_port()?, free_port()?);
        let gossip = free_udp_port()?;
        let file = |name: &str| home.join(name).display().to_string();
        secret(&home.join("signing.key"), &hex(&SEED))?;
        secret(&home.join("api.key"), API_KEY)?;
        let text = format!(
            "[listen]\ngrpc = \"127.0.0.1:{grpc}\"\nhttp = \"127.0.0.1:{http}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             gossip = \"127.0.0.1:{gossip}\"\n[store]\npath = \"{}\"\n\
             [cluster]\nkey_file = \"{}\"\nsigning_key_file = \"{}\"\n\
             [keys]\nfixed_key_file = \"{}\"\n[limits]\ndrain_delay = \"0s\"\nkey_per_minute = 0\n",
            file("control-plane.db"),
            file("cluster.key"),
            file("signing.key"),
            file("api.key"),
        );
        let config = home.join("control-plane.toml");
        fs::write(&config, text)?;
        let mut command = Command::new(sibling("wcdn-control-plane")?);
        command.args(["--log", "error", "--config"]).arg(config);
        let desk = Self { process: Process::start(&mut command)?, grpc, gossip };
        wait_until("the control plane is ready", || Viewer::text(admin, "/readyz").is_ok())?;
        Ok(desk)
    }

    /// What calls need in `x-api-key`.
    pub(super) fn key(&self) -> &'static str {
        API_KEY
    }
}

/// A file that only its owner may read.
fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn free_udp_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}
