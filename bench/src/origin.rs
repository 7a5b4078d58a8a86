//! Origins that do as a scenario says, within this process, so that both see the same clock.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;

/// An aggregator, as far as an edge needs one. It stays until this program ends.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) port: u16,
    requests: Arc<AtomicU64>,
}

impl Origin {
    /// Starts one that answers the request of a number for the blob of an id, as text.
    pub(crate) fn start(
        answer: impl Fn(u64, &str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (requests, answer) = (Arc::new(AtomicU64::new(0)), Arc::new(answer));
        let counter = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, counter) = (Arc::clone(&answer), Arc::clone(&counter));
                // An edge that is stopped breaks off.
                thread::spawn(move || converse(stream, &*answer, &counter).is_err());
            }
        });
        Ok(Self { port, requests })
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

fn converse(
    mut stream: TcpStream,
    answer: &impl Fn(u64, &str, &mut TcpStream) -> io::Result<()>,
    counter: &AtomicU64,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next().transpose()? {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|field| !field.is_empty()) {}
        answer(counter.fetch_add(1, Relaxed), id, &mut stream)?;
    }
    Ok(())
}

/// Sends the head of a 200.
pub(crate) fn head(stream: &mut TcpStream, length: usize) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")
}

/// Sends a 200, or a 404 where there is nothing to send.
pub(crate) fn send(stream: &mut TcpStream, body: Option<&Bytes>) -> io::Result<()> {
    let Some(body) = body else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    };
    head(stream, body.len())?;
    stream.write_all(body)
}
