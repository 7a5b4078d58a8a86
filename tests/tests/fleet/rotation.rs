//! The key of a cluster is changed while it serves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use http::StatusCode;
use tempfile::TempDir;
use wcdn_proto::{BlobId, Span};
use wcdn_tests::{Fleet, bytes, eventually, operator::Operator, redis::Redis};

/// Three edges before one Redis, and a control plane.
struct Rotation {
    fleet: Fleet,
    operator: Operator,
    redis: Redis,
    /// The key in use, and the other one, as every configuration names them.
    key: PathBuf,
    other: PathBuf,
    /// Blobs so far.
    blobs: u64,
    _data: TempDir,
}

const EDGES: usize = 3;

fn write_key(path: &Path, digits: &str) {
    fs::write(path, digits).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Rotation {
    async fn start() -> Self {
        let (data, redis) = (tempfile::tempdir().unwrap(), Redis::start().await);
        let fleet = Fleet::with(|topology| {
            topology.control_plane = true;
            topology.data = Some(data.path().to_owned());
            topology.edge.redis.urls = vec![redis.url()];
            topology.edge.redis.timeout = Span::secs(2);
        })
        .await;
        let (key, other) = (data.path().join("cluster.key"), data.path().join("other.key"));
        let operator = fleet.operator();
        Self { fleet, operator, redis, key, other, blobs: 0, _data: data }
    }

    async fn fresh(&mut self) -> BlobId {
        self.blobs += 1;
        self.fleet.store(bytes(self.blobs, 30_000)).await
    }

    /// Where an edge has a blob from.
    async fn source(&self, edge: usize, id: &BlobId) -> String {
        let reply = self.fleet.client.get(&self.fleet.edge(edge, &format!("/cdn/{id}"))).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.header("x-source").to_owned()
    }

    /// A purge is confirmed by all, what one node vouches for all believe, and nobody is sent what it
    /// cannot open.
    async fn works(&mut self, step: &str) {
        self.operator.sees(EDGES).await;
        let purged = self.fresh().await;
        for edge in 0..EDGES {
            self.source(edge, &purged).await;
        }
        let fetches = self.fleet.fetches(&purged).await;
        let receipt = self.operator.purge(&[purged]).await;
        assert_eq!(receipt.nodes.len(), EDGES, "{step}: {receipt:?}");
        self.source(0, &purged).await;
        assert_eq!(self.fleet.fetches(&purged).await, fetches + 1, "{step}: it is fetched anew");
        for writer in 0..EDGES {
            let id = self.fresh().await;
            assert_eq!(self.source(writer, &id).await, "walrus", "{step}");
            eventually("it is written", || self.redis.has(&id)).await;
            for reader in (0..EDGES).filter(|reader| *reader != writer) {
                let source = self.source(reader, &id).await;
                assert_eq!(source, "redis", "{step}: {reader} believes {writer}");
            }
        }
        for edge in 0..EDGES {
            let unopened = "reason=\"key\"";
            let rejected = self.fleet.metric_of(edge, "wcdn_gossip_rejected_total", unopened).await;
            assert!(rejected.abs() < f64::EPSILON, "{step}: {edge} was sent what it cannot open");
        }
    }

    /// Starts everything anew, one after the other, the control plane at `turn`.
    async fn round(&mut self, name: &str, turn: usize, previous: Option<&Path>) {
        let previous = previous.map(Path::to_owned);
        for edge in 0..EDGES {
            if edge == turn {
                let previous = previous.clone();
                self.fleet.cluster.reconfigure_desk(|desk| {
                    desk.cluster.previous_key_file = previous;
                });
                self.fleet.stop_desk().await;
                self.fleet.start_desk().await;
                self.operator = self.fleet.operator();
                self.works(&format!("{name}: the control plane")).await;
            }
            let previous = previous.clone();
            let restarting = self.fleet.cluster.restart_edge(edge, |config| {
                config.cluster.previous_key_file = previous;
            });
            restarting.await.unwrap();
            self.works(&format!("{name}: edge {edge}")).await;
        }
    }
}

#[tokio::test]
async fn the_clusters_key_is_changed_node_by_node_and_every_purge_completes() {
    let mut rotation = Rotation::start().await;
    rotation.works("before").await;
    let (key, other) = (rotation.key.clone(), rotation.other.clone());
    let (old, new) = (fs::read_to_string(&key).unwrap(), "a5".repeat(32));
    assert_ne!(old.trim(), new);
    write_key(&other, &new);
    rotation.round("all accept the new one", 1, Some(&other)).await;
    write_key(&key, &new);
    write_key(&other, &old);
    rotation.round("all use the new one", 0, Some(&other)).await;
    let kept = rotation.fresh().await;
    rotation.source(0, &kept).await;
    eventually("it is written", || rotation.redis.has(&kept)).await;
    fs::remove_file(&other).unwrap();
    rotation.round("all forget the old one", 2, None).await;
    assert_eq!(rotation.source(1, &kept).await, "redis", "it was vouched for by the new one");
}
