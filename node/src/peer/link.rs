//! The connection to one peer: opened when it is needed, shared by all that is asked of it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::tls::NAME;
use crate::edge::Tasks;

/// What requests go out by.
pub(super) type Sender = http2::SendRequest<Empty<Bytes>>;

/// How connections are opened.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) connect_timeout: Duration,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// One connection to one address, if it is open.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    open: Mutex<Option<Sender>>,
    /// One opens it, the others wait for that.
    opening: Semaphore,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("no connection within {0:?}")]
    Late(Duration),
    #[error("cannot connect")]
    Tcp(#[from] io::Error),
    #[error("cannot speak HTTP/2")]
    Http(#[from] hyper::Error),
}

/// Bytes of one body, and of all, that may come before they are asked for. Those of a body lie in room
/// that its fill has reserved.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How long a peer may be silent before it is asked whether it is there, and how long it may take to
/// answer that: a hung process, or a network that swallows packets, holds nobody up for longer.
const PING_AFTER: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Link {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, open: Mutex::default(), opening: Semaphore::new(1) }
    }

    /// What to send a request by; opens the connection if there is none.
    pub(super) async fn sender(&self, dialer: &Dialer) -> Result<Sender, LinkError> {
        if let Some(sender) = self.ready() {
            return Ok(sender);
        }
        let patience = dialer.connect_timeout;
        let opening = timeout(patience, async {
            let _turn = self.opening.acquire().await;
            match self.ready() {
                Some(sender) => Ok(sender),
                None => self.connect(dialer).await,
            }
        });
        opening.await.map_err(|_| LinkError::Late(patience))?
    }

    fn ready(&self) -> Option<Sender> {
        self.open.lock().as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    async fn connect(&self, dialer: &Dialer) -> Result<Sender, LinkError> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let tls = TlsConnector::from(Arc::clone(&dialer.tls)).connect(name, tcp).await?;
        let (sender, connection) = builder(dialer).handshake(TokioIo::new(tls)).await?;
        let (address, shutdown) = (self.address, dialer.shutdown.clone());
        dialer.tasks.spawn(async move {
            if let Some(Err(error)) = shutdown.run_until_cancelled_owned(connection).await {
                tracing::debug!(%address, %error, "connection to a peer ended");
            }
        });
        *self.open.lock() = Some(sender.clone());
        Ok(sender)
    }

    /// Has the next request open another connection: on this one nothing comes. What is under way on
    /// it runs to its own end.
    pub(super) fn forget(&self) {
        self.open.lock().take();
    }
}

fn builder(dialer: &Dialer) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(Tasks::on(&dialer.tasks));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
