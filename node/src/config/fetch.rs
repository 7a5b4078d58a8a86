//! How origins are asked.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, Span};

use super::{at_least, not_zero, takes_time};

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
    /// Origins among which blobs are spread: the fastest of those that are well.
    pub spread: usize,
    /// Requests to one origin at once.
    pub max_per_origin: usize,
    /// Requests per second to one origin; four seconds' worth may come at once.
    pub origin_rate: u32,
    /// Share of requests that may be sent to a second origin because the first lets us wait longer
    /// than 95 of 100 do; 0 for none.
    pub hedge: f64,
    /// Blobs too large to hold are fetched in pieces of this size.
    pub slice: ByteSize,
    /// Fills under way at once.
    pub max_fills: usize,
    /// Blobs that are pinned or preloaded and fetched at once, behind what viewers ask for.
    pub max_background: usize,
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
            spread: 8,
            max_per_origin: 64,
            origin_rate: 200,
            hedge: 0.1,
            slice: ByteSize::mib(4),
            max_fills: 1024,
            max_background: 4,
        }
    }
}

impl Fetch {
    pub(super) fn check(&self, problems: &mut Problems) {
        at_least(problems, "fetch.slice", self.slice, ByteSize::new(64 << 10));
        not_zero(
            problems,
            [
                ("fetch.tries", self.tries),
                ("fetch.spread", self.spread),
                ("fetch.max_per_origin", self.max_per_origin),
                ("fetch.origin_rate", self.origin_rate as usize),
                ("fetch.max_fills", self.max_fills),
                ("fetch.max_background", self.max_background),
            ],
        );
        if !(0.0..=1.0).contains(&self.hedge) {
            problems.push("fetch.hedge", format!("is {}; it lies between 0 and 1", self.hedge));
        }
        takes_time(
            problems,
            [
                ("fetch.connect_timeout", self.connect_timeout),
                ("fetch.head_timeout", self.head_timeout),
                ("fetch.idle_timeout", self.idle_timeout),
                ("fetch.min_rate_window", self.min_rate_window),
                ("fetch.first_byte_timeout", self.first_byte_timeout),
            ],
        );
    }
}
