//! How bytes are checked against their id.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, Span};

use super::not_zero;

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
    /// Share of blobs attested by another node that are checked again in full, 0 to 1.
    pub recheck: f64,
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
            recheck: 0.01,
        }
    }
}

impl Verify {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.max < self.hold {
            let (max, hold) = (self.max, self.hold);
            problems.push("verify.max", format!("is {max}; the least is verify.hold ({hold})"));
        }
        not_zero(problems, [("verify.max_queue", self.max_queue)]);
        if !(0.0..=1.0).contains(&self.recheck) {
            let share = self.recheck;
            problems.push("verify.recheck", format!("is {share}; it lies between 0 and 1"));
        }
    }
}
