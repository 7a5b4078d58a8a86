//! HTTP/2, with what a viewer may make the edge hold and do.

use std::{future::Future, sync::Arc, time::Duration};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Edge,
    connection::{Connection, Service, watch},
    frames::Counted,
    streams::Watcher,
    watch::Watched,
};
use crate::config::Limits;

/// Bytes of request bodies that may be under way: nothing here wants them.
const STREAM_WINDOW: u32 = 16 << 10;
const CONNECTION_WINDOW: u32 = 64 << 10;

/// Bytes of a response that wait for their turn within the library.
const SEND_BUFFER: usize = 64 << 10;

/// A viewer that is silent is asked whether it is still there, and how long it may take to answer:
/// in the midst of a frame it cannot, so this ends half-sent heads, too.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams reset before they were begun here, at once, before the connection is ended.
const MAX_PENDING_RESETS: usize = 20;

/// Streams that had to be reset for errors of the viewer, requests beyond the limit included, over
/// the life of a connection.
const MAX_ERROR_RESETS: usize = 256;

/// Serves a connection that speaks HTTP/2.
pub(super) async fn drive<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: &Arc<Edge>,
    connection: Connection,
    stream: S,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    let connection = Arc::new(connection);
    let (standing, streams) = (Arc::clone(&connection.standing), connection.streams.clone());
    let streams = streams.unwrap_or_default();
    let counted = Counted::new(stream, Arc::clone(&standing));
    let io = Watched::new(TokioIo::new(counted), Arc::clone(&standing));
    let service = Service { edge: Arc::clone(edge), connection: Arc::clone(&connection) };
    let serving =
        builder(limits, Tasks(edge.viewers.streams.clone())).serve_connection(io, service);
    let mut watcher = Watcher::new(Instant::now());
    let look = |limits: &Limits, now| watcher.look(&standing, &streams, limits, now);
    let close = http2::Connection::graceful_shutdown;
    watch(edge, &connection, serving, close, look, shutdown).await;
}

fn builder(limits: &Limits, tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head.bytes()).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS);
    builder
}

/// Runs each request as a task that is waited for at the end.
#[derive(Debug, Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}
