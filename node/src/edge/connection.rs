//! One connection of a viewer, from accept to close.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    pin,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use wcdn_proto::ContentId;

use super::{
    Edge,
    accept::refusal,
    body::Body,
    clients::{Entered, Payer},
    http2,
    opening::Opening,
    request_id::RequestIds,
    serve::{Answer, serve},
    sniff::Protocol,
    socket::{Fate, Socket},
    streams::Streams,
    watch::{Finding, Phase, Standing, Watched, Watcher},
};
use crate::{config::Limits, events::Log, metrics::ShedReason};

/// A viewer's connection, as a request sees it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The viewer, or the proxy that speaks for many.
    pub(super) peer: IpAddr,
    /// Who pays for requests, unless a proxy says that they are another's.
    pub(super) payer: Payer,
    /// Whether requests may name their client: the peer is a trusted proxy.
    pub(super) is_proxy: bool,
    /// Whether it came to the port for TLS.
    pub(super) is_encrypted: bool,
    pub(super) ids: RequestIds,
    pub(super) standing: Arc<Standing>,
    /// Where requests are counted that run beside each other: over HTTP/2.
    pub(super) streams: Option<Arc<Streams>>,
    /// What is withheld.
    pub(super) log: Arc<Log>,
    /// Over HTTP/1.1, what was sent last, and may still be on its way.
    pub(super) sending: Mutex<Option<ContentId>>,
    fate: Fate,
}

impl Connection {
    /// Whether it still sends what is withheld by now, as far as is known.
    fn sends_withheld(&self) -> bool {
        match &self.streams {
            Some(streams) => streams.owe_withheld(&self.log),
            None => self.sending.lock().is_some_and(|content| self.log.withholds(&content)),
        }
    }
}

/// Which port a connection came to.
#[derive(Clone)]
pub(crate) enum Door {
    /// The plain one.
    Plain,
    /// The one for TLS.
    Tls(TlsAcceptor),
}

/// Serves a connection until it ends, is given up, or the node stops.
pub(super) async fn run(
    edge: Arc<Edge>,
    door: Door,
    stream: TcpStream,
    peer: IpAddr,
    _entered: Entered,
    shutdown: CancellationToken,
) {
    edge.metrics.connections.inc();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable delayed sending");
    }
    let fate = Fate::default();
    {
        // Outlives the `select!`, so that it does not end before its fate is known.
        let conversing = std::pin::pin!(converse(&edge, door, stream, &fate, peer, shutdown));
        tokio::select! {
            () = conversing => {}
            () = edge.cut.cancelled() => fate.cut(),
        }
    }
    edge.metrics.connections.dec();
}

/// What is known of a connection before it is known how it speaks.
struct Viewer {
    address: IpAddr,
    payer: Payer,
    is_proxy: bool,
    is_encrypted: bool,
    log: Arc<Log>,
    fate: Fate,
}

async fn converse(
    edge: &Arc<Edge>,
    door: Door,
    stream: TcpStream,
    fate: &Fate,
    peer: IpAddr,
    shutdown: CancellationToken,
) {
    let mut opening = Opening::new(Socket::new(stream, fate.clone()));
    let address = match announced(edge, &mut opening, peer).await {
        Ok(address) => address,
        Err(error) => {
            tracing::debug!(%peer, %error, "connection without a PROXY header");
            return;
        }
    };
    let (payer, is_proxy) =
        (edge.viewers.clients.payer(address), edge.viewers.proxies.trust(address));
    let limits = edge.viewers.limits.load_full();
    // A proxy has as many connections as its many clients need.
    let most = if is_proxy { usize::MAX } else { limits.max_connections_per_client };
    let Some(_connected) = payer.connect(most) else {
        edge.metrics.shed(ShedReason::ClientConnections);
        if let Some(answer) = refusal(edge, &door, opening) {
            answer.await;
        }
        return;
    };
    let (log, fate) = (Arc::clone(&edge.log), fate.clone());
    let is_encrypted = matches!(door, Door::Tls(_));
    let viewer = Viewer { address, payer, is_proxy, is_encrypted, log, fate };
    let opened = match door {
        Door::Plain => sniffed(edge, viewer, opening, &limits, shutdown).await,
        Door::Tls(acceptor) => encrypted(edge, viewer, acceptor, opening, &limits, shutdown).await,
    };
    if let Err(error) = opened {
        tracing::debug!(peer = %address, %error, "connection ended before it began");
    }
}

/// Whose connection it is: a load balancer may carry another's.
async fn announced(
    edge: &Edge,
    opening: &mut Opening<Socket>,
    peer: IpAddr,
) -> std::io::Result<IpAddr> {
    if !edge.viewers.proxy_protocol || !edge.viewers.proxies.trust(peer) {
        return Ok(peer);
    }
    Ok(opening.proxied().await?.unwrap_or(peer))
}

async fn encrypted(
    edge: &Arc<Edge>,
    viewer: Viewer,
    acceptor: TlsAcceptor,
    opening: Opening<Socket>,
    limits: &Limits,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let stream = timeout(limits.handshake_timeout.duration(), acceptor.accept(opening)).await??;
    let agreed = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        Some(_) => Protocol::Http1,
        None => return sniffed(edge, viewer, Opening::new(stream), limits, shutdown).await,
    };
    let mut opening = Opening::new(stream);
    // The library closes a connection of which it has read nothing when it is told to end it, though
    // a request may be under way. It refuses whoever does not speak as was agreed.
    opening.protocol(limits).await?;
    drive(edge, viewer, agreed, opening, limits, shutdown).await;
    Ok(())
}

async fn sniffed<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: &Arc<Edge>,
    viewer: Viewer,
    mut opening: Opening<S>,
    limits: &Limits,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let protocol = opening.protocol(limits).await?;
    drive(edge, viewer, protocol, opening, limits, shutdown).await;
    Ok(())
}

/// Serves a connection whose first bytes are here.
async fn drive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: &Arc<Edge>,
    viewer: Viewer,
    protocol: Protocol,
    opening: Opening<S>,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    match protocol {
        Protocol::Http1 => http1(edge, viewer.over_http1(), opening, limits, shutdown).await,
        Protocol::Http2 => {
            http2::drive(edge, viewer.over_http2(), opening, limits, shutdown).await;
        }
    }
}

impl Viewer {
    fn over_http1(self) -> Connection {
        self.connection(None)
    }

    fn over_http2(self) -> Connection {
        self.connection(Some(Arc::default()))
    }

    fn connection(self, streams: Option<Arc<Streams>>) -> Connection {
        let Self { address: peer, payer, is_proxy, is_encrypted, log, fate } = self;
        let (ids, standing, sending) = (RequestIds::new(), Arc::default(), Mutex::default());
        Connection {
            peer,
            payer,
            is_proxy,
            is_encrypted,
            ids,
            standing,
            streams,
            log,
            sending,
            fate,
        }
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: &Arc<Edge>,
    connection: Connection,
    stream: S,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    let connection = Arc::new(connection);
    let standing = Arc::clone(&connection.standing);
    let io = Watched::new(TokioIo::new(stream), Arc::clone(&standing));
    let service = Service { edge: Arc::clone(edge), connection: Arc::clone(&connection) };
    let max_head = usize::try_from(limits.max_head.bytes()).unwrap_or(usize::MAX);
    // hyper's own deadline for heads boxes a timer for each request; ours costs nothing per
    // request and covers silence, idleness and slow sending too.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(max_head)
        .max_headers(limits.max_headers)
        .serve_connection(io, service);
    let mut watcher = Watcher::new(Instant::now());
    let look = |limits: &Limits, now| watcher.look(&standing, limits, now);
    let close = http1::Connection::graceful_shutdown;
    watch(edge, &connection, serving, close, look, shutdown).await;
}

/// Drives a connection to its end, looking at it from time to time.
pub(super) async fn watch<C: Future<Output = hyper::Result<()>>>(
    edge: &Edge,
    connection: &Connection,
    serving: C,
    close: impl Fn(Pin<&mut C>),
    mut look: impl FnMut(&Limits, Instant) -> Finding,
    shutdown: CancellationToken,
) {
    pin!(serving);
    let tick = sleep(Watcher::interval(&edge.viewers.limits.load()));
    let stopping = shutdown.cancelled();
    let mut block = edge.log.next_block();
    pin!(tick, stopping);
    let (mut stops, mut asked) = (false, false);
    loop {
        tokio::select! {
            biased;
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %connection.peer, %error, "connection ended early");
                }
                if !asked && connection.standing.is_unruly() {
                    edge.metrics.shed(ShedReason::Flood);
                }
                return;
            }
            () = tick.as_mut() => {
                let (limits, now) = (edge.viewers.limits.load_full(), Instant::now());
                tick.as_mut().reset(now + Watcher::interval(&limits));
                match look(&limits, now) {
                    Finding::Fine => {}
                    Finding::Close => close(serving.as_mut()),
                    Finding::Cut => {
                        tracing::debug!(peer = %connection.peer, "connection cut: no progress");
                        connection.fate.cut();
                        return;
                    }
                }
            }
            () = block.cancelled() => {
                block = edge.log.next_block();
                if connection.sends_withheld() {
                    edge.metrics.events.cut.inc();
                    connection.fate.cut();
                    return;
                }
            }
            () = stopping.as_mut(), if !stops => {
                stops = true;
                close(serving.as_mut());
            }
            // Nobody wakes this: only `serving` makes a viewer unruly, and that was polled just now.
            () = poll_fn(|_| unruly(connection)), if !asked => {
                asked = true;
                edge.metrics.shed(ShedReason::Flood);
                close(serving.as_mut());
            }
        }
    }
}

fn unruly(connection: &Connection) -> Poll<()> {
    if connection.standing.is_unruly() { Poll::Ready(()) } else { Poll::Pending }
}

/// Answers the requests of one connection.
pub(super) struct Service {
    pub(super) edge: Arc<Edge>,
    pub(super) connection: Arc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.connection.standing.enter(Phase::Answering);
        serve(&self.edge, &self.connection, request)
    }
}
