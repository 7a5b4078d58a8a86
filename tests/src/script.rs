//! An origin that says whatever a test makes it say, byte by byte.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Answers each request with the bytes that `answer` gives for its head, then closes.
#[derive(Debug)]
pub struct ScriptedOrigin {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

impl ScriptedOrigin {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::with_pace(answer, None).await
    }

    /// Starts an origin that gives the same answer to all, pausing after each byte of it.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn trickling(answer: Vec<u8>, pause: Duration) -> Self {
        Self::with_pace(move |_| answer.clone(), Some(pause)).await
    }

    async fn with_pace(
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        pause: Option<Duration>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (requests, shutdown) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (answer, tasks) = (Arc::new(answer), TaskTracker::new());
        let (counter, stop) = (Arc::clone(&requests), shutdown.clone());
        tasks.clone().spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                counter.fetch_add(1, SeqCst);
                let answer = Arc::clone(&answer);
                tasks.spawn(async move {
                    // A client that hangs up early is part of many scripts.
                    let _hung_up = converse(stream, &*answer, pause).await.is_err();
                });
            }
        });
        Self { address, requests, shutdown }
    }

    /// `http://…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for ScriptedOrigin {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn converse(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str) -> Vec<u8> + Sync),
    pause: Option<Duration>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let answer = answer(&String::from_utf8_lossy(&head));
    match pause {
        None => stream.write_all(&answer).await?,
        Some(pause) => {
            for byte in answer {
                stream.write_u8(byte).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    stream.shutdown().await
}

/// A 200 with these bytes and a `Content-Length` that is true.
pub fn ok(body: &[u8]) -> Vec<u8> {
    with_length(body, body.len())
}

/// A 200 with these bytes, that claims to have `length` of them.
pub fn with_length(body: &[u8], length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
