//! Connections, as many at once as there is room for.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A connection, and its place among those that may be. It ends when it is cut: the library itself waits
/// for as long as somebody reads a stream.
pub(super) struct Admitted {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until it has said what a client says first: from then on it is watched by pings.
    silent: Option<Pin<Box<Sleep>>>,
    heard: usize,
    _place: OwnedSemaphorePermit,
}

/// How long a connection may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// Bytes that every client begins with (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Accepts whenever there is room; meanwhile others wait in the system's queue.
pub(super) fn accept(
    listener: TcpListener,
    room: Arc<Semaphore>,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Admitted>> {
    stream::unfold((listener, room, cut), |(listener, room, cut)| async {
        let place = Arc::clone(&room).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let ready = stream.set_nodelay(true);
                    let admitted = ready.map(|()| Admitted {
                        stream,
                        cut: Box::pin(cut.clone().cancelled_owned()),
                        silent: Some(Box::pin(sleep(BEGIN))),
                        heard: 0,
                        _place: place,
                    });
                    return Some((admitted, (listener, room, cut)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the gRPC port");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    })
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.silent.as_mut().is_some_and(|silent| silent.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.heard = self.heard.saturating_add(buffer.filled().len() - before);
        if self.heard >= PREFACE {
            self.silent = None;
        }
        read
    }
}

impl AsyncWrite for Admitted {
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
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
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
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair(cut: CancellationToken) -> (TcpStream, Admitted) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let mut incoming = Box::pin(accept(listener, Arc::new(Semaphore::new(1)), cut));
        (client, incoming.next().await.unwrap().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_begin_ends() {
        let (mut client, mut admitted) = pair(CancellationToken::new()).await;
        client.write_all(&[0; PREFACE - 1]).await.unwrap();
        admitted.read_exact(&mut [0; PREFACE - 1]).await.unwrap();
        let ended = admitted.read_u8().await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_begun_may_wait_until_it_is_cut() {
        let cut = CancellationToken::new();
        let (mut client, mut admitted) = pair(cut.clone()).await;
        client.write_all(&[0; PREFACE]).await.unwrap();
        admitted.read_exact(&mut [0; PREFACE]).await.unwrap();
        let waiting = tokio::time::timeout(10 * BEGIN, admitted.read_u8()).await;
        assert!(waiting.is_err(), "nothing ends it");
        cut.cancel();
        let ended = admitted.read_u8().await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn the_next_is_accepted_when_one_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::new(Semaphore::new(1));
        let incoming = accept(listener, Arc::clone(&room), CancellationToken::new());
        let mut incoming = Box::pin(incoming);
        let _clients = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let first = incoming.next().await.unwrap().unwrap();
        assert!(futures_util::poll!(incoming.next()).is_pending());
        drop(first);
        assert!(incoming.next().await.unwrap().is_ok());
    }
}
