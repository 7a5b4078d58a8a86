//! What operators and edges may take.

use std::path::PathBuf;

use redis::IntoConnectionInfo;
use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, MAX_BLOCKS, MAX_PINS, Span};

use super::{not_zero, takes_time};

/// What operators and edges may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; one more waits to be accepted.
    pub max_connections: usize,
    /// Calls at once on one connection.
    pub max_streams: u32,
    /// Sessions of edges at once.
    pub max_sessions: usize,
    /// Streams of events and receipts at once.
    pub max_watches: usize,
    /// Bytes of one message.
    pub max_message: ByteSize,
    /// Ids that may be withheld at once.
    pub max_blocks: usize,
    /// Blobs that may be pinned at once.
    pub max_pins: usize,
    /// The longest that a call without a deadline may take until it is answered.
    pub call_timeout: Span,
    /// A stream whose reader takes nothing for this long is cut.
    pub stall_timeout: Span,
    /// Requests a minute without a key, of one address: an IPv4 address, or an IPv6 network of 64 bits.
    /// All of them may come at once. 0 is no limit.
    pub anonymous_per_minute: u32,
    /// Requests a minute of one key, unless the key has a number of its own. 0 is no limit.
    pub key_per_minute: u32,
    /// API keys that are none, of one address: so many at once, and a minute. 0 is no limit.
    pub failures_per_minute: u32,
    /// Control planes that share these numbers: where they do not count together in a Redis, each gives
    /// its part of them.
    pub replicas: u32,
    /// `redis://host:port` or, with TLS, `rediss://host:port`: where all control planes count together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<String>,
    /// The file with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_password_file: Option<PathBuf>,
    /// From the signal to stop until streams end.
    pub drain_delay: Span,
    /// From then on until what still runs is cut.
    pub drain_timeout: Span,
}

/// The largest request, 100,000 ids, needs 5.2 MB.
const LEAST_MESSAGE: ByteSize = ByteSize::mib(6);

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_streams: 256,
            max_sessions: 2_000,
            max_watches: 1_024,
            max_message: ByteSize::mib(8),
            max_blocks: 1_000_000,
            max_pins: MAX_PINS,
            call_timeout: Span::secs(30),
            stall_timeout: Span::secs(30),
            anonymous_per_minute: 100,
            key_per_minute: 1_000,
            failures_per_minute: 10,
            replicas: 1,
            redis_url: None,
            redis_password_file: None,
            drain_delay: Span::secs(1),
            drain_timeout: Span::secs(10),
        }
    }
}

impl Limits {
    fn check_redis(&self, problems: &mut Problems) {
        let Some(url) = &self.redis_url else {
            if self.redis_password_file.is_some() {
                problems
                    .push("limits.redis_url", "is missing; limits.redis_password_file needs it");
            }
            return;
        };
        match url.as_str().into_connection_info() {
            Ok(info) if info.redis_settings().password().is_some() => {
                problems.push(
                    "limits.redis_url",
                    "has a password; put it into a file, and name that in limits.redis_password_file",
                );
            }
            Ok(_) => {}
            // What it says may hold a password.
            Err(_) => problems.push(
                "limits.redis_url",
                "cannot be used; write redis://host:port or rediss://host:port",
            ),
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        not_zero(
            problems,
            [
                ("limits.max_connections", self.max_connections),
                ("limits.max_streams", self.max_streams.try_into().unwrap_or(usize::MAX)),
                ("limits.max_sessions", self.max_sessions),
                ("limits.max_watches", self.max_watches),
            ],
        );
        if self.replicas == 0 {
            problems.push("limits.replicas", "is 0; the least is 1, this one");
        }
        self.check_redis(problems);
        if self.max_message < LEAST_MESSAGE {
            let problem = format!("is {}; the least is {LEAST_MESSAGE}", self.max_message);
            problems.push("limits.max_message", problem);
        }
        if self.max_blocks > MAX_BLOCKS {
            let problem = format!("is {}; the most is {MAX_BLOCKS}, as on edges", self.max_blocks);
            problems.push("limits.max_blocks", problem);
        }
        if self.max_pins > MAX_PINS {
            let problem = format!("is {}; the most is {MAX_PINS}, as on edges", self.max_pins);
            problems.push("limits.max_pins", problem);
        }
        takes_time(
            problems,
            [
                ("limits.call_timeout", self.call_timeout),
                ("limits.stall_timeout", self.stall_timeout),
            ],
        );
    }
}
