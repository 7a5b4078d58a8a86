//! A viewer of one connection a request.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// An answer, to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether the body is as long as was promised.
    pub fn is_whole(&self) -> bool {
        self.header("content-length") == self.body.len().to_string()
    }
}

pub async fn begin(edge: SocketAddr, method: &str, path: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(edge).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the connection ends, however it ends.
pub async fn end(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let _is_reset = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().is_err();
    let at = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let headers = rest.lines().filter_map(|line| line.split_once(": "));
    Reply {
        status: first.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: bytes[at + 4..].to_vec(),
    }
}

pub async fn request(edge: SocketAddr, method: &str, path: &str, more: &str) -> Reply {
    end(begin(edge, method, path, more).await).await
}

pub async fn get(edge: SocketAddr, path: &str) -> Reply {
    request(edge, "GET", path, "").await
}
