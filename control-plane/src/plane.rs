//! The event plane of a control plane: frames go out by datagram, and what edges confirm by datagram
//! reaches the tracker.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{
    driver::{IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::SigningKey,
    issuer_brain::NodeStatus,
    membership::MembershipSettings,
    seal::ClusterKeys,
    seam::{Head, HeadError},
};
use wcdn_proto::{Position, Region};

use crate::{
    config::Gossip,
    store::Store,
    tracker::{Overheard, Tracker},
};

/// How long nodes are not looked at, if none of them confirms anything new: idle ones confirm the
/// head each second, and a lease is seconds.
const LOOK: Duration = Duration::from_millis(500);

/// Control planes stand in no region of the edges.
const REGION: &str = "control";

/// The name of the cluster in datagrams; what keeps clusters apart is their key.
const CLUSTER: &str = "wcdn";

/// What a plane is made of.
pub(crate) struct Means<'a> {
    pub(crate) gossip: &'a Gossip,
    pub(crate) socket: UdpSocket,
    pub(crate) keys: ClusterKeys,
    pub(crate) signing: Arc<SigningKey>,
    pub(crate) lease: Duration,
    pub(crate) store: Store,
}

/// Where the log ends, for edges that ask.
struct Ends(Store);

impl Head for Ends {
    async fn head(&self) -> Result<Position, HeadError> {
        self.0.head().await.map_err(|error| HeadError(Box::new(error)))
    }
}

/// Starts the plane; it runs until `shutdown`.
///
/// # Panics
/// Never: the name of the region is one.
pub(crate) fn start(
    means: Means<'_>,
    registry: &mut Registry,
    shutdown: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<IssuerPlane> {
    let bound = means.socket.local_addr()?;
    let advertise = means.gossip.advertise.unwrap_or(reachable(bound));
    let region: Region = REGION.parse().expect("it is a name");
    let mut membership =
        MembershipSettings::new(CLUSTER, means.gossip.name.clone(), region, advertise);
    membership.seeds.clone_from(&means.gossip.seeds);
    let plane = PlaneSettings { membership, keys: means.keys };
    let mut settings = IssuerPlaneSettings::new(plane, means.signing);
    settings.window = means.lease;
    let ends = Arc::new(Ends(means.store));
    Ok(IssuerPlane::start(settings, means.socket, ends, registry, shutdown, tasks.clone()))
}

/// Where others reach a socket that is bound to every address: on this machine, at least.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { ([127, 0, 0, 1], bound.port()).into() } else { bound }
}

/// Tells the tracker what edges confirm by datagram, until `shutdown`.
pub(crate) async fn follow(
    plane: IssuerPlane,
    tracker: Arc<Mutex<Tracker>>,
    shutdown: CancellationToken,
) {
    let mut changed = plane.changed();
    let round = async {
        loop {
            // Late or changed, they are looked at alike.
            if let Ok(Err(_)) = timeout(LOOK, changed.changed()).await {
                return;
            }
            let (nodes, now) = (plane.nodes(), Instant::now());
            let mut tracker = tracker.lock();
            for node in nodes {
                tracker.overheard(overheard(node, now), now);
            }
        }
    };
    shutdown.run_until_cancelled(round).await;
}

fn overheard(status: NodeStatus, now: Instant) -> Overheard {
    let NodeStatus { node, region, is_strict, applied, heard_ago, .. } = status;
    let at = heard_ago.and_then(|ago| now.checked_sub(ago));
    Overheard { node, region, strict: is_strict, applied, at }
}
