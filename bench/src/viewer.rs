//! A viewer: one connection, one request at a time, and when which byte came.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::time::Instant;

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Viewer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back; the body has been counted and thrown away.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    /// A header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map_or("", |(_, value)| value.trim())
    }
}

impl Viewer {
    /// Connects.
    pub(crate) fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, buffer: vec![0; 256 << 10] })
    }

    /// Asks, and reads all of the answer, which must be a 200.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.watch(path, |_, _| ())
    }

    /// The same, and tells how much of the body was here at which time.
    pub(crate) fn watch(
        &mut self,
        path: &str,
        came: impl FnMut(u64, Instant),
    ) -> anyhow::Result<Answer> {
        let answer = self.try_get(path, came)?;
        ensure!(answer.status == 200, "{path} is answered {}", answer.status);
        Ok(answer)
    }

    /// The same, whatever the status.
    pub(crate) fn try_get(
        &mut self,
        path: &str,
        mut came: impl FnMut(u64, Instant),
    ) -> anyhow::Result<Answer> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n")?;
        let (answer, mut here) = self.head()?;
        let length: u64 = answer.header("content-length").parse().context("no length")?;
        loop {
            if here > 0 {
                came(here, Instant::now());
            }
            if here >= length {
                return Ok(answer);
            }
            let read = self.stream.read(&mut self.buffer)?;
            ensure!(read > 0, "{path} broke off after {here} of {length} bytes");
            here += read as u64;
        }
    }

    /// The body as text.
    pub(crate) fn text(port: u16, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        Ok(body.to_owned())
    }

    /// The head, and how many bytes of the body came with it.
    fn head(&mut self) -> anyhow::Result<(Answer, u64)> {
        let mut end = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[end..])?;
            ensure!(read > 0, "no answer");
            end += read;
            let head = self.buffer[..end].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(head) = head {
                let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
                let status = status.context("no status")?;
                return Ok((Answer { status, head: text }, (end - head - 4) as u64));
            }
        }
    }
}
