//! A way to a server over TCP that can be cut: then nothing passes, and nobody is told. It can lose what
//! clients send, and break.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use parking_lot::Mutex;
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
    traffic: Arc<Traffic>,
    _end: tokio_util::sync::DropGuard,
}

/// What passes.
#[derive(Debug, Default)]
struct Traffic {
    /// Clients that came.
    clients: AtomicUsize,
    /// Whether what clients send is lost, and how many bytes were.
    is_lossy: AtomicBool,
    lost: AtomicUsize,
    /// Cancelled for the connections there are when it breaks.
    unbroken: Mutex<CancellationToken>,
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
        Self::bind_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// The same, beginning at this address.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn bind_at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (target, leads_to) = watch::channel(None);
        let (is_open, opened) = watch::channel(true);
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let traffic = Arc::<Traffic>::default();
        let way = Way { target: leads_to, is_open: opened, traffic: Arc::clone(&traffic) };
        let accepting = accept(listener, way, end.clone(), tasks.clone());
        tasks.spawn(end.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, target, is_open, traffic, _end: end.drop_guard() })
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

    /// From now on what clients send is lost, until it breaks.
    pub fn lose(&self) {
        self.traffic.is_lossy.store(true, SeqCst);
    }

    /// Bytes that were lost so far.
    pub fn lost(&self) -> usize {
        self.traffic.lost.load(SeqCst)
    }

    /// Breaks every connection that there is; whoever comes again passes.
    pub fn sever(&self) {
        // First of all: no byte is lost, and then another passes.
        std::mem::take(&mut *self.traffic.unbroken.lock()).cancel();
        self.traffic.is_lossy.store(false, SeqCst);
    }

    /// How often a client came.
    pub fn clients(&self) -> usize {
        self.traffic.clients.load(SeqCst)
    }
}

/// What a connection goes by.
#[derive(Debug, Clone)]
struct Way {
    target: watch::Receiver<Option<SocketAddr>>,
    is_open: watch::Receiver<bool>,
    traffic: Arc<Traffic>,
}

async fn accept(listener: TcpListener, way: Way, end: CancellationToken, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else { continue };
        way.traffic.clients.fetch_add(1, SeqCst);
        let (way, unbroken) = (way.clone(), way.traffic.unbroken.lock().clone());
        let relaying = async move {
            // Either side sees that the other is gone, as soon as it can be seen.
            let _ended = unbroken.run_until_cancelled(relay(client, way)).await;
            drop(place);
        };
        tasks.spawn(end.clone().run_until_cancelled_owned(relaying));
    }
}

async fn relay(mut client: TcpStream, way: Way) -> std::io::Result<()> {
    let Way { mut target, is_open, traffic } = way;
    open(&mut is_open.clone()).await;
    let server = target.wait_for(Option::is_some).await.ok().and_then(|server| *server);
    let Some(server) = server else { return Ok(()) };
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let ended = tokio::try_join!(
        pass(from_client, to_server, is_open.clone(), Some(&traffic)),
        pass(from_server, to_client, is_open.clone(), None),
    );
    open(&mut is_open.clone()).await;
    ended.map(drop)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_open: watch::Receiver<bool>,
    lossy: Option<&Traffic>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        open(&mut is_open).await;
        if length == 0 {
            return to.shutdown().await;
        }
        match lossy.filter(|traffic| traffic.is_lossy.load(SeqCst)) {
            Some(traffic) => drop(traffic.lost.fetch_add(length, SeqCst)),
            None => to.write_all(&piece[..length]).await?,
        }
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

    #[tokio::test]
    async fn what_is_lost_never_arrives_and_what_breaks_is_seen_to() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let relay = Relay::bind().await.unwrap();
        relay.lead_to(server.local_addr().unwrap());
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        relay.lose();
        client.write_all(b"abc").await.unwrap();
        crate::eventually("it is lost", async || relay.lost() == 3).await;
        served.write_all(b"d").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'd', "the other direction passes");
        relay.sever();
        assert_eq!(served.read(&mut [0]).await.unwrap_or_default(), 0);
        assert_eq!(client.read(&mut [0]).await.unwrap_or_default(), 0);
        let mut again = TcpStream::connect(relay.address()).await.unwrap();
        again.write_all(b"e").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        assert_eq!((served.read_u8().await.unwrap(), relay.clients()), (b'e', 2));
    }
}
