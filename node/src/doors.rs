//! The sockets a node answers on, bound by whoever starts it.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::config::Listen;

/// Bound sockets. The caller binds, so it knows every address before the node runs.
#[derive(Debug)]
pub struct Doors {
    /// For viewers.
    pub edge: TcpListener,
    /// For the operator: probes and metrics.
    pub admin: TcpListener,
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
    /// Binds the addresses of the configuration.
    ///
    /// # Errors
    /// [`BindError`] names the key and the address.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        Ok(Self {
            edge: bind("listen.edge", listen.edge).await?,
            admin: bind("listen.admin", listen.admin).await?,
        })
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| BindError { key, address, cause })
}
