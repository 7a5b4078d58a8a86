//! One connection of a viewer, from accept to close.

use std::{net::SocketAddr, sync::Arc};

use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    pin,
    sync::OwnedSemaphorePermit,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Edge,
    body::Body,
    request_id::RequestIds,
    serve::{Answer, serve},
    watch::{Finding, Phase, Standing, Watched, Watcher},
};

/// A viewer's connection, as a request sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) ids: RequestIds,
    pub(super) standing: Arc<Standing>,
}

/// Serves a connection until it ends, is given up, or the node stops.
pub(super) async fn run(
    edge: Arc<Edge>,
    stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) {
    edge.metrics.connections.inc();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot disable delayed sending");
    }
    drive(&edge, stream, peer, shutdown).await;
    edge.metrics.connections.dec();
}

async fn drive(edge: &Arc<Edge>, stream: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
    let standing = Arc::new(Standing::default());
    let io = Watched::new(TokioIo::new(stream), Arc::clone(&standing));
    let service = Service {
        edge: Arc::clone(edge),
        connection: Connection { peer, ids: RequestIds::new(), standing: Arc::clone(&standing) },
    };
    let max_head = usize::try_from(edge.limits.max_head.bytes()).unwrap_or(usize::MAX);
    // hyper's own deadline for heads boxes a timer for each request; ours costs nothing per
    // request and covers silence, idleness and slow sending too.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(max_head)
        .max_headers(edge.limits.max_headers)
        .serve_connection(io, service);
    pin!(serving);
    let every = Watcher::interval(&edge.limits);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = Watcher::new(Instant::now());
    let (stopping, cut) = (shutdown.cancelled(), edge.cut.cancelled());
    pin!(stopping, cut);
    let mut stops = false;
    loop {
        tokio::select! {
            biased;
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection ended early");
                }
                return;
            }
            now = ticks.tick() => match watcher.look(&standing, &edge.limits, now) {
                Finding::Fine => {}
                Finding::Close => serving.as_mut().graceful_shutdown(),
                Finding::Cut => {
                    tracing::debug!(%peer, "connection cut: it made no progress");
                    return;
                }
            },
            () = cut.as_mut() => return,
            () = stopping.as_mut(), if !stops => {
                stops = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

struct Service {
    edge: Arc<Edge>,
    connection: Connection,
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
