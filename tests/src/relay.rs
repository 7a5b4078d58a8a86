//! A way to a server over TCP that can be cut: then nothing passes, and nobody is told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The way.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    is_open: watch::Sender<bool>,
    _end: tokio_util::sync::DropGuard,
}

/// Connections at once.
const CONNECTIONS: usize = 64;

/// Bytes that are on their way in one direction.
const PIECE: usize = 16 << 10;

impl Relay {
    /// A way that leads nowhere yet: who comes waits.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn bind() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (target, leads_to) = watch::channel(None);
        let (is_open, opened) = watch::channel(true);
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(listener, leads_to, opened, end.clone(), tasks.clone());
        tasks.spawn(end.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, target, is_open, _end: end.drop_guard() })
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it lead to a server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.target.send_replace(Some(server));
    }

    /// Cuts it: what is sent waits, as do those who connect, and the end of a connection is not seen.
    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Opens it again.
    pub fn heal(&self) {
        self.is_open.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    target: watch::Receiver<Option<SocketAddr>>,
    is_open: watch::Receiver<bool>,
    end: CancellationToken,
    tasks: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else { continue };
        let (target, is_open) = (target.clone(), is_open.clone());
        let relaying = async move {
            // Either side sees that the other is gone, as soon as it can be seen.
            let _ended = relay(client, target, is_open).await;
            drop(place);
        };
        tasks.spawn(end.clone().run_until_cancelled_owned(relaying));
    }
}

async fn relay(
    mut client: TcpStream,
    mut target: watch::Receiver<Option<SocketAddr>>,
    is_open: watch::Receiver<bool>,
) -> std::io::Result<()> {
    open(&mut is_open.clone()).await;
    let server = target.wait_for(Option::is_some).await.ok().and_then(|server| *server);
    let Some(server) = server else { return Ok(()) };
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let ended = tokio::try_join!(
        pass(from_client, to_server, is_open.clone()),
        pass(from_server, to_client, is_open.clone()),
    );
    open(&mut is_open.clone()).await;
    ended.map(drop)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_open: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        open(&mut is_open).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

async fn open(is_open: &mut watch::Receiver<bool>) {
    // Without its sender the relay is over, and so is every connection.
    drop(is_open.wait_for(|is_open| *is_open).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_while_it_is_cut_arrives_when_it_is_healed() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::bind().await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        relay.lead_to(server.local_addr().unwrap());
        client.write_all(b"a").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        relay.cut();
        client.write_all(b"b").await.unwrap();
        // The one that comes now waits too, and what it waits for is not the other.
        let waiting = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(served.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        relay.heal();
        assert_eq!(served.read_u8().await.unwrap(), b'b');
        server.accept().await.unwrap();
        drop((client, waiting));
        assert_eq!(served.read(&mut [0]).await.unwrap(), 0, "its end is seen");
    }
}
