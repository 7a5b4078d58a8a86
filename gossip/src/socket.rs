//! The UDP socket of a node: sealed, and shared by both planes.
//!
//! Everything that is sent goes through [`SealedSocket::send`]. One task, [`Inbound::run`], reads
//! what comes: it opens each datagram where it lies and hands pieces of chitchat's messages to the
//! transport and the rest, through a bounded queue, to whoever drives the event plane. It never
//! waits for either of them: what finds no room is dropped and counted, as the network might have.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    metrics::{Direction, GossipMetrics, Plane},
    seal::{MAX_DATAGRAM, Opener, Rejection, Sealer},
    transport::Deliverer,
};

/// Datagrams taken from the kernel before others on this thread get a turn.
const BATCH: usize = 64;

/// What the kernel is asked to keep for us: 2 MiB outlast a push of 100,000 purges (1,563 frames)
/// while this task waits for a turn. It grants what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 2 << 20;

/// How long nothing is read after the kernel refused to, lest an error that stays burns a core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// What was received on the event plane.
#[derive(Debug)]
pub(crate) struct Received {
    /// Where it came from.
    pub(crate) from: SocketAddr,
    /// What was sealed.
    pub(crate) payload: Bytes,
}

/// A socket that sends sealed datagrams.
#[derive(Debug)]
pub(crate) struct SealedSocket {
    socket: UdpSocket,
    /// Whether it is one of IPv6.
    is_v6: bool,
    sealer: Sealer,
    metrics: Arc<GossipMetrics>,
}

/// Reads, opens and hands on what comes.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// Whose datagrams are read.
    pub(crate) socket: Arc<SealedSocket>,
    /// What opens them.
    pub(crate) opener: Opener,
    /// Where pieces of chitchat's messages go.
    pub(crate) membership: Deliverer,
    /// Where messages of the event plane go.
    pub(crate) events: mpsc::Sender<Received>,
}

impl SealedSocket {
    /// Takes a bound socket.
    pub(crate) fn new(socket: UdpSocket, sealer: Sealer, metrics: Arc<GossipMetrics>) -> Self {
        if let Err(error) =
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)
        {
            debug!(%error, "receive buffer stays as it is");
        }
        let is_v6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
        Self { socket, is_v6, sealer, metrics }
    }

    /// Where it is bound.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Seals `payload` and hands it to the kernel, waiting for room in its queue. A datagram that
    /// the kernel refuses is lost, as any may be.
    pub(crate) async fn send(&self, plane: Plane, payload: &[u8], to: SocketAddr) {
        let datagram = self.sealer.seal(plane, payload);
        match self.socket.send_to(&datagram, on_socket(to, self.is_v6)).await {
            Ok(sent) => self.metrics.count(plane, Direction::Out, sent),
            Err(error) => {
                debug!(%to, %error, "datagram not sent");
                self.metrics.unsent.inc();
            }
        }
    }
}

impl Inbound {
    /// Reads until told to stop.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        // One byte more, to tell a datagram that is too long from one that was cut.
        let mut buffer = [0; MAX_DATAGRAM + 1];
        let socket = self.socket.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ready = socket.socket.readable() => if let Err(error) = ready {
                    warn!(%error, "gossip socket is broken");
                    return;
                },
            }
            self.drain(&socket, &mut buffer).await;
        }
    }

    /// Takes what is there, up to a bound.
    async fn drain(&mut self, socket: &SealedSocket, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match socket.socket.try_recv_from(buffer) {
                Ok((length, from)) => self.receive(&mut buffer[..length], off_socket(from)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    debug!(%error, "nothing received");
                    return sleep(ERROR_PAUSE).await;
                }
            }
        }
        // There may be more; whoever shares this thread has waited for long enough.
        yield_now().await;
    }

    fn receive(&mut self, datagram: &mut [u8], from: SocketAddr) {
        if let Err(reason) = self.hand_on(datagram, from) {
            self.socket.metrics.reject(reason);
        }
    }

    fn hand_on(&mut self, datagram: &mut [u8], from: SocketAddr) -> Result<(), Rejection> {
        let length = datagram.len();
        let opened = self.opener.open(datagram)?;
        self.socket.metrics.count(opened.plane, Direction::In, length);
        match opened.plane {
            Plane::Membership => self.membership.deliver(opened.sender, opened.payload, from),
            Plane::Event => {
                let payload = Bytes::copy_from_slice(opened.payload);
                let received = Received { from, payload };
                self.events.try_send(received).map_err(|_| Rejection::Overflow)
            }
        }
    }
}

/// The address as a socket of IPv6 must be told it: one bound to `[::]` reaches IPv4 as well.
fn on_socket(to: SocketAddr, is_v6: bool) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if is_v6 => (ip.to_ipv6_mapped(), to.port()).into(),
        _ => to,
    }
}

/// The address as members tell it, whatever kind of socket received.
fn off_socket(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, from.port()).into(),
        IpAddr::V6(_) => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_ipv6_speaks_to_ipv4_and_names_it_as_members_do() {
        let (v4, v6) = ("10.0.0.5:70".parse().unwrap(), "[fe80::1%3]:70".parse().unwrap());
        let mapped = "[::ffff:10.0.0.5]:70".parse().unwrap();
        assert_eq!((on_socket(v4, true), on_socket(v4, false)), (mapped, v4));
        assert_eq!((off_socket(mapped), off_socket(v4)), (v4, v4));
        assert_eq!((on_socket(v6, true), off_socket(v6)), (v6, v6));
    }
}
