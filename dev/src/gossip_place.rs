//! Where a member of the gossip is.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::net::{TcpListener, UdpSocket};

/// The socket of a member of the gossip, and the address by which others know it.
#[derive(Debug)]
pub struct GossipPlace {
    /// Its own.
    pub socket: UdpSocket,
    /// Where datagrams for it are sent.
    pub advertise: SocketAddr,
}

/// Free ports for TCP that are tried for one that is free for UDP, too.
const TRIES: usize = 16;

impl GossipPlace {
    /// A socket on this machine, at a port or at any.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn bind(port: u16) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await;
        let socket = socket.with_context(|| taken("UDP", port))?;
        let advertise = socket.local_addr()?;
        Ok(Self { socket, advertise })
    }

    /// A socket at the same port as a listener, which is this one or any.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn beside(port: u16) -> anyhow::Result<(TcpListener, Self)> {
        let mut tries = if port == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            let listener = listen(port).await?;
            match Self::bind(listener.local_addr()?.port()).await {
                Err(_) if tries > 0 => {}
                bound => return Ok((listener, bound?)),
            }
        }
    }
}

pub(crate) async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.with_context(|| taken("TCP", port))
}

fn taken(protocol: &str, port: u16) -> String {
    format!("cannot listen on 127.0.0.1:{port} ({protocol}); is `make run` running twice?")
}
