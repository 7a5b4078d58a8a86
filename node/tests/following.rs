//! A node that follows a control plane: what it is told becomes true, for every viewer and through
//! every restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "helpers of tests are tests"
)]

#[path = "following/blocks.rs"]
mod blocks;
#[path = "following/control_plane.rs"]
mod control_plane;
#[path = "following/control_planes.rs"]
mod control_planes;
#[path = "following/origin.rs"]
mod origin;
#[path = "following/restarts.rs"]
mod restarts;
#[path = "following/sessions.rs"]
mod sessions;
#[path = "following/viewer.rs"]
mod viewer;

use std::{fs, future::Future, net::SocketAddr, os::unix::fs::PermissionsExt as _, sync::Arc};

use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::seam::{Catchup as _, Sink as _};
use wcdn_node::{Config, Doors, Node, config::OriginSpec};
use wcdn_proto::{BlobId, Change, ContentId, Events, Position, Purge, Span};

use self::{control_plane::ControlPlane, origin::Origin, viewer::DEADLINE};

const CLUSTER_KEY: [u8; 32] = [0x5a; 32];

/// Everything around a node.
struct Scene {
    home: TempDir,
    origin: Origin,
    control_plane: ControlPlane,
}

/// A running node.
struct Running {
    node: Node,
    shutdown: CancellationToken,
}

impl Scene {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("cluster.key");
        fs::write(&key, "5a".repeat(32)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let control_plane = ControlPlane::start(&CLUSTER_KEY).await;
        control_plane.said(|said| said.head = (1, 10));
        Self { home, origin: Origin::start().await, control_plane }
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        (config.listen.edge, config.listen.admin) = (any(), any());
        config.walrus.n_shards = origin::encoding().n_shards();
        let (name, url) = ("o".parse().unwrap(), self.origin.url.parse().unwrap());
        config.origins = vec![OriginSpec { trusted: true, ..OriginSpec::new(name, url) }];
        config.cluster.key_file = Some(self.home.path().join("cluster.key"));
        config.control.endpoints = vec![self.control_plane.url.clone()];
        config.gossip.listen = Some(any());
        config.gossip.issuer_keys = vec!["00".repeat(32)];
        config.control.start_grace = Span::secs(3600);
        config.node.state_dir = Some(self.home.path().join("state"));
        config.limits.drain_delay = Span::secs(0);
        config
    }

    fn start(&self, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = self.config();
        change(&mut config);
        // The tests do what the event plane does.
        let doors = Doors { gossip: None, ..Doors::bind(&config).unwrap() };
        let shutdown = CancellationToken::new();
        let node = wcdn_node::start(config, doors, shutdown.clone()).unwrap();
        let following = node.following().unwrap();
        let (catchup, log) = (Arc::clone(&following.catchup), Arc::clone(&following.log));
        let reading = async move {
            while !log.has_begun() && catchup.catch_up(Position::ORIGIN).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        TaskTracker::new().spawn(shutdown.clone().run_until_cancelled_owned(reading));
        Running { node, shutdown }
    }

    /// A node that has its first snapshot.
    async fn ready(&self) -> Running {
        let running = self.start(|_| {});
        running.is_ready().await;
        running
    }
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

impl Running {
    fn edge(&self) -> SocketAddr {
        self.node.edge_addr()
    }

    async fn is_ready(&self) {
        eventually("the node is ready", || async {
            viewer::get(self.node.admin_addr(), "/readyz").await.status == 200
        })
        .await;
    }

    /// What the metric without further labels says.
    async fn metric(&self, name: &str) -> String {
        let page = viewer::get(self.node.admin_addr(), "/metrics").await.body;
        let page = String::from_utf8(page).unwrap();
        let line = page.lines().find(|line| line.starts_with(&format!("wcdn_{name}{{")));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or("none").to_owned()
    }

    /// How many sessions it has.
    async fn sessions(&self) -> u64 {
        let page = viewer::get(self.node.admin_addr(), "/metrics").await.body;
        let page = String::from_utf8(page).unwrap();
        let lines = page.lines().filter(|line| line.starts_with("wcdn_events_session{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// As the event plane does.
    async fn apply(&self, seq: u64, change: Change) {
        let first = Position { epoch: 1, seq };
        let events = Events { first, committed_at_ms: 0, changes: vec![change] };
        let following = self.node.following().unwrap();
        following.sink.apply(&events);
        following.sink.keep().await;
        following.log.positions.advance(first);
    }

    async fn purge(&self, seq: u64, id: BlobId) {
        self.apply(seq, Change::Purge(Purge::Ids(vec![id]))).await;
    }

    async fn block(&self, seq: u64, id: ContentId) {
        self.apply(seq, Change::Block(vec![id])).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.node.join().await;
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
