//! A loopback socket for each remote peer, by whose port chitchat knows it.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::pieces::{self, MAX_MESSAGE};
use crate::{metrics::Plane, socket::SealedSocket};

/// The sockets of the peers of one chitchat.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Where chitchat's own socket is.
    pub(super) inner: SocketAddr,
    socket: Arc<SealedSocket>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Peers that have a socket at a time; the one unused for longest makes room.
    max_peers: usize,
    /// Numbers messages, so that pieces of one are told from those of another.
    messages: Arc<AtomicU32>,
    /// Uses of a peer: the clock of who was used last.
    uses: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_remote: HashMap<SocketAddr, Arc<Peer>>,
    by_loopback: HashMap<SocketAddr, SocketAddr>,
}

/// One remote peer.
#[derive(Debug)]
pub(crate) struct Peer {
    remote: SocketAddr,
    loopback: SocketAddr,
    /// Connected to chitchat's socket.
    socket: UdpSocket,
    stop: CancellationToken,
    used: AtomicU64,
    /// Whether it only came to us, from an address that may be forged.
    is_stranger: AtomicBool,
}

impl Peers {
    /// Of the chitchat whose socket is at `inner`.
    pub(crate) fn new(
        inner: SocketAddr,
        max_peers: usize,
        socket: Arc<SealedSocket>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            inner,
            socket,
            tasks,
            stop: CancellationToken::new(),
            max_peers,
            messages: Arc::default(),
            uses: AtomicU64::new(0),
            table: Mutex::default(),
        }
    }

    /// Ends all pumps.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The peer at `remote`, which gets a socket if it has none, and is no stranger from now on: chitchat
    /// turned to it by the address that members or the configuration tell of.
    ///
    /// # Errors
    /// When the system gives no more sockets.
    pub(crate) fn known(&self, remote: SocketAddr) -> io::Result<Arc<Peer>> {
        let peer = self.open(remote, false)?;
        peer.is_stranger.store(false, Ordering::Relaxed);
        Ok(peer)
    }

    /// The peer at `remote`, which gets a socket if it has none, in the place of another stranger if
    /// there are many: where a datagram came from may be forged.
    ///
    /// # Errors
    /// When the system gives no more sockets.
    pub(crate) fn heard(&self, remote: SocketAddr) -> io::Result<Arc<Peer>> {
        self.open(remote, true)
    }

    fn open(&self, remote: SocketAddr, is_stranger: bool) -> io::Result<Arc<Peer>> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut table = self.table.lock();
        if let Some(peer) = table.by_remote.get(&remote) {
            peer.used.store(now, Ordering::Relaxed);
            return Ok(peer.clone());
        }
        let peer = Peer::open(remote, self.inner, self.stop.child_token(), now, is_stranger)?;
        let peer = Arc::new(peer);
        if is_stranger {
            table.make_room(self.max_peers / 4, true);
        }
        table.make_room(self.max_peers, is_stranger);
        if table.by_remote.len() >= self.max_peers {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        table.by_loopback.insert(peer.loopback, remote);
        table.by_remote.insert(remote, peer.clone());
        drop(table);
        self.tasks.spawn(peer.clone().pump(self.socket.clone(), self.messages.clone()));
        Ok(peer)
    }

    /// Who is behind a loopback address, if it is one of ours.
    pub(crate) fn behind(&self, loopback: SocketAddr) -> Option<SocketAddr> {
        self.table.lock().by_loopback.get(&loopback).copied()
    }
}

impl Table {
    /// Forgets whoever was not used for longest, if there are too many, of strangers or of all. Others
    /// than strangers do not give way to one.
    fn make_room(&mut self, most: usize, of_strangers: bool) {
        let suits = |peer: &&Arc<Peer>| !of_strangers || peer.is_stranger();
        if self.by_remote.values().filter(suits).count() < most {
            return;
        }
        let suited = self.by_remote.values().filter(suits);
        let longest = suited.min_by_key(|peer| peer.used.load(Ordering::Relaxed));
        if let Some(peer) = longest.cloned() {
            self.by_remote.remove(&peer.remote);
            self.by_loopback.remove(&peer.loopback);
            peer.stop.cancel();
        }
    }
}

impl Peer {
    fn open(
        remote: SocketAddr,
        inner: SocketAddr,
        stop: CancellationToken,
        now: u64,
        is_stranger: bool,
    ) -> io::Result<Self> {
        let socket = StdUdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(inner)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let loopback = socket.local_addr()?;
        let (used, is_stranger) = (AtomicU64::new(now), AtomicBool::new(is_stranger));
        Ok(Self { remote, loopback, socket, stop, used, is_stranger })
    }

    /// Whether it only came to us, from an address that may be forged.
    pub(crate) fn is_stranger(&self) -> bool {
        self.is_stranger.load(Ordering::Relaxed)
    }

    /// Where chitchat sends what is for this peer.
    pub(crate) fn loopback(&self) -> SocketAddr {
        self.loopback
    }

    /// Gives chitchat a message of this peer.
    ///
    /// # Errors
    /// When its queue is full, or it is gone.
    pub(crate) fn give(&self, message: &[u8]) -> io::Result<()> {
        // Not tokio's `try_send`, which fails until its reactor has seen a new socket once.
        rustix::net::send(&self.socket, message, SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Sends sealed, in pieces, what chitchat has for this peer.
    async fn pump(self: Arc<Self>, sealed: Arc<SealedSocket>, messages: Arc<AtomicU32>) {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                received = self.socket.recv(&mut buffer) => received,
            };
            // An error says that chitchat was gone when something was given to it.
            let Ok(length) = received else { continue };
            let message = messages.fetch_add(1, Ordering::Relaxed);
            for piece in pieces::cut(message, &buffer[..length]) {
                sealed.send(Plane::Membership, &piece, self.remote).await;
            }
        }
    }
}
