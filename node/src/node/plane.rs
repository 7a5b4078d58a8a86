//! The event plane of a node: events come by datagram, and how far the log is known is told to those
//! who serve.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::secret::Key;
use wcdn_gossip::{
    driver::{EdgePlane, EdgePlaneSettings, PlaneSettings},
    membership::{CLUSTER, MembershipSettings},
    seal::{ClusterKey, ClusterKeys},
};

use super::follow::Following;
use crate::{
    config::Config,
    events::{Log, positions::since_boot},
    peer::notes::MAX_TO_READ,
    secrets::Secrets,
};

/// How often the lease is looked at: it is renewed each second.
const LOOK: Duration = Duration::from_millis(200);

/// Starts the plane; it runs until `shutdown`. With it, what other edges tell beside events.
pub(super) fn start(
    config: &Config,
    secrets: &Secrets,
    following: &Following,
    socket: UdpSocket,
    registry: &mut Registry,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Option<(EdgePlane, mpsc::Receiver<Bytes>)> {
    let (node, advertise) = (&config.node, following.view.me().gossip);
    let mut membership =
        MembershipSettings::new(CLUSTER, node.id.clone(), node.region.clone(), advertise);
    membership.peer = following.view.me().peer;
    membership.seeds.clone_from(&config.gossip.seeds);
    let key = secrets.cluster_key.as_ref()?;
    let seals = |key: &Key| ClusterKey::new(*key.expose());
    let also = secrets.previous_key.as_ref().map(seals);
    let keys = ClusterKeys { current: seals(key), also };
    let plane = PlaneSettings { membership, keys };
    let mut settings = EdgePlaneSettings::new(plane, config.gossip.keys(), following.incarnation);
    settings.is_strict = config.cluster.strict;
    settings.lease = config.cluster.lease.duration();
    settings.start = following.log.positions.applied();
    let (notes, heard) = mpsc::channel(MAX_TO_READ);
    settings.notes = Some(notes);
    let plane = EdgePlane::start(
        settings,
        socket,
        Arc::clone(&following.sink),
        Arc::clone(&following.catchup),
        registry,
        shutdown.clone(),
        tasks.clone(),
    );
    let _is_first = following.plane.set(plane.clone()).is_ok();
    let telling = tell(plane.clone(), Arc::clone(&following.log));
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(telling));
    Some((plane, heard))
}

/// Tells the node what the plane knows of the log, and the plane what sessions say.
async fn tell(plane: EdgePlane, log: Arc<Log>) {
    let (mut applied, mut head) = (plane.watch_applied(), log.positions.watch_head());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Ok(()) = applied.changed() => {}
            Ok(()) = head.changed() => plane.hint(*head.borrow_and_update()),
            _ = look.tick() => {}
        }
        log.positions.hear(plane.known());
        log.positions.advance(*applied.borrow_and_update());
        // Before the age is asked for, so that the time can only come out too early.
        let now = since_boot();
        if let Some(ago) = plane.confirmed_ago() {
            log.positions.confirm_at(now.saturating_sub(ago));
            // A head that was confirmed is one that was heard.
            log.positions.head(plane.applied());
        }
    }
}
