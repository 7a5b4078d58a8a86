//! A viewer's socket, which is reset instead of closed where its viewer is to be rid of.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket that ends as its [`Fate`] says.
///
/// When a socket is closed, the system goes on sending what it has of ours, megabytes at times: to a
/// viewer that hardly reads for hours, and no limit of ours counts it any more.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    fate: Fate,
}

/// How a socket is to end. Clones are of the same socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    is_cut: Arc<AtomicBool>,
}

impl Fate {
    /// When the socket is dropped, it is reset, and what was not sent yet is forgotten.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Relaxed);
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream, fate: Fate) -> Self {
        Self { stream, fate }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.fate.is_cut.load(Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// What a viewer reads of a socket that is dropped when it has sent something.
    async fn read_of(fate: &Fate) -> io::Result<usize> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut viewer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = Socket::new(stream, fate.clone());
        // More than any socket takes in, so that the system still has some of it when it ends.
        let sending = async {
            loop {
                socket.write_all(&[7; 65_536]).await.unwrap();
            }
        };
        let full = std::time::Duration::from_millis(100);
        tokio::time::timeout(full, sending).await.unwrap_err();
        drop(socket);
        viewer.read_to_end(&mut Vec::new()).await
    }

    #[tokio::test]
    async fn one_that_is_closed_still_sends_and_one_that_is_cut_does_not() {
        let fate = Fate::default();
        assert!(read_of(&fate).await.unwrap() > 65_536);
        fate.cut();
        assert_eq!(read_of(&fate).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
