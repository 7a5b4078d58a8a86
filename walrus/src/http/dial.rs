//! Connections over TCP, to the public internet alone where that is wanted.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;

use super::{dns::Resolver, public::is_public};

type BoxError = Box<dyn Error + Send + Sync>;

/// Connects.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    tcp: HttpConnector<Addresses>,
    public_only: bool,
}

/// The addresses of a host, those that may be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    resolver: Resolver,
    public_only: bool,
}

/// Why there is no connection over TCP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    /// Nobody answers, or nobody says where.
    #[error(transparent)]
    Tcp(BoxError),
    /// It may not be connected to.
    #[error(transparent)]
    Private(#[from] PrivateHost),
}

/// A host that does not stand in the public internet, where only such may be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is not in the public internet")]
pub(crate) struct PrivateHost {
    host: String,
}

impl Dial {
    pub(super) fn new(resolver: Resolver, public_only: bool) -> Self {
        let tcp = HttpConnector::new_with_resolver(Addresses { resolver, public_only });
        Self { tcp, public_only }
    }

    pub(super) fn tcp(&mut self) -> &mut HttpConnector<Addresses> {
        &mut self.tcp
    }

    /// A host that is written as an address is looked up nowhere.
    fn refused(&self, uri: &Uri) -> Option<PrivateHost> {
        let host = uri.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
        let is_refused = self.public_only && !is_public(address);
        is_refused.then(|| PrivateHost { host: host.to_owned() })
    }
}

type Dialling = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, NotConnected>> + Send>>;

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = NotConnected;
    type Future = Dialling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Service::<Uri>::poll_ready(&mut self.tcp, cx)
            .map_err(|error| NotConnected::Tcp(error.into()))
    }

    fn call(&mut self, uri: Uri) -> Dialling {
        if let Some(refused) = self.refused(&uri) {
            return Box::pin(async { Err(refused.into()) });
        }
        let connecting = Service::<Uri>::call(&mut self.tcp, uri);
        Box::pin(async { connecting.await.map_err(|error| NotConnected::Tcp(error.into())) })
    }
}

/// What the connector asks for: a future of addresses without a port.
impl Service<Name> for Addresses {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { resolver, public_only } = self.clone();
        Box::pin(async move {
            let mut found = resolver.addresses(name.as_str()).await?;
            found.retain(|ip| !public_only || is_public(*ip));
            if found.is_empty() {
                return Err(PrivateHost { host: name.as_str().to_owned() }.into());
            }
            let with_port: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(with_port.into_iter())
        })
    }
}
