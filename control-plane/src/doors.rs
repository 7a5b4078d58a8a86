//! The sockets a control plane answers on, bound by whoever starts it.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, UdpSocket};
use wcdn_daemon::listen;

use crate::config::Listen;

/// Bound sockets. The caller binds, so it knows every address before the control plane runs.
#[derive(Debug)]
pub struct Doors {
    /// For operators and edges.
    pub grpc: TcpListener,
    /// For operators and browsers.
    pub http: TcpListener,
    /// For the operator: probes and metrics.
    pub admin: TcpListener,
    /// For events to edges.
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
    pub fn bind(config: &Listen) -> Result<Self, BindError> {
        let open = |key, address| {
            listen::bind(address, false).map_err(|cause| BindError { key, address, cause })
        };
        Ok(Self {
            grpc: open("listen.grpc", config.grpc)?,
            http: open("listen.http", config.http)?,
            admin: open("listen.admin", config.admin)?,
            gossip: config.gossip.map(bind_udp).transpose()?,
        })
    }
}

fn bind_udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    listen::bind_udp(address).map_err(|cause| BindError { key: "listen.gossip", address, cause })
}
