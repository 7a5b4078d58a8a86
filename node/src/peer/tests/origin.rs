//! An origin that is honest.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// An origin that has one blob, and what it was asked: whole, or from a byte on.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) url: String,
    pub(super) asked: Asks,
    /// Whether it leaves the first request without an answer.
    pub(super) holds_first: Arc<AtomicBool>,
}

pub(super) type Asks = Arc<Mutex<Vec<Option<u64>>>>;

impl Origin {
    pub(super) async fn start(tasks: &TaskTracker, body: Bytes) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, holds_first) = (Asks::default(), Arc::<AtomicBool>::default());
        let (asks, holds, answering) = (asked.clone(), holds_first.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asks, holds) = (asks.clone(), holds.clone());
                answering.spawn(answer(stream, body.clone(), asks, holds));
            }
        });
        Self { url, asked, holds_first }
    }
}

async fn answer(mut stream: TcpStream, body: Bytes, asks: Asks, holds_first: Arc<AtomicBool>) {
    let (mut request, mut got) = ([0; 4096], 0);
    while !request[..got].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[got..]).await {
            Ok(0) | Err(_) => return,
            Ok(more) => got += more,
        }
    }
    let text = String::from_utf8_lossy(&request[..got]).to_lowercase();
    let range = text.split_once("range: bytes=").and_then(|(_, rest)| {
        let (from, rest) = rest.split_once('-')?;
        Some((from.parse::<u64>().ok()?, rest.split_once('\r')?.0.parse::<u64>().ok()?))
    });
    asks.lock().push(range.map(|(from, _)| from));
    if holds_first.swap(false, Relaxed) {
        let _ended = stream.read(&mut request).await;
        return;
    }
    let (head, bytes) = match range {
        None => ("200 OK\r\n".to_owned(), body.clone()),
        Some((from, to)) => {
            let part = usize::try_from(from).unwrap()..usize::try_from(to).unwrap() + 1;
            let head = format!("206 P\r\ncontent-range: bytes {from}-{to}/{}\r\n", body.len());
            (head, body.slice(part))
        }
    };
    let length = bytes.len();
    let head = format!("HTTP/1.1 {head}content-length: {length}\r\nconnection: close\r\n\r\n");
    drop(stream.write_all(&[head.as_bytes(), &bytes].concat()).await);
}
