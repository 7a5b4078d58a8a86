//! A socket that can be cut as soon as what was written to it has gone out.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The connection of a request, for whoever answers it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicU8>);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As connections end that are closed too early.
    Closed = 1,
    /// By a reset, as when a process dies or a middlebox forgets: what the peer has not read yet
    /// is lost to it.
    Reset = 2,
}

impl Cut {
    /// Ends the connection behind the bytes given to it so far.
    ///
    /// An error from a body would not do: hyper then drops what it has not yet written, so that
    /// less arrives than was to arrive, down to nothing at all.
    pub(super) fn behind_this(&self, ending: Ending) {
        self.0.store(ending as u8, Relaxed);
    }
}

/// The socket itself. It fails the flush that follows upon [`Cut::behind_this`]: hyper flushes
/// once it has written everything it holds.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    cut: Cut,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, cut: Cut) -> Self {
        Self { stream, cut }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
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
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let ending = self.cut.0.load(Relaxed);
        if ending == Ending::Reset as u8 {
            self.stream.set_zero_linger()?;
        }
        if ending != 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
