//! The sockets a node answers on, bound by whoever starts it.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, UdpSocket};
use wcdn_daemon::listen;

use crate::config::Config;

/// Bound sockets. The caller binds, so it knows every address before the node runs.
#[derive(Debug)]
pub struct Doors {
    /// For viewers.
    pub edge: TcpListener,
    /// For viewers, over TLS.
    pub tls: Option<TcpListener>,
    /// For the operator: probes and metrics.
    pub admin: TcpListener,
    /// For other nodes of the region.
    pub peer: Option<TcpListener>,
    /// For gossip.
    pub gossip: Option<UdpSocket>,
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({key}); is another process using it?")]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    #[source]
    cause: io::Error,
}

impl Doors {
    /// Binds the addresses of the configuration, in the context of a runtime.
    ///
    /// # Errors
    /// [`BindError`] names the key and the address.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let gossip = config.gossip.listen.map(bind_udp).transpose()?;
        let config = &config.listen;
        let open = |key, address, reuse_port| {
            let failed = |cause| BindError { key, address, cause };
            listen::bind(address, reuse_port).map_err(failed)
        };
        let tls = config.tls.map(|address| open("listen.tls", address, config.reuse_port));
        let peer = config.peer.map(|address| open("listen.peer", address, config.reuse_port));
        Ok(Self {
            edge: open("listen.edge", config.edge, config.reuse_port)?,
            tls: tls.transpose()?,
            peer: peer.transpose()?,
            admin: open("listen.admin", config.admin, config.reuse_port)?,
            gossip,
        })
    }
}

fn bind_udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    listen::bind_udp(address).map_err(|cause| BindError { key: "gossip.listen", address, cause })
}
