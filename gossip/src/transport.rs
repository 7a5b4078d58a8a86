//! chitchat's messages over the sealed socket.
//!
//! chitchat keeps its serialisers to itself: only its own UDP socket turns messages into bytes. So
//! it gets one, bound to loopback, and each remote peer gets a loopback socket of ours, connected
//! to chitchat's, whose port names the peer:
//!
//! ```text
//!  chitchat ── its socket ──127.0.0.1── socket of peer A ── pump ──┐
//!                    └──────127.0.0.1── socket of peer B ── pump ──┴── sealed socket ── network
//! ```
//!
//! What chitchat sends to a peer goes to that peer's socket; its pump cuts the bytes into pieces
//! ([`pieces`]) and sends them sealed. What arrives sealed is put together and sent from the peer's
//! socket to chitchat's; the port it comes from says who sent it. So no order of packets is assumed
//! and nothing is held across an await: each direction is one datagram and one look into a table,
//! which is what makes [`Socket::recv`] cancel-safe.
//!
//! The kernel gives our sockets only what chitchat sends, as they are connected. chitchat's is not;
//! what other programs of this host send to it is decoded and then dropped, for its port is none of
//! ours.

pub(crate) mod peers;
pub(crate) mod pieces;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use chitchat::{
    ChitchatEnvelope, ChitchatMessage,
    transport::{RecvOutcome, SendOutcome, Socket, Transport, UdpSocket},
};
use tokio::time::Instant;
use tokio_util::{sync::DropGuard, task::TaskTracker};

use self::{peers::Peers, pieces::Reassembly};
use crate::{
    bucket::Bucket,
    seal::{BootId, Rejection},
    socket::SealedSocket,
};

/// Peers that have a socket at a time: above the 300 nodes that one cluster is meant for, and few
/// enough for a process that may open 1,024 files.
const MAX_PEERS: usize = 512;

/// Opens what chitchat takes for a UDP socket.
#[derive(Debug)]
pub(crate) struct SealedTransport {
    socket: Arc<SealedSocket>,
    tasks: TaskTracker,
    /// Of the chitchat that runs; replaced when it is started anew.
    current: Arc<ArcSwapOption<Peers>>,
}

/// Hands chitchat what arrived for it.
#[derive(Debug)]
pub(crate) struct Deliverer {
    pieces: Reassembly,
    /// Messages of peers that only came to us: chitchat's answer to one may be 64 kB long, and go to
    /// an address that is forged. 50 a second let a whole cluster in that starts at once.
    strangers: Bucket,
    since: Instant,
    current: Arc<ArcSwapOption<Peers>>,
}

/// What chitchat takes for a UDP socket.
struct Loopback {
    inner: UdpSocket,
    local: SocketAddr,
    peers: Arc<Peers>,
    /// Ends the pumps with chitchat.
    _pumps: DropGuard,
}

impl SealedTransport {
    /// Over `socket`; pumps run on `tasks`.
    pub(crate) fn new(socket: Arc<SealedSocket>, tasks: TaskTracker) -> Self {
        Self { socket, tasks, current: Arc::default() }
    }

    /// What arrives is given to this.
    pub(crate) fn deliverer(&self) -> Deliverer {
        Deliverer {
            pieces: Reassembly::default(),
            strangers: Bucket::new(50, 128),
            since: Instant::now(),
            current: self.current.clone(),
        }
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let inner = UdpSocket::open((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let (address, socket) = (inner.local_addr()?, self.socket.clone());
        let peers = Peers::new(address, MAX_PEERS, socket, self.tasks.clone());
        let pumps = peers.stop().drop_guard();
        let peers = Arc::new(peers);
        self.current.store(Some(peers.clone()));
        let local = self.socket.local_addr()?;
        Ok(Box::new(Loopback { inner, local, peers, _pumps: pumps }))
    }
}

#[async_trait]
impl Socket for Loopback {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.local)
    }

    async fn send(
        &mut self,
        to: SocketAddr,
        envelope: ChitchatEnvelope,
    ) -> anyhow::Result<SendOutcome> {
        // A reply goes wherever the question seemed to come from.
        let peer = match envelope.message {
            ChitchatMessage::Syn { .. } => self.peers.known(to)?,
            _ => self.peers.heard(to)?,
        };
        self.inner.send(peer.loopback(), envelope).await
    }

    /// # Cancel safety
    /// Safe: chitchat's own socket either has given a message or has not, and the rest is a look
    /// into a table.
    async fn recv(&mut self) -> anyhow::Result<RecvOutcome> {
        loop {
            let outcome = self.inner.recv().await?;
            if let Some(from_addr) = self.peers.behind(outcome.from_addr) {
                return Ok(RecvOutcome { from_addr, ..outcome });
            }
        }
    }
}

impl Deliverer {
    /// Takes a piece that `sender` sealed, and gives chitchat the message if it was the last one
    /// missing. Without a chitchat it is dropped.
    pub(crate) fn deliver(
        &mut self,
        sender: BootId,
        piece: &[u8],
        from: SocketAddr,
    ) -> Result<(), Rejection> {
        let message = self.pieces.add(sender, piece, Instant::now())?;
        let (Some(message), Some(peers)) = (message, &*self.current.load()) else { return Ok(()) };
        let peer = peers.heard(from).map_err(|_| Rejection::Overflow)?;
        if peer.is_stranger() && !self.strangers.take(1, self.since.elapsed()) {
            return Err(Rejection::Overflow);
        }
        peer.give(&message).map_err(|_| Rejection::Overflow)
    }
}

#[cfg(test)]
mod tests;
