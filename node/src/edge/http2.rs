//! HTTP/2, with what a viewer may make the edge hold and do.

use std::{future::Future, sync::Arc};

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

/// The library's keep-alive is off: its pings queue behind what a slow viewer has yet to take, so
/// that it ends those who are merely slow. Viewers who are gone are owed bytes, stuck in a frame or
/// idle, and the [`Watcher`] ends each of these.
fn builder(limits: &Limits, tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head.bytes()).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS);
    builder
}

/// Runs each request as a task that is waited for at the end.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// Tasks on this tracker.
    pub(crate) fn on(tasks: &TaskTracker) -> Self {
        Self(tasks.clone())
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::{Request, Response, body::Incoming, service::service_fn};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::sleep,
    };

    use super::*;
    use crate::edge::sniff::PREFACE;

    /// SETTINGS, a window of 2 MiB for the stream and for the connection, and a GET.
    const HELLO: &[&[u8]] = &[
        b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\x20\0\0",
        b"\0\0\x04\x08\0\0\0\0\0\0\x20\0\0",
        b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01a",
    ];

    #[tokio::test(start_paused = true)]
    async fn a_viewer_who_reads_slowly_is_not_asked_to_answer_sooner_than_it_can() {
        let (mut viewer, edge) = duplex(256 << 10);
        let body = || Response::new(Full::new(Bytes::from(vec![7; 1 << 20])));
        let answer = service_fn(|_: Request<Incoming>| async move { Ok::<_, Infallible>(body()) });
        let serving = builder(&Limits::default(), Tasks(TaskTracker::new()))
            .serve_connection(TokioIo::new(edge), answer);
        let reading = async {
            viewer.write_all(&[PREFACE, &HELLO.concat()[..]].concat()).await.unwrap();
            // 16 KiB a second: a quarter of a minute until what is sent now is seen.
            let (mut read, mut piece) = (0, vec![0; 16 << 10]);
            while read < 1 << 20 {
                sleep(Duration::from_secs(1)).await;
                match viewer.read(&mut piece).await.unwrap() {
                    0 => break,
                    more => read += more,
                }
            }
            read
        };
        tokio::select! {
            read = reading => assert!(read >= 1 << 20, "{read} bytes were read"),
            ended = serving => panic!("it ended: {ended:?}"),
        }
    }
}
