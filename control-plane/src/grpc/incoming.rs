//! Connections, as many at once as there is room for.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::secrets::ServerTls;

/// A connection, and its place among those that may be. It ends when it is cut: the library itself waits
/// for as long as somebody reads a stream.
pub(super) struct Admitted<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until it has said what a client says first: from then on it is watched by pings.
    silent: Option<Pin<Box<Sleep>>>,
    heard: usize,
    _place: OwnedSemaphorePermit,
}

/// How long a connection may take to begin: once it is encrypted, if it is.
const BEGIN: Duration = Duration::from_secs(10);

/// From connecting to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is spoken.
const ALPN: [&[u8]; 1] = [b"h2"];

/// Bytes that every client begins with (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Connections as they come.
pub(super) fn plain(
    listener: TcpListener,
    room: Arc<Semaphore>,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Admitted<TcpStream>>> {
    accept(listener, room)
        .map(move |accepted| accepted.map(|(stream, place)| Admitted::new(stream, place, &cut)))
}

/// The same, encrypted: each begins with the certificate that is current then. Whoever is slow in a
/// handshake holds up nobody else.
pub(super) fn encrypted(
    listener: TcpListener,
    room: Arc<Semaphore>,
    cut: CancellationToken,
    tls: &ServerTls,
) -> impl Stream<Item = io::Result<Admitted<TlsStream<TcpStream>>>> {
    let config = tls.certificates.server_config(&ALPN, tls.clients.as_ref());
    let (acceptor, most) = (TlsAcceptor::from(config), room.available_permits().max(1));
    let encrypted = accept(listener, room).map(move |accepted| {
        let (acceptor, cut) = (acceptor.clone(), cut.clone());
        async move {
            let (stream, place) = accepted?;
            let handshake = timeout(HANDSHAKE, acceptor.accept(stream)).await;
            let stream = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let stream =
                stream.inspect_err(|error| tracing::debug!(%error, "no TLS on gRPC port"))?;
            Ok(Admitted::new(stream, place, &cut))
        }
    });
    encrypted.buffer_unordered(most)
}

/// Accepts whenever there is room; meanwhile others wait in the system's queue.
fn accept(
    listener: TcpListener,
    room: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<(TcpStream, OwnedSemaphorePermit)>> {
    stream::unfold((listener, room), |(listener, room)| async {
        let place = Arc::clone(&room).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let ready = stream.set_nodelay(true);
                    return Some((ready.map(|()| (stream, place)), (listener, room)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the gRPC port");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    })
}

impl<S> Admitted<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, cut: &CancellationToken) -> Self {
        let cut = Box::pin(cut.clone().cancelled_owned());
        let silent = Some(Box::pin(sleep(BEGIN)));
        Self { stream, cut, silent, heard: 0, _place: place }
    }
}

impl<S: Connected> Connected for Admitted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair(cut: CancellationToken) -> (TcpStream, Admitted<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let mut incoming = Box::pin(plain(listener, Arc::new(Semaphore::new(1)), cut));
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
        let incoming = plain(listener, Arc::clone(&room), CancellationToken::new());
        let mut incoming = Box::pin(incoming);
        let _clients = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let first = incoming.next().await.unwrap().unwrap();
        assert!(futures_util::poll!(incoming.next()).is_pending());
        drop(first);
        assert!(incoming.next().await.unwrap().is_ok());
    }
}
