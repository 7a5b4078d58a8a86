//! A control plane of the next version, which knows events that these edges do not.

use std::{path::Path, sync::Arc};

use http::StatusCode;
use prometheus_client::registry::Registry;
use tokio::net::UdpSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::secret::Key;
use wcdn_gossip::{
    driver::{IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, SigningKey},
    membership::{CLUSTER, MembershipSettings},
    seal::{ClusterKey, ClusterKeys},
    seam::{Head, HeadError},
};
use wcdn_proto::{BlobId, Change, Position};
use wcdn_tests::{Fleet, bytes, client::Reply, eventually};

/// It goes on where the other one stopped: same place, same keys, same log.
struct Newer {
    plane: IssuerPlane,
    key: Arc<SigningKey>,
    log: Arc<Log>,
    end: CancellationToken,
}

/// Where its log ends.
struct Log(parking_lot::Mutex<Position>);

impl Head for Log {
    async fn head(&self) -> Result<Position, HeadError> {
        Ok(*self.0.lock())
    }
}

impl Newer {
    async fn start(data: &Path, gossip: std::net::SocketAddr, head: Position) -> Self {
        let read = |file: &str| *Key::read(&data.join(file)).unwrap().expose();
        let key = Arc::new(SigningKey::from_seed(&read("control-plane/signing.key")));
        let (node, region) = ("control-plane-1".parse().unwrap(), "local".parse().unwrap());
        let membership = MembershipSettings::new(CLUSTER, node, region, gossip);
        let keys = ClusterKeys { current: ClusterKey::new(read("cluster.key")), also: None };
        let settings = IssuerPlaneSettings::new(PlaneSettings { membership, keys }, key.clone());
        let (log, end) = (Arc::new(Log(head.into())), CancellationToken::new());
        let plane = IssuerPlane::start(
            settings,
            UdpSocket::bind(gossip).await.unwrap(),
            log.clone(),
            &mut Registry::default(),
            end.clone(),
            TaskTracker::new(),
        );
        Self { plane, key, log, end }
    }

    /// Commits a change that edges do not know.
    fn commit(&self, is_ignorable: bool) -> Position {
        let mut head = self.log.0.lock();
        head.seq += 1;
        let changes = vec![Change::Unknown { is_ignorable }];
        self.plane.publish(Frame::pack(&self.key, *head, 0, changes));
        *head
    }
}

impl Drop for Newer {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn get(fleet: &Fleet, edge: usize, id: &BlobId) -> Reply {
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply
}

async fn applied(fleet: &Fleet, at: Position) {
    for edge in 0..3 {
        eventually("the edge has gone on", || async {
            fleet.metric_of(edge, "wcdn_events_applied_seq", "").await == at.seq as f64
        })
        .await;
    }
}

#[tokio::test]
async fn an_event_of_a_newer_version_is_passed_over_or_taken_for_a_purge_of_everything() {
    let data = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.data = Some(data.path().to_owned());
    })
    .await;
    let operator = fleet.operator();
    operator.sees(3).await;
    let id = fleet.store(bytes(1, 10_000)).await;
    for edge in 0..3 {
        get(&fleet, edge, &id).await;
    }
    let head = operator.barrier().await.change.unwrap().last.unwrap();
    let gossip = fleet.cluster.desk().unwrap().gossip;
    fleet.cluster.stop_desk().await;
    let head = Position { epoch: head.epoch, seq: head.seq };
    let newer = Newer::start(data.path(), gossip, head).await;
    let fetched = fleet.fetches(&id).await;
    applied(&fleet, newer.commit(true)).await;
    for edge in 0..3 {
        assert_eq!(get(&fleet, edge, &id).await.header("x-source"), "memory");
    }
    applied(&fleet, newer.commit(false)).await;
    for edge in 0..3 {
        assert_eq!(get(&fleet, edge, &id).await.header("x-cache"), "MISS");
        assert_eq!(get(&fleet, edge, &id).await.header("x-source"), "memory", "and kept again");
    }
    assert_eq!(fleet.fetches(&id).await, fetched + 3);
}
