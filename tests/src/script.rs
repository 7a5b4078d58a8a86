//! An origin that says whatever a test makes it say, byte by byte.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (requests, shutdown) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (answer, tasks) = (Arc::new(answer), TaskTracker::new());
        let (counter, stop) = (Arc::clone(&requests), shutdown.clone());
        tasks.clone().spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                counter.fetch_add(1, SeqCst);
                let answer = Arc::clone(&answer);
                tasks.spawn(async move {
                    // A client that hangs up early is part of many scripts.
                    let _hung_up = converse(stream, &*answer).await.is_err();
                });
            }
        });
        Self {
            address,
            requests,
            shutdown,
        }
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
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream
        .write_all(&answer(&String::from_utf8_lossy(&head)))
        .await?;
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

/// The answer of an origin that has no such blob.
pub fn not_found() -> Vec<u8> {
    let body = r#"{"error":{"status":"NOT_FOUND","code":404,"message":"no","details":[{"@type":"ErrorInfo","reason":"BLOB_NOT_FOUND","domain":"daemon.walrus.space","metadata":{}}]}}"#;
    let head = format!(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
