//! How a node knows the others, reads through them, and answers them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::secret::Key;
use wcdn_gossip::driver::EdgePlane;

use crate::{
    config::Config,
    doors::Doors,
    edge::Edge,
    events::Log,
    metrics::Metrics,
    peer::{
        Peers,
        attestation::Voucher,
        notes::{Notes, ToTell},
        ring::RingNode,
        server::{Server, serve},
        tls,
        view::View,
    },
    secrets::Secrets,
};

/// What nodes do for each other, as far as this one takes part.
#[derive(Default)]
pub(super) struct Peering {
    pub(super) peers: Option<Peers>,
    pub(super) notes: Option<Notes>,
    to_tell: Option<ToTell>,
    answering: Option<(Arc<ServerConfig>, Arc<Voucher>)>,
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
    /// Prepares it: nodes tell each other what they checked if they have a key in common, and read
    /// through each other if they are to be asked as well.
    pub(super) fn new(
        config: &Config,
        secrets: &Secrets,
        view: &View,
        log: &Arc<Log>,
        metrics: &Metrics,
        work: &TaskTracker,
        cut: &CancellationToken,
    ) -> io::Result<Self> {
        let Some(key) = secrets.cluster_key.as_ref().filter(|_| config.gossip.listen.is_some())
        else {
            return Ok(Self::default());
        };
        let also = secrets.previous_key.as_ref().map(Key::expose);
        let voucher = Arc::new(Voucher::new(key.expose(), also));
        let counted = Arc::clone(&metrics.peer);
        let (notes, to_tell) = Notes::new(Arc::clone(&voucher), Arc::clone(log), counted);
        let mut peering = Self { notes: Some(notes), to_tell: Some(to_tell), ..Self::default() };
        if view.me().peer.is_some() {
            let (client, tls) = tls::configs(key.expose(), also).map_err(io::Error::other)?;
            peering.peers = Some(Peers::new(
                config,
                view.clone(),
                client,
                Arc::clone(&voucher),
                &metrics.peer,
                work.clone(),
                cut.clone(),
            ));
            peering.answering = Some((tls, voucher));
        }
        Ok(peering)
    }

    /// Knows of the others, tells them, and hears what they tell, as long as the plane runs.
    pub(super) fn follow(
        &mut self,
        (plane, heard): (EdgePlane, mpsc::Receiver<Bytes>),
        view: &View,
        log: &Arc<Log>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        if let (Some(notes), Some(to_tell)) = (&self.notes, self.to_tell.take()) {
            let listening = notes.clone().listen(heard);
            let spreading = notes.clone().spread(to_tell, plane.clone(), view.clone());
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(listening));
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(spreading));
        }
        let watching = watch(plane, view.clone(), self.peers.clone(), Arc::clone(log));
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(watching));
    }

    /// Answers peers until `refuse`, if they may ask.
    pub(super) fn serve(
        self,
        config: &Config,
        edge: &Edge,
        listener: Option<TcpListener>,
        connections: &TaskTracker,
        refuse: &CancellationToken,
        services: &TaskTracker,
    ) {
        let (Some(listener), Some((tls, voucher))) = (listener, self.answering) else { return };
        let (cache, fills, metrics) = (&edge.cache, &edge.fills, &edge.metrics.peer);
        let server = Arc::new(Server::new(config, cache, fills, metrics, tls, voucher));
        let tasks = (connections.clone(), edge.viewers.streams.clone());
        services.spawn(serve(server, listener, tasks, refuse.clone(), edge.cut.clone()));
    }
}

/// How often it is looked who is there, besides when that changes: who is not heard any more goes in
/// time.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps what is known of the others up to date, as long as the plane runs.
async fn watch(plane: EdgePlane, view: View, peers: Option<Peers>, log: Arc<Log>) {
    let mut members = plane.watch_members();
    loop {
        let seen = members.borrow_and_update().clone();
        if view.see(&seen, Instant::now()) {
            peers.iter().for_each(Peers::look);
            // Pins may belong to others now.
            log.pins.doubt_all();
        }
        if matches!(timeout(LOOK, members.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}
