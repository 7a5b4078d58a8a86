//! The event plane of this control plane: frames go out as they are committed, and what nodes confirm
//! comes back. Without it everything is as true, only later: nodes read the log, and report in their
//! sessions.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{
    driver::{IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, IssuerKeys, SigningKey},
    issuer_brain::Heard,
    membership::{CLUSTER, MembershipSettings},
    seal::ClusterKeys,
    seam::{Head, HeadError},
};
use wcdn_proto::Position;

use crate::{
    config::Config,
    store::Store,
    tracker::{Registered, Tracker},
};

/// Between two looks at what nodes have confirmed. Receipts are late by so much at most, and many
/// confirmations are one look.
const COALESCE: Duration = Duration::from_millis(1);

/// A running plane. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Plane(IssuerPlane);

/// What a plane is made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) socket: UdpSocket,
    pub(crate) keys: ClusterKeys,
    pub(crate) signing: Arc<SigningKey>,
    /// Of all control planes.
    pub(crate) issuers: IssuerKeys,
    pub(crate) store: Store,
}

struct StoredHead(Store);

impl Plane {
    /// Starts it on a bound socket.
    pub(crate) fn start(
        parts: Parts<'_>,
        registry: &mut Registry,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> std::io::Result<Self> {
        let Parts { config, socket, keys, signing, issuers, store } = parts;
        let advertise = advertised(config, socket.local_addr()?);
        let (node, region) = (config.gossip.node.clone(), config.gossip.region.clone());
        let mut membership = MembershipSettings::new(CLUSTER, node, region, advertise);
        membership.seeds.clone_from(&config.gossip.seeds);
        let plane = PlaneSettings { membership, keys };
        let mut settings = IssuerPlaneSettings::new(plane, signing);
        settings.issuer_keys = issuers;
        let head = Arc::new(StoredHead(store));
        let (stop, running) = (shutdown.clone(), tasks.clone());
        let plane = IssuerPlane::start(settings, socket, head, registry, stop, running);
        Ok(Self(plane))
    }

    /// Sends frames, in the order of the log.
    pub(crate) fn push(&self, frames: &[Frame]) {
        self.0.publish(frames.to_vec());
    }

    /// Learns of frames that others have committed and send: it sends those that nodes then ask for.
    pub(crate) fn learn(&self, frames: &[Frame]) {
        self.0.learn(frames.to_vec());
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
            let who = Registered::unnamed(node.node, node.region, node.is_strict, node.lease);
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
