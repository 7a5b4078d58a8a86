//! HTTP/2 by hand: frames as a viewer sends them who keeps to no rule.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What every connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
#[allow(missing_docs, reason = "the names are those of the specification")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// `END_STREAM | END_HEADERS`.
pub const END: u8 = 0x5;

/// Bytes of one frame.
///
/// # Panics
/// When the payload is longer than a frame can be.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a GET: indexed and literal fields, no Huffman code.
///
/// # Panics
/// When a field is longer than 126 bytes.
pub fn get(authority: Option<&str>, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    fn text(into: &mut Vec<u8>, text: &str) {
        into.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("a short field"));
        into.extend_from_slice(text.as_bytes());
    }
    let mut block = vec![0x82, 0x86, 0x04];
    text(&mut block, path);
    if let Some(authority) = authority {
        block.push(0x01);
        text(&mut block, authority);
    }
    for (name, value) in more {
        block.push(0x00);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// One of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
}

impl Line {
    /// Connects and says hello with these settings.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.expect("the edge listens");
        stream.set_nodelay(true).expect("a socket has the option");
        let mut line = Self { stream };
        let setting =
            |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
        let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &settings)].concat();
        line.send(&hello).await.expect("a new connection takes a few bytes");
        line
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other end has hung up.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends the same bytes again and again, as often as `times` at most, until the other end hangs
    /// up; whether it did. What comes back is read, for who floods must not be held up by it.
    pub async fn flood(self, bytes: impl Fn(u32) -> Vec<u8>, times: u32) -> bool {
        let (mut read, mut write) = self.stream.into_split();
        let sending = async {
            for n in 0..times {
                if write.write_all(&bytes(n)).await.is_err() {
                    return;
                }
            }
            // Until the other end has had its say.
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut came = vec![0; 16 << 10];
            while !matches!(read.read(&mut came).await, Ok(0) | Err(_)) {}
        };
        let ended = async {
            tokio::select! { () = sending => {}, () = reading => {} }
        };
        timeout(Duration::from_secs(20), ended).await.is_ok()
    }

    /// The next frame; `None` once the connection has ended.
    ///
    /// # Panics
    /// When nothing comes for long.
    pub async fn next(&mut self) -> Option<Came> {
        let came = timeout(Duration::from_secs(20), self.read()).await;
        came.expect("a frame comes, or an end").ok()
    }

    async fn read(&mut self) -> io::Result<Came> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, s, t, u, v] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok(Came { kind, flags, stream: u32::from_be_bytes([s, t, u, v]), payload })
    }

    /// The next frame of this kind; `None` if the connection ends before.
    pub async fn next_of(&mut self, kind: u8) -> Option<Came> {
        loop {
            let came = self.next().await?;
            if came.kind == kind {
                return Some(came);
            }
        }
    }
}
