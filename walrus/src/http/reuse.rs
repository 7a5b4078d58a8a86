//! Telling a connection that was used before from a new one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http::Extensions;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::{
    Error,
    connect::{Connected, Connection},
};

use super::causes;

/// Whether a connection has answered a request already. Travels with responses and errors.
#[derive(Debug, Clone, Default)]
pub(super) struct Used(Arc<AtomicBool>);

impl Used {
    /// Notes that the connection of this response has answered.
    pub(super) fn note(extensions: &Extensions) {
        if let Some(Self(used)) = extensions.get() {
            used.store(true, Relaxed);
        }
    }
}

/// Whether a request met a connection that its server was just closing for being idle. That says
/// nothing about the server, and the same request is due a new connection: it broke before a byte
/// of an answer had come, and it had answered requests before.
///
/// The client repeats such requests by itself only if no byte of them was written.
pub(super) fn met_closing(error: &Error) -> bool {
    let mut extensions = Extensions::new();
    error.connect_info().iter().for_each(|info| info.get_extras(&mut extensions));
    let is_used = extensions.get().is_some_and(|Used(used)| used.load(Relaxed));
    is_used && causes(error).any(is_close)
}

fn is_close(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    }
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
    })
}

/// A stream that carries [`Used`].
#[derive(Debug)]
pub(super) struct Tracked<T> {
    stream: T,
    used: Used,
}

impl<T> Tracked<T> {
    /// A connection that was just made.
    pub(super) fn new(stream: T) -> Self {
        Self { stream, used: Used::default() }
    }
}

impl<T: Connection> Connection for Tracked<T> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.used.clone())
    }
}

impl<T: Read + Unpin> Read for Tracked<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<T: Write + Unpin> Write for Tracked<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use crate::{Aggregator, AggregatorError, HttpClient, HttpOptions};

    async fn read_head(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    }

    /// An aggregator of which a connection answers so many requests and closes at the next one;
    /// gives how many connections were made once `client` is done.
    async fn connections(answers: usize, client: impl AsyncFnOnce(Aggregator)) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let aggregator = Aggregator::new(HttpClient::new(HttpOptions::default()), url);
        let mut accepted = 0;
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                accepted += 1;
                for _ in 0..answers {
                    read_head(&mut stream).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK";
                    stream.write_all(answer).await.unwrap();
                }
                read_head(&mut stream).await;
            }
        };
        tokio::select! {
            () = serve => {}
            () = client(aggregator) => {}
        }
        accepted
    }

    #[tokio::test]
    async fn a_request_that_meets_a_closing_connection_is_sent_once_more() {
        let made = connections(1, async |aggregator| {
            for _ in 0..3 {
                aggregator.status().await.unwrap();
            }
        });
        assert_eq!(made.await, 3);
    }

    #[tokio::test]
    async fn a_new_connection_that_breaks_is_not_tried_again() {
        let made = connections(0, async |aggregator| {
            let error = aggregator.status().await.unwrap_err();
            assert!(matches!(error, AggregatorError::Connect { .. }), "{error:?}");
        });
        assert_eq!(made.await, 1);
    }
}
