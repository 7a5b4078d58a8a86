//! What viewers may take.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, Span};

use super::{Fetch, at_least, not_zero, takes_time};

/// What viewers may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; one more gets 503.
    pub max_connections: usize,
    /// Connections at once of one client: an IPv4 address, or an IPv6 network of 64 bits.
    pub max_connections_per_client: usize,
    /// HTTP/2 requests at once on one connection.
    pub max_streams: u32,
    /// HTTP/2 requests at once of one client, over all its connections; one more gets 429.
    pub max_streams_per_client: u32,
    /// Requests a second of one client, two seconds' worth at once; one more gets 429. 0 is no
    /// limit.
    pub requests_per_second_per_client: u32,
    /// Fills a second that one client may begin; one more gets 429. 0 is no limit.
    pub misses_per_client: u32,
    /// Fills that one client may begin at once.
    pub miss_burst_per_client: u32,
    /// Fills of one client under way at once; one more gets 429. At most a quarter of
    /// `fetch.max_fills`.
    pub fills_per_client: u32,
    /// Fills a second of the whole node, four seconds' worth at once; one more gets 503. 0 is no
    /// limit.
    pub misses_per_second: u32,
    /// Bytes of a request head.
    pub max_head: ByteSize,
    /// Fields of a request head.
    pub max_headers: usize,
    /// From connecting to the end of the TLS handshake.
    pub handshake_timeout: Span,
    /// From connecting, or from the end of the TLS handshake, to the first byte of a request.
    pub first_byte_timeout: Span,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Span,
    /// Between two requests of a connection.
    pub idle_timeout: Span,
    /// Over how long `min_send_rate` is measured.
    pub send_timeout: Span,
    /// The least a connection may take of what it is owed, in bytes a second over `send_timeout`.
    pub min_send_rate: ByteSize,
    /// From the signal to stop until connections are refused: load balancers learn from `/readyz`.
    pub drain_delay: Span,
    /// From then on until what still runs is cut.
    pub drain_timeout: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_connections_per_client: 512,
            max_streams: 100,
            max_streams_per_client: 2_048,
            requests_per_second_per_client: 0,
            misses_per_client: 50,
            miss_burst_per_client: 1_000,
            fills_per_client: 128,
            misses_per_second: 2_000,
            max_head: ByteSize::new(32 << 10),
            max_headers: 100,
            handshake_timeout: Span::secs(10),
            first_byte_timeout: Span::secs(10),
            head_timeout: Span::secs(10),
            idle_timeout: Span::secs(60),
            send_timeout: Span::secs(30),
            min_send_rate: ByteSize::new(16 << 10),
            drain_delay: Span::secs(5),
            drain_timeout: Span::secs(30),
        }
    }
}

/// A request head cannot be read in less.
const LEAST_HEAD: ByteSize = ByteSize::new(8 << 10);

impl Limits {
    pub(super) fn check(&self, fetch: &Fetch, problems: &mut Problems) {
        let (fills, most) = (self.fills_per_client, fetch.max_fills);
        if wide(fills) > (most / 4).max(1) {
            let problem = format!("is {fills}; the most is a quarter of fetch.max_fills ({most})");
            problems.push("limits.fills_per_client", problem);
        }
        at_least(problems, "limits.max_head", self.max_head, LEAST_HEAD);
        not_zero(
            problems,
            [
                ("limits.max_connections", self.max_connections),
                ("limits.max_connections_per_client", self.max_connections_per_client),
                ("limits.max_streams", wide(self.max_streams)),
                ("limits.max_streams_per_client", wide(self.max_streams_per_client)),
                ("limits.miss_burst_per_client", wide(self.miss_burst_per_client)),
                ("limits.fills_per_client", wide(self.fills_per_client)),
                ("limits.max_headers", self.max_headers),
            ],
        );
        takes_time(
            problems,
            [
                ("limits.handshake_timeout", self.handshake_timeout),
                ("limits.first_byte_timeout", self.first_byte_timeout),
                ("limits.head_timeout", self.head_timeout),
                ("limits.idle_timeout", self.idle_timeout),
                ("limits.send_timeout", self.send_timeout),
            ],
        );
    }
}

fn wide(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
