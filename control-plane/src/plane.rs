//! The event plane of this control plane: frames go out as they are committed, and what nodes confirm
//! comes back. Without it everything is as true, only later: nodes read the log, and report in their
//! sessions.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{
    driver::{IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, SigningKey},
    issuer_brain::Heard,
    membership::MembershipSettings,
    seal::ClusterKeys,
    seam::{Head, HeadError},
};
use wcdn_proto::Position;

use crate::{
    config::Config,
    store::Store,
    tracker::{Registered, Tracker},
};

/// The name of every cluster: clusters are told apart by their keys.
const CLUSTER: &str = "wcdn";

/// Commits that wait to be sent; nodes hear of those beyond it when they ask for the head.
const WAITING: usize = 256;

/// Between two looks at what nodes have confirmed. Receipts are late by so much at most, and many
/// confirmations are one look.
const COALESCE: Duration = Duration::from_millis(1);

/// Sends frames, if there is a plane. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Announcer(Option<mpsc::Sender<Vec<Frame>>>);

/// Frames on their way to the plane.
#[derive(Debug)]
pub(crate) struct Announcements(mpsc::Receiver<Vec<Frame>>);

/// A running plane.
#[derive(Debug)]
pub(crate) struct Plane(IssuerPlane);

/// What a plane is made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) socket: UdpSocket,
    pub(crate) keys: ClusterKeys,
    pub(crate) signing: Arc<SigningKey>,
    pub(crate) store: Store,
    pub(crate) announcements: Announcements,
}

struct StoredHead(Store);

impl Announcer {
    /// One, and where its frames go; or one that sends nothing.
    pub(crate) fn new(has_plane: bool) -> (Self, Option<Announcements>) {
        if !has_plane {
            return (Self(None), None);
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(Some(sender)), Some(Announcements(receiver)))
    }

    /// Sends frames, in the order of the log.
    pub(crate) fn announce(&self, frames: &[Frame]) {
        let Some(sender) = self.0.as_ref().filter(|_| !frames.is_empty()) else { return };
        if sender.try_send(frames.to_vec()).is_err() {
            tracing::warn!(frames = frames.len(), "frames not sent; nodes must ask for them");
        }
    }
}

impl Plane {
    /// Starts it on a bound socket.
    pub(crate) fn start(
        parts: Parts<'_>,
        registry: &mut Registry,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> std::io::Result<Self> {
        let Parts { config, socket, keys, signing, store, announcements } = parts;
        let advertise = advertised(config, socket.local_addr()?);
        let (node, region) = (config.gossip.node.clone(), config.gossip.region.clone());
        let mut membership = MembershipSettings::new(CLUSTER, node, region, advertise);
        membership.seeds.clone_from(&config.gossip.seeds);
        let plane = PlaneSettings { membership, keys };
        let mut settings = IssuerPlaneSettings::new(plane, signing);
        settings.window = config.receipts.lease.duration();
        let head = Arc::new(StoredHead(store));
        let (stop, running) = (shutdown.clone(), tasks.clone());
        let plane = IssuerPlane::start(settings, socket, head, registry, stop, running);
        let sending = send(plane.clone(), announcements);
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(sending));
        Ok(Self(plane))
    }

    /// Tells it what a node reports in its session.
    pub(crate) fn heard(&self, who: &Registered, applied: Position) {
        self.0.heard(Heard {
            node: who.node.clone(),
            incarnation: who.incarnation,
            region: who.region.clone(),
            is_strict: who.strict,
            applied,
        });
    }

    /// Tells the tracker what nodes have confirmed.
    pub(crate) fn confirm(&self, tracker: &Mutex<Tracker>) {
        let nodes = self.0.nodes();
        let (mut tracker, now) = (tracker.lock(), Instant::now());
        for node in nodes {
            let Some(ago) = node.heard_ago else { continue };
            let who = Registered::unnamed(node.node, node.region, node.is_strict);
            // What it claims beyond the log does not count; what it had before it forgot does not, either.
            let applied = node.applied.min(node.settled);
            tracker.confirmed(who, applied, now.checked_sub(ago).unwrap_or(now), now);
        }
    }

    /// Tells the tracker whenever there is something new.
    pub(crate) fn follow(
        &self,
        tracker: Arc<Mutex<Tracker>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (plane, mut changed) = (Self(self.0.clone()), self.0.changed());
        async move {
            while changed.changed().await.is_ok() {
                plane.confirm(&tracker);
                sleep(COALESCE).await;
            }
        }
    }
}

async fn send(plane: IssuerPlane, mut announcements: Announcements) {
    while let Some(frames) = announcements.0.recv().await {
        plane.publish(frames);
    }
}

/// Where others reach it: as it was told, else where it listens.
fn advertised(config: &Config, local: SocketAddr) -> SocketAddr {
    config.gossip.advertise.unwrap_or(local)
}

impl Head for StoredHead {
    async fn head(&self) -> Result<Position, HeadError> {
        self.0.head().await.map_err(|error| HeadError(Box::new(error)))
    }
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("socket", &self.socket).finish_non_exhaustive()
    }
}
