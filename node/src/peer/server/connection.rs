//! Connections of peers: who proves the cluster's key is let in.

use std::{collections::VecDeque, convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::Server;
use crate::edge::Tasks;

/// Connections at once: each node of a region has one, and a second while one goes.
const MAX_CONNECTIONS: usize = 1_024;

/// Handshakes at once. They are all that strangers can make this node do.
const MAX_HANDSHAKES: usize = 64;

/// From connecting to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a peer that takes nothing may be silent before it is asked whether it is there, and how long
/// it may take to answer that.
const PING_AFTER: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request head.
const MAX_HEAD: u32 = 4 << 10;

/// Bytes of a response that wait for their turn within the library.
const SEND_BUFFER: usize = 256 << 10;

/// Serves peers until `refuse`; then what they have asked for runs to its end, or until `cut`.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    (connections, requests): (TaskTracker, TaskTracker),
    refuse: CancellationToken,
    cut: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut handshakes = Handshakes::default();
    loop {
        let Some(accepted) = refuse.run_until_cancelled(listener.accept()).await else {
            return;
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection of a peer");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (server, requests, refuse) = (Arc::clone(&server), requests.clone(), refuse.clone());
        let handshake = handshakes.begin();
        let conversing = async move {
            match handshake.run(open(&server, stream)).await {
                Ok(stream) => drive(server, stream, requests, refuse).await,
                Err(error) => {
                    server.metrics.strangers.inc();
                    tracing::debug!(%error, "a connection to the peer port was not let in");
                }
            }
            drop(place);
        };
        connections.spawn(cut.clone().run_until_cancelled_owned(conversing));
    }
}

/// The handshakes under way, the oldest first. Where there are too many, that one ends: a peer is done
/// within some round trips, so that idle connections of strangers keep none out.
#[derive(Debug, Default)]
struct Handshakes(VecDeque<CancellationToken>);

/// One of them.
#[derive(Debug)]
struct Handshake(DropGuard);

impl Handshakes {
    fn begin(&mut self) -> Handshake {
        self.0.retain(|handshake| !handshake.is_cancelled());
        if self.0.len() >= MAX_HANDSHAKES {
            self.0.pop_front().inspect(CancellationToken::cancel);
        }
        let handshake = CancellationToken::new();
        self.0.push_back(handshake.clone());
        Handshake(handshake.drop_guard())
    }
}

impl Handshake {
    /// Runs it to its end, or until there is no more time or room for it.
    async fn run<T>(self, opening: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let Self(guard) = self;
        let crowded_out = CancellationToken::clone(guard.token());
        let opened = crowded_out.run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, opening)).await;
        let opened = opened.ok_or_else(|| io::Error::other("others want to be let in"))?;
        opened.unwrap_or_else(|late| Err(late.into()))
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

async fn open(server: &Server, stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(Arc::clone(&server.tls)).accept(stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(stream),
        _ => Err(io::Error::other("it does not speak HTTP/2")),
    }
}

async fn drive(
    server: Arc<Server>,
    stream: Stream,
    requests: TaskTracker,
    refuse: CancellationToken,
) {
    let serving = Arc::clone(&server);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Arc::clone(&serving).answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http2::Builder::new(Tasks::on(&requests));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(server.max_requests).unwrap_or(u32::MAX))
        .max_header_list_size(MAX_HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = refuse.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection of a peer ended");
    }
}
