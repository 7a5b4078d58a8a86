//! The port of the REST API: who is let in, and for how long.

use std::{
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use wcdn_daemon::proxy::protocol;

use super::router;
use crate::{desk::Desk, secrets::ServerTls};

/// From where a connection comes, by the word of a PROXY header if it must bring one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// From connecting to the first byte, and to the end of the TLS handshake.
const BEGIN: Duration = Duration::from_secs(10);

/// How long a head may take.
const HEAD: Duration = Duration::from_secs(10);

/// A connection that neither says nor hears anything for so long is closed: streams say that they are alive
/// more often.
const IDLE: Duration = Duration::from_secs(75);

/// Bytes and fields of a head.
const MAX_HEAD: usize = 32 << 10;
const MAX_HEAD_H2: u32 = 32 << 10;
const MAX_FIELDS: usize = 100;

/// What may be spoken over TLS.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Pause after a failed accept: most likely there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `refuse`, then finishes what runs, unless its connection is cut before.
pub(crate) async fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    refuse: CancellationToken,
    tasks: TaskTracker,
) {
    let acceptor = tls.map(|tls| TlsAcceptor::from(tls.certificates.server_config(&ALPN, None)));
    let room = Arc::new(Semaphore::new(desk.limits.max_connections));
    let app = router(&desk);
    loop {
        let Some(Ok(place)) = refuse.run_until_cancelled(Arc::clone(&room).acquire_owned()).await
        else {
            return;
        };
        let stream = match refuse.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot accept on the REST port");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = Connection {
            desk: Arc::clone(&desk),
            app: app.clone(),
            acceptor: acceptor.clone(),
            refuse: refuse.clone(),
        };
        let cut = desk.cut.clone();
        tasks.spawn(async move {
            let served = cut.run_until_cancelled(connection.run(stream)).await;
            if let Some(Err(error)) = served {
                tracing::debug!(%error, "connection on the REST port ended");
            }
            drop(place);
        });
    }
}

/// One connection.
struct Connection {
    desk: Arc<Desk>,
    app: Router,
    acceptor: Option<TlsAcceptor>,
    refuse: CancellationToken,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    async fn run(self, mut stream: TcpStream) -> Result<(), Failure> {
        stream.set_nodelay(true)?;
        let peer = timeout(BEGIN, self.peer(&mut stream)).await??;
        match self.acceptor.clone() {
            Some(acceptor) => {
                let stream = timeout(BEGIN, acceptor.accept(stream)).await??;
                self.speak(stream, peer).await
            }
            None => {
                // The library itself waits for ever for the first byte.
                timeout(BEGIN, stream.peek(&mut [0])).await??;
                self.speak(stream, peer).await
            }
        }
    }

    /// From where it comes.
    async fn peer(&self, stream: &mut TcpStream) -> io::Result<IpAddr> {
        let peer = stream.peer_addr()?.ip().to_canonical();
        if !self.desk.proxy_protocol || !self.desk.proxies.trust(peer) {
            return Ok(peer);
        }
        Ok(protocol::read(stream).await?.unwrap_or(peer))
    }

    async fn speak<S>(self, stream: S, peer: IpAddr) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let streams = self.desk.limits.max_streams;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD_H2)
            .max_concurrent_streams(streams)
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .keep_alive_timeout(Duration::from_secs(20));
        let noted = MapRequestLayer::new(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(Peer(peer));
            request
        });
        let service = ServiceBuilder::new().layer(noted).service(self.app);
        let service = TowerToHyperService::new(service);
        let io = TokioIo::new(Watched::new(stream));
        let mut served = pin!(builder.serve_connection_with_upgrades(io, service));
        tokio::select! {
            done = served.as_mut() => done,
            () = self.refuse.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    }
}

/// A stream that fails once nothing has passed for [`IDLE`].
struct Watched<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    fn new(stream: S) -> Self {
        Self { stream, idle: Box::pin(sleep(IDLE)) }
    }

    fn passed(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending if self.idle.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
            ready => {
                self.passed();
                ready
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.passed();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        if written.is_ready() {
            self.passed();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
