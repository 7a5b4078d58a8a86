//! What both kinds of plane have in common: the socket, who reads it, and membership.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error};
use wcdn_proto::Position;

use super::{PlaneSettings, clock};
use crate::{
    member::Role,
    membership::{Members, Membership},
    message::{MAX_MESSAGE, Message},
    metrics::{GossipMetrics, Plane},
    positions::Positions,
    seal::{MAX_PAYLOAD, Opener, Rejection, Sealer},
    socket::{Inbound, Received, SealedSocket},
    time::Time,
    transport::SealedTransport,
};

/// Messages that wait for the driver: 10 MB at most. An issuer that sends to 1,000 nodes for 100 ms
/// hears as many acks meanwhile.
const MAX_WAITING: usize = 8_192;

/// Messages given to the brain before timers and members get a turn.
pub(super) const BATCH: usize = 64;

const _: () = assert!(MAX_MESSAGE <= MAX_PAYLOAD, "a message fits a sealed datagram");

/// What a driver holds of the rest.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) socket: Arc<SealedSocket>,
    pub(super) events: mpsc::Receiver<Received>,
    pub(super) members: watch::Receiver<Members>,
    pub(super) head_hint: watch::Receiver<Position>,
    pub(super) metrics: Arc<GossipMetrics>,
}

/// Says that the plane runs, as long as it is held: also a panic of its holder ends that.
#[derive(Debug)]
pub(super) struct Up {
    metrics: Arc<GossipMetrics>,
    shutdown: CancellationToken,
}

impl Up {
    pub(super) fn new(metrics: Arc<GossipMetrics>, shutdown: CancellationToken) -> Self {
        metrics.plane_up.set(1);
        Self { metrics, shutdown }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.metrics.plane_up.set(0);
        if !self.shutdown.is_cancelled() {
            error!("event plane ended, this process must be started anew");
        }
    }
}

impl Wiring {
    /// Starts reading the socket, and membership.
    pub(super) fn start(
        settings: &PlaneSettings,
        role: Role,
        socket: UdpSocket,
        positions: Arc<Positions>,
        metrics: Arc<GossipMetrics>,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let PlaneSettings { membership, keys } = settings;
        let sealer = Sealer::new(&keys.current, &membership.cluster);
        let socket = Arc::new(SealedSocket::new(socket, sealer, metrics.clone()));
        let transport = SealedTransport::new(socket.clone(), tasks.clone());
        let (events_in, events) = mpsc::channel(MAX_WAITING);
        let inbound = Inbound {
            socket: socket.clone(),
            opener: Opener::new(keys, &membership.cluster),
            membership: transport.deliverer(),
            events: events_in,
        };
        let (members_in, members) = watch::channel(Members::from([]));
        let (hint_in, head_hint) = watch::channel(Position::ORIGIN);
        let membership = Membership {
            settings: membership.clone(),
            role,
            transport,
            positions,
            members: members_in,
            head_hint: hint_in,
            metrics: metrics.clone(),
        };
        tasks.spawn(inbound.run(shutdown.child_token()));
        tasks.spawn(membership.run(shutdown.child_token()));
        Self { socket, events, members, head_hint, metrics }
    }

    /// What a datagram holds, unless it is malformed.
    pub(super) fn decode(&self, received: Received) -> Option<(SocketAddr, Message)> {
        let from = received.from;
        Message::decode(received.payload)
            .inspect_err(|error| {
                debug!(%from, %error, "malformed message");
                self.metrics.reject(Rejection::Malformed);
            })
            .ok()
            .map(|message| (from, message))
    }

    /// Sends a message of the event plane.
    pub(super) async fn send(&self, to: SocketAddr, message: &Message) {
        self.socket.send(Plane::Event, &message.encode(), to).await;
    }
}

/// Waits until the brain wants to be woken.
pub(super) async fn until(deadline: Option<Time>) {
    /// A machine that slept is awake for as long as this before its timers notice.
    const LONGEST: Duration = Duration::from_secs(1);
    let wait = deadline.map_or(LONGEST, |at| at.saturating_sub(clock::now()));
    sleep(wait.min(LONGEST)).await;
}
