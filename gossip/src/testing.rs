//! A node's socket and what a stranger may send to it, for tests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chitchat::{ChitchatId, Serializable};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    metrics::{GossipMetrics, Rejected},
    seal::{ClusterKey, ClusterKeys, Opener, Rejection, Sealer},
    socket::{Inbound, Received, SealedSocket},
    transport::SealedTransport,
};

pub(crate) const CLUSTER: &str = "test";

/// A socket with its task.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) socket: Arc<SealedSocket>,
    pub(crate) metrics: Arc<GossipMetrics>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) _events: mpsc::Receiver<Received>,
    pub(crate) _stop: DropGuard,
}

pub(crate) fn keys(n: u8) -> ClusterKeys {
    ClusterKeys { current: ClusterKey::new([n; 32]), also: None }
}

impl Door {
    pub(crate) async fn open() -> (Self, SealedTransport) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let metrics = Arc::<GossipMetrics>::default();
        let sealer = Sealer::new(&keys(1).current, CLUSTER);
        let socket = Arc::new(SealedSocket::new(socket, sealer, metrics.clone()));
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let transport = SealedTransport::new(socket.clone(), tasks.clone());
        let (sender, events) = mpsc::channel(64);
        let inbound = Inbound {
            socket: socket.clone(),
            opener: Opener::new(&keys(1), CLUSTER),
            membership: transport.deliverer(),
            events: sender,
        };
        tasks.spawn(inbound.run(shutdown.clone()));
        let stop = shutdown.clone().drop_guard();
        (
            Self { address, socket, metrics, tasks, shutdown, _events: events, _stop: stop },
            transport,
        )
    }

    pub(crate) fn rejected(&self, reason: Rejection) -> u64 {
        self.metrics.rejected.get_or_create(&Rejected { reason: reason.name() }).get()
    }
}

/// Waits until it holds; `what` names it should it not.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A message of chitchat that writes a key into `node`'s state. With a version above the one it then
/// claims to be the latest, chitchat 0.13 panics.
pub(crate) fn forgery(node: &ChitchatId, version: u64, latest: Option<u64>) -> Vec<u8> {
    let mut operations = vec![0];
    node.serialize(&mut operations);
    0_u64.serialize(&mut operations);
    0_u64.serialize(&mut operations);
    operations.push(1);
    "forged".serialize(&mut operations);
    "value".serialize(&mut operations);
    version.serialize(&mut operations);
    operations.push(0);
    if let Some(latest) = latest {
        operations.push(2);
        latest.serialize(&mut operations);
    }
    let length = u16::try_from(operations.len()).unwrap().to_le_bytes();
    let header = [&45_139_u16.to_le_bytes()[..], &[0, 2]].concat();
    [&header[..], &[2], &length, &operations, &[0]].concat()
}

/// A message of chitchat that tells of `node`, about which nothing is known yet.
pub(crate) fn introduction(node: &ChitchatId) -> Vec<u8> {
    let mut message = 45_139_u16.to_le_bytes().to_vec();
    message.extend([0, 0]);
    1_u16.serialize(&mut message);
    node.serialize(&mut message);
    for number in [1_u64, 0, 0] {
        number.serialize(&mut message);
    }
    CLUSTER.serialize(&mut message);
    message
}
