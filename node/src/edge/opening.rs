//! The beginning of a connection: bytes that must be seen before it is known who speaks, and how.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::timeout,
};
use wcdn_daemon::proxy::protocol::{self as proxy_protocol, Header, NoHeader};

use super::sniff::{self, Protocol};
use crate::config::Limits;

/// A stream with what was read of it too early: reading begins with that.
#[derive(Debug)]
pub(super) struct Opening<S> {
    stream: S,
    seen: BytesMut,
}

/// Read at once: most requests fit, so that what is seen here costs no reading later.
const CHUNK: usize = 1_024;

/// How long a load balancer may take to say whom it carries.
const PROXY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

impl<S: AsyncRead + Unpin> Opening<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, seen: BytesMut::new() }
    }

    /// What the connection begins with, as soon as there is anything.
    pub(super) async fn seen(&mut self) -> io::Result<&[u8]> {
        if self.seen.is_empty() {
            self.more().await?;
        }
        Ok(&self.seen)
    }

    /// What the connection begins with, once that is a whole head or `enough` bytes.
    pub(super) async fn head(&mut self, enough: usize) -> io::Result<&[u8]> {
        while self.seen.len() < enough && !self.seen.windows(4).any(|end| end == b"\r\n\r\n") {
            self.more().await?;
        }
        Ok(&self.seen)
    }

    /// Whom a load balancer carries, by the PROXY header that must come first.
    pub(super) async fn proxied(&mut self) -> io::Result<Option<IpAddr>> {
        timeout(PROXY_TIMEOUT, async {
            loop {
                match proxy_protocol::parse(&self.seen).map_err(invalid)? {
                    Header::Whole { length, source } => {
                        self.seen.advance(length);
                        return Ok(source);
                    }
                    Header::Partial => self.more().await?,
                }
            }
        })
        .await?
    }

    /// How the viewer speaks, by its first bytes, which stay to be read.
    pub(super) async fn protocol(&mut self, limits: &Limits) -> io::Result<Protocol> {
        if self.seen.is_empty() {
            timeout(limits.first_byte_timeout.duration(), self.more()).await??;
        }
        timeout(limits.head_timeout.duration(), async {
            loop {
                match sniff::protocol(&self.seen) {
                    Some(protocol) => return Ok(protocol),
                    None => self.more().await?,
                }
            }
        })
        .await?
    }

    async fn more(&mut self) -> io::Result<()> {
        self.seen.reserve(CHUNK);
        match self.stream.read_buf(&mut self.seen).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn invalid(error: NoHeader) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.seen.len().min(buffer.remaining());
        buffer.put_slice(&self.seen[..length]);
        self.seen.advance(length);
        if self.seen.is_empty() {
            // The memory is not kept for the life of the connection.
            self.seen = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
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
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
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
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_read_again_and_the_rest_follows() {
        let (mut viewer, edge) = duplex(64);
        let mut opening = Opening::new(edge);
        let limits = Limits::default();
        viewer.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / ").await.unwrap();
        assert_eq!(opening.proxied().await.unwrap(), Some([192, 0, 2, 1].into()));
        assert_eq!(opening.protocol(&limits).await.unwrap(), Protocol::Http1);
        viewer.write_all(b"HTTP/1.1").await.unwrap();
        drop(viewer);
        let mut read = String::new();
        opening.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "GET / HTTP/1.1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_that_does_not_end_is_waited_for_no_longer_than_a_head() {
        let (mut viewer, edge) = duplex(64);
        let mut opening = Opening::new(edge);
        viewer.write_all(b"PRI * HTTP").await.unwrap();
        let gave_up = opening.protocol(&Limits::default()).await.unwrap_err();
        assert_eq!(gave_up.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_speaks_without_the_header_that_must_come_first() {
        let (mut viewer, edge) = duplex(64);
        viewer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let refused = Opening::new(edge).proxied().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
