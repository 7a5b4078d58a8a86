//! The ports of viewers: who is let in, and what those are told who are not.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::listen;

use super::{
    Edge,
    connection::{self, Door},
    opening::Opening,
    sniff::PREFACE,
};
use crate::metrics::ShedReason;

/// Pause after a failed accept: most likely there are no file descriptors left, and asking again
/// at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are being told that there are too many.
pub(super) const MAX_TURNED_AWAY: usize = 64;

/// Accepts connections until `shutdown`, each a task on `tasks`.
pub(crate) async fn accept(
    listener: TcpListener,
    door: Door,
    edge: Arc<Edge>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let admit = |stream, peer| admit(&edge, &door, &tasks, &shutdown, stream, peer);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer),
            Err(error) => pause_after(&error).await,
        }
    }
    listen::close(listener, admit);
}

fn admit(
    edge: &Arc<Edge>,
    door: &Door,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let edge = Arc::clone(edge);
    if let Some(entered) = edge.viewers.clients.enter(edge.viewers.limits.load().max_connections) {
        let (door, shutdown, peer) = (door.clone(), shutdown.child_token(), peer.ip());
        tasks.spawn(connection::run(edge, door, stream, peer.to_canonical(), entered, shutdown));
        return;
    }
    edge.metrics.shed(ShedReason::Connections);
    if let Some(answer) = refusal(&edge, door, Opening::new(stream)) {
        tasks.spawn(answer);
    }
}

async fn pause_after(error: &io::Error) {
    let of_client = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::Interrupted,
    ];
    if !of_client.contains(&error.kind()) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Tells one connection too many that it is one. `None` where it is closed without a word: there
/// are too many of these, too, or it speaks TLS and would not understand.
pub(super) fn refusal<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: &Arc<Edge>,
    door: &Door,
    opening: Opening<S>,
) -> Option<impl Future<Output = ()> + Send + 'static + use<S>> {
    let Door::Plain = door else { return None };
    let permit = Arc::clone(&edge.viewers.turned_away).try_acquire_owned().ok()?;
    let edge = Arc::clone(edge);
    Some(async move {
        let answering = turn_away(&edge, opening);
        if !matches!(timeout(Duration::from_secs(1), answering).await, Ok(Ok(()))) {
            tracing::debug!("a connection too many went away unanswered");
        }
        drop(permit);
    })
}

/// What follows are the lines for other origins' pages, and an empty one.
const HTTP1_ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 0\r\n";

/// Bytes of a head in which an `Origin` is looked for: browsers send about one KiB in all.
const ENOUGH_OF_HEAD: usize = 8 << 10;

/// An empty SETTINGS frame, and GOAWAY with `ENHANCE_YOUR_CALM`.
const HTTP2_ANSWER: &[u8] = &[
    0, 0, 0, 4, 0, 0, 0, 0, 0, //
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
];

/// It reads first, for a client that is reset while it sends does not see the answer.
async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Edge,
    mut opening: Opening<S>,
) -> io::Result<()> {
    if opening.seen().await?.starts_with(&PREFACE[..3]) {
        opening.write_all(HTTP2_ANSWER).await?;
    } else {
        let enough = if edge.cors.depends_on_origin() { ENOUGH_OF_HEAD } else { 0 };
        let lines = edge.cors.lines(opening.head(enough).await?);
        opening.write_all(format!("{HTTP1_ANSWER}{lines}\r\n").as_bytes()).await?;
    }
    opening.shutdown().await
}
