//! A line for each request, apart from the program's own log.

mod line;
mod writer;

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};

pub use self::line::Format;
use self::writer::{Output, write_lines};

/// Where requests are logged. Clones share the queue.
///
/// A request never waits for its line: when the queue is full, or the disk is, the line is dropped
/// and counted.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Counter,
    sample: f64,
}

/// What the writer is told.
#[derive(Debug)]
enum Message {
    /// Write this.
    Line(Box<Record>),
    /// Write what came before, and end.
    Close,
}

/// What is logged, where and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to.
    pub target: Target,
    /// In which form.
    pub format: Format,
    /// Share of requests, 0 to 1; errors of 500 and above are always logged.
    pub sample: f64,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// The end of a file, which is opened again once something has moved it away.
    File(PathBuf),
}

/// One request and its response.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Record {
    /// When it came.
    #[serde(with = "line::rfc3339")]
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// GET, HEAD, …
    pub method: String,
    /// Path and query, as far as is logged.
    pub path: String,
    /// Such as `HTTP/1.1`.
    pub protocol: String,
    /// The status of the response.
    pub status: u16,
    /// Bytes of the body handed to the connection.
    pub bytes: u64,
    /// From request head to the end of the response.
    pub micros: u64,
    /// `HIT`, `MISS`, or `-` where the cache had no part.
    pub cache: String,
    /// Where the bytes came from.
    pub source: String,
    /// The request's id.
    pub request_id: String,
    /// What the viewer says it is, as far as is logged.
    pub user_agent: String,
    /// Whether the response reached its end.
    pub completed: bool,
}

/// Lines that may wait for the disk.
const QUEUE: usize = 8_192;

impl AccessLog {
    /// Opens the target and starts its writer, which counts the lines it must drop.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(settings: Settings, dropped: Counter) -> io::Result<Self> {
        let output = match settings.target {
            Target::Off => return Ok(Self { shared: None }),
            Target::Stdout => Output::Stdout,
            Target::File(path) => Output::open(path)?,
        };
        let (queue, lines) = sync_channel(QUEUE);
        let count = dropped.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(lines, output, settings.format, &count))?;
        let shared =
            Shared { queue, writer: Mutex::new(Some(writer)), dropped, sample: settings.sample };
        Ok(Self { shared: Some(Arc::new(shared)) })
    }

    /// Whether nothing is logged at all.
    pub fn is_off(&self) -> bool {
        self.shared.is_none()
    }

    /// Hands a line to the writer, if this request is among those logged.
    pub fn write(&self, record: Record) {
        let Some(shared) = &self.shared else { return };
        if record.status < 500 && shared.sample < 1.0 && rand::random::<f64>() >= shared.sample {
            return;
        }
        if shared.queue.try_send(Message::Line(Box::new(record))).is_err() {
            shared.dropped.inc();
        }
    }

    /// Writes what waits, and ends the writer.
    pub fn close(&self) {
        let Some(shared) = &self.shared else { return };
        let Some(writer) = shared.writer.lock().take() else { return };
        if shared.queue.send(Message::Close).is_err() || writer.join().is_err() {
            tracing::error!("the writer of the access log panicked");
        }
    }
}

/// A record that waits for the end of its response.
#[derive(Debug)]
pub(crate) struct Pending {
    log: AccessLog,
    record: Record,
    began: tokio::time::Instant,
}

impl Pending {
    /// Begins a record, if anything is logged.
    pub(crate) fn begin(
        log: &AccessLog,
        client: IpAddr,
        head: &http::request::Parts,
        request_id: &http::HeaderValue,
        began: tokio::time::Instant,
    ) -> Option<Box<Self>> {
        if log.is_off() {
            return None;
        }
        let record = Record {
            time: SystemTime::now(),
            client,
            method: line::bounded(head.method.as_str(), 32),
            path: line::bounded(head.uri.path_and_query().map_or("", |path| path.as_str()), 1_024),
            protocol: format!("{:?}", head.version),
            status: 0,
            bytes: 0,
            micros: 0,
            cache: "-".into(),
            source: String::new(),
            request_id: request_id.to_str().unwrap_or_default().to_owned(),
            user_agent: line::bounded(
                &head
                    .headers
                    .get(http::header::USER_AGENT)
                    .map_or_else(Default::default, |value| {
                        String::from_utf8_lossy(value.as_bytes())
                    }),
                256,
            ),
            completed: false,
        };
        Some(Box::new(Self { log: log.clone(), record, began }))
    }

    /// Notes what the response is.
    pub(crate) fn answered(
        mut self: Box<Self>,
        status: http::StatusCode,
        cache: Option<&'static str>,
        source: &'static str,
    ) -> Box<Self> {
        self.record.status = status.as_u16();
        cache.unwrap_or("-").clone_into(&mut self.record.cache);
        source.clone_into(&mut self.record.source);
        self
    }

    /// Writes the record: the response has ended.
    pub(crate) fn ended(mut self: Box<Self>, bytes: u64, completed: bool) {
        self.record.bytes = bytes;
        self.record.completed = completed;
        let elapsed: Duration = self.began.elapsed();
        self.record.micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.log.write(self.record);
    }
}

#[cfg(test)]
mod tests;
