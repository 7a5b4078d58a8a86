//! What an edge is told at start: every key with its default, and what values make sense.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, NodeId, OriginName, Region, Span};
use wcdn_walrus::{BaseUrl, Encoding, Network};

use crate::access_log;
pub use crate::access_log::Format as LogFormat;

/// The configuration of an edge. `config.example.toml` shows every key with its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this node is.
    pub node: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// The Walrus network it serves.
    pub walrus: Walrus,
    /// The aggregators to fill from; empty means those of the network.
    #[serde(rename = "origin", skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginSpec>,
    /// What is kept, and in how much memory.
    pub cache: Cache,
    /// How bytes are checked against their id.
    pub verify: Verify,
    /// How origins are asked.
    pub fetch: Fetch,
    /// What viewers may take.
    pub limits: Limits,
    /// The log of requests.
    pub access_log: AccessLog,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the node, unique in its cluster; shows in `Cache-Status`.
    pub id: NodeId,
    /// The region it stands in.
    pub region: Region,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For viewers.
    pub edge: SocketAddr,
    /// For the operator: `/livez`, `/readyz`, `/metrics`. Keep it off the internet.
    pub admin: SocketAddr,
}

/// The Walrus network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Walrus {
    /// Whose public aggregators to use when no `[[origin]]` is given.
    pub network: Network,
    /// Shards of the network: part of every blob id. Both public networks have 1000.
    pub n_shards: u16,
}

/// One aggregator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginSpec {
    /// Its name in logs and metrics.
    pub name: OriginName,
    /// Where it answers, such as `https://aggregator.example.com`.
    pub url: BaseUrl,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Bytes for entries and fills in flight together, overhead included; never exceeded.
    pub memory: ByteSize,
    /// How long "there is no such blob" is believed; at most 2 s, since blobs appear late.
    pub negative_ttl: Span,
}

/// When bytes are checked against the blob id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Always, unless all workers are busy: then served with a label, and checked later.
    Auto,
    /// Always; what cannot be checked is not served.
    Strict,
    /// Never.
    Off,
}

/// How bytes are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// `auto`, `strict` or `off`.
    pub mode: Mode,
    /// Blobs up to this size are checked before their first byte leaves.
    pub hold: ByteSize,
    /// Larger blobs are not checked, and say so.
    pub max: ByteSize,
    /// Threads that check; 0 means half of the cores, at least one.
    pub workers: usize,
    /// How long a checked answer waits for a free worker.
    pub wait: Span,
    /// Checks that may wait; more are not begun.
    pub max_queue: usize,
}

/// How origins are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// To open a connection.
    pub connect_timeout: Span,
    /// From request to response head.
    pub head_timeout: Span,
    /// Between two pieces of a body.
    pub idle_timeout: Span,
    /// The least a body may arrive at, in bytes a second over `min_rate_window`.
    pub min_rate: ByteSize,
    /// Over how long `min_rate` is measured.
    pub min_rate_window: Span,
    /// From a miss to the first byte for the viewer.
    pub first_byte_timeout: Span,
    /// Origins asked for one fill before it is given up; those that lied are not counted.
    pub tries: usize,
    /// Blobs too large to hold are fetched in pieces of this size.
    pub slice: ByteSize,
    /// Fills under way at once.
    pub max_fills: usize,
}

/// What viewers may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; one more gets 503.
    pub max_connections: usize,
    /// Bytes of a request head.
    pub max_head: ByteSize,
    /// Fields of a request head.
    pub max_headers: usize,
    /// From connecting to the first byte of a request.
    pub first_byte_timeout: Span,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Span,
    /// Between two requests of a connection.
    pub idle_timeout: Span,
    /// How long a viewer may take no byte of a response.
    pub send_timeout: Span,
    /// The least a viewer may take, in bytes a second over `send_timeout`.
    pub min_send_rate: ByteSize,
    /// From the signal to stop until connections are refused: load balancers learn from `/readyz`.
    pub drain_delay: Span,
    /// From then on until what still runs is cut.
    pub drain_timeout: Span,
}

/// The log of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `off`, `stdout`, or the path of a file.
    pub to: PathBuf,
    /// `json` or `clf`.
    pub format: LogFormat,
    /// Share of requests written, 0 to 1; answers of 500 and above always are.
    pub sample: f64,
}

impl Default for Identity {
    fn default() -> Self {
        Self { id: "edge-1".parse().expect("a name"), region: "local".parse().expect("a name") }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { edge: ([127, 0, 0, 1], 4510).into(), admin: ([127, 0, 0, 1], 4511).into() }
    }
}

impl Default for Walrus {
    fn default() -> Self {
        Self { network: Network::Mainnet, n_shards: Encoding::PUBLIC.n_shards() }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { memory: ByteSize::mib(1024), negative_ttl: Span::secs(2) }
    }
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            hold: ByteSize::mib(1),
            max: ByteSize::mib(256),
            workers: 0,
            wait: Span::secs(1),
            max_queue: 256,
        }
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            connect_timeout: Span::secs(2),
            head_timeout: Span::secs(10),
            idle_timeout: Span::secs(10),
            min_rate: ByteSize::new(32 << 10),
            min_rate_window: Span::secs(30),
            first_byte_timeout: Span::secs(30),
            tries: 3,
            slice: ByteSize::mib(4),
            max_fills: 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_head: ByteSize::new(32 << 10),
            max_headers: 100,
            first_byte_timeout: Span::secs(10),
            head_timeout: Span::secs(10),
            idle_timeout: Span::secs(60),
            send_timeout: Span::secs(30),
            min_send_rate: ByteSize::new(1 << 10),
            drain_delay: Span::secs(5),
            drain_timeout: Span::secs(30),
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: "off".into(), format: LogFormat::Json, sample: 1.0 }
    }
}

/// The least memory that leaves room for fills beside entries.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);
/// A request head cannot be read in less.
const LEAST_HEAD: ByteSize = ByteSize::new(8 << 10);

impl Config {
    /// Everything wrong with the values, at once.
    ///
    /// # Errors
    /// [`Problems`] names each key, its value and the remedy.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.check_sizes(&mut problems);
        self.check_times(&mut problems);
        if let Err(error) = Encoding::new(self.walrus.n_shards) {
            problems.push("walrus.n_shards", error);
        }
        let mut names: Vec<_> = self.origins.iter().map(|origin| &origin.name).collect();
        names.sort();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            problems.push("origin", format!("has {} twice; names are unique", pair[0]));
        }
        if !(0.0..=1.0).contains(&self.access_log.sample) {
            let sample = self.access_log.sample;
            problems.push("access_log.sample", format!("is {sample}; it lies between 0 and 1"));
        }
        problems.into_result()
    }

    fn check_sizes(&self, problems: &mut Problems) {
        let least = |problems: &mut Problems, key, value: ByteSize, least: ByteSize| {
            if value < least {
                problems.push(key, format!("is {value}; the least is {least}"));
            }
        };
        least(problems, "cache.memory", self.cache.memory, LEAST_MEMORY);
        least(problems, "limits.max_head", self.limits.max_head, LEAST_HEAD);
        least(problems, "fetch.slice", self.fetch.slice, ByteSize::new(64 << 10));
        if self.fetch.slice.bytes() > self.cache.memory.bytes() / 16 {
            let (slice, memory) = (self.fetch.slice, self.cache.memory);
            problems.push(
                "fetch.slice",
                format!("is {slice}; the most is a sixteenth of cache.memory ({memory})"),
            );
        }
        if self.verify.max < self.verify.hold {
            let (max, hold) = (self.verify.max, self.verify.hold);
            problems.push("verify.max", format!("is {max}; the least is verify.hold ({hold})"));
        }
        let counts = [
            ("limits.max_connections", self.limits.max_connections),
            ("limits.max_headers", self.limits.max_headers),
            ("fetch.tries", self.fetch.tries),
            ("fetch.max_fills", self.fetch.max_fills),
            ("verify.max_queue", self.verify.max_queue),
        ];
        for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
            problems.push(key, "is 0; the least is 1");
        }
    }

    fn check_times(&self, problems: &mut Problems) {
        let positive = [
            ("fetch.connect_timeout", self.fetch.connect_timeout),
            ("fetch.head_timeout", self.fetch.head_timeout),
            ("fetch.idle_timeout", self.fetch.idle_timeout),
            ("fetch.min_rate_window", self.fetch.min_rate_window),
            ("fetch.first_byte_timeout", self.fetch.first_byte_timeout),
            ("limits.first_byte_timeout", self.limits.first_byte_timeout),
            ("limits.head_timeout", self.limits.head_timeout),
            ("limits.idle_timeout", self.limits.idle_timeout),
            ("limits.send_timeout", self.limits.send_timeout),
        ];
        for (key, _) in positive.into_iter().filter(|(_, span)| span.duration().is_zero()) {
            problems.push(key, "is 0; waiting for no time at all would refuse everything");
        }
        if self.cache.negative_ttl > Span::secs(2) {
            let ttl = self.cache.negative_ttl;
            problems.push("cache.negative_ttl", format!("is {ttl}; the most is 2s"));
        }
    }

    /// The origins to use: those given, or the network's.
    pub fn origins(&self) -> Vec<OriginSpec> {
        if !self.origins.is_empty() {
            return self.origins.clone();
        }
        let operators = self.walrus.network.aggregators();
        operators.into_iter().map(|one| OriginSpec { name: one.name, url: one.url }).collect()
    }
}

impl AccessLog {
    /// The same, for the log itself.
    pub(crate) fn settings(&self) -> access_log::Settings {
        let target = match self.to.to_str() {
            Some("off") => access_log::Target::Off,
            Some("stdout") => access_log::Target::Stdout,
            _ => access_log::Target::File(self.to.clone()),
        };
        access_log::Settings { target, format: self.format, sample: self.sample }
    }
}

#[cfg(test)]
mod tests;
