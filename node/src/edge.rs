//! What viewers meet: connections, the gates a request passes, and the response it gets.
//!
//! `accept → connection → serve → (range, validators) → response`. The pure parts ([`path`],
//! [`range`], [`validator`], [`media`]) know no socket, clock or lock.

pub mod body;
mod connection;
mod cors;
pub mod error;
mod find;
mod large;
pub mod media;
mod multipart;
pub mod path;
pub mod range;
mod request_id;
mod respond;
pub mod response;
mod serve;
pub mod validator;
mod watch;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access_log::AccessLog,
    cache::{Cache, fill::Fills},
    config,
    metrics::{Metrics, ShedReason},
    object::Objects,
    quilt::Quilts,
};

/// Everything a request can reach.
#[derive(Debug)]
pub struct Edge {
    pub(crate) cache: Arc<Cache>,
    pub(crate) fills: Fills,
    pub(crate) quilts: Quilts,
    pub(crate) objects: Objects,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) labels: response::Labels,
    /// From a miss to the first byte.
    pub(crate) patience: Duration,
    pub(crate) limits: config::Limits,
    /// Ends every connection at once.
    pub(crate) cut: CancellationToken,
}

/// Pause after a failed accept: most likely there are no file descriptors left, and asking again
/// at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are being told that there are too many.
const MAX_TURNED_AWAY: usize = 64;

/// Accepts connections until `shutdown`, each a task on `tasks`.
pub(crate) async fn accept(
    listener: TcpListener,
    edge: Arc<Edge>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(edge.limits.max_connections));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let (edge, shutdown) = (Arc::clone(&edge), shutdown.child_token());
            tasks.spawn(connection::run(edge, stream, peer, permit, shutdown));
        } else {
            edge.metrics.shed(ShedReason::Connections);
            if let Ok(permit) = Arc::clone(&turned_away).try_acquire_owned() {
                tasks.spawn(turn_away(stream, permit));
            }
        }
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

/// Answers 503 to one connection too many. It reads first, for a client that is reset while it
/// sends does not see the answer.
async fn turn_away(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
        connection: close\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\n\r\n";
    let answered = timeout(Duration::from_secs(1), async {
        stream.readable().await?;
        let mut head = [0; 4096];
        let _unread = stream.try_read(&mut head);
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    });
    if !matches!(answered.await, Ok(Ok(()))) {
        tracing::debug!("a connection too many went away unanswered");
    }
}
