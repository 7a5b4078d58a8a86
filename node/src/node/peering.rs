//! How a node knows the others, reads through them, and answers them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::secret::Key;
use wcdn_gossip::driver::EdgePlane;

use crate::{
    config::Config,
    doors::Doors,
    edge::Edge,
    metrics::Metrics,
    peer::{
        Peers,
        attestation::Voucher,
        ring::RingNode,
        server::{Server, serve},
        tls,
        view::View,
    },
    secrets::Secrets,
};

/// What reading through peers takes, on both sides.
pub(super) struct Peering {
    pub(super) peers: Peers,
    voucher: Arc<Voucher>,
    tls: Arc<ServerConfig>,
}

/// What this node knows of the others at the start: itself.
pub(super) fn view(config: &Config, doors: &Doors) -> io::Result<View> {
    let gossip = match (config.gossip.advertise, &doors.gossip) {
        (Some(address), _) => address,
        (None, Some(socket)) => socket.local_addr()?,
        (None, None) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    };
    let peer = match (config.peer.advertise, &doors.peer) {
        (_, None) => None,
        (Some(address), Some(_)) => Some(address),
        (None, Some(listener)) => Some(listener.local_addr()?),
    };
    let me = RingNode { node: config.node.id.clone(), gossip, peer };
    Ok(View::new(config.node.region.clone(), me))
}

impl Peering {
    /// Prepares it, if this node is to be asked by others.
    pub(super) fn new(
        config: &Config,
        secrets: &Secrets,
        view: &View,
        metrics: &Metrics,
        work: &TaskTracker,
        cut: &CancellationToken,
    ) -> io::Result<Option<Self>> {
        let key = secrets.cluster_key.as_ref().filter(|_| view.me().peer.is_some());
        let Some(key) = key else { return Ok(None) };
        let also = secrets.previous_key.as_ref().map(Key::expose);
        let voucher = Arc::new(Voucher::new(key.expose(), also));
        let (client, tls) = tls::configs(key.expose(), also).map_err(io::Error::other)?;
        let peers = Peers::new(
            config,
            view.clone(),
            client,
            Arc::clone(&voucher),
            &metrics.peer,
            work.clone(),
            cut.clone(),
        );
        Ok(Some(Self { peers, voucher, tls }))
    }

    /// Answers peers until `refuse`.
    pub(super) fn serve(
        self,
        config: &Config,
        edge: &Edge,
        listener: TcpListener,
        connections: &TaskTracker,
        refuse: &CancellationToken,
        services: &TaskTracker,
    ) {
        let (cache, fills, metrics) = (&edge.cache, &edge.fills, &edge.metrics.peer);
        let server = Server::new(config, cache, fills, metrics, self.tls, self.voucher);
        let server = Arc::new(server);
        let tasks = (connections.clone(), edge.viewers.streams.clone());
        services.spawn(serve(server, listener, tasks, refuse.clone(), edge.cut.clone()));
    }
}

/// How often it is looked who is there, besides when that changes: who is not heard any more goes in
/// time.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps what is known of the others up to date, as long as the plane runs.
pub(super) async fn watch(plane: EdgePlane, view: View, peers: Option<Peers>) {
    let mut members = plane.watch_members();
    loop {
        let seen = members.borrow_and_update().clone();
        if view.see(&seen, Instant::now()) {
            peers.iter().for_each(Peers::look);
        }
        if matches!(timeout(LOOK, members.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}
