//! What is kept, and in how much memory.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, Span};

use super::at_least;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Bytes for entries and fills in flight together, overhead included; never exceeded.
    pub memory: ByteSize,
    /// Bytes beside those for what is pinned; never exceeded. What finds no room there is not held.
    pub pinned_memory: ByteSize,
    /// How long "there is no such blob" is believed; at most 2 s, since blobs appear late.
    pub negative_ttl: Span,
    /// Entries held for longer than this have their bytes checked again, one by one, each time
    /// this has passed; 0 means never.
    pub scrub_after: Span,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(1024),
            pinned_memory: ByteSize::mib(64),
            negative_ttl: Span::secs(2),
            scrub_after: Span::secs(6 * 3600),
        }
    }
}

/// The least memory that leaves room for fills beside entries.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

impl Cache {
    pub(super) fn check(&self, problems: &mut Problems) {
        at_least(problems, "cache.memory", self.memory, LEAST_MEMORY);
        if self.negative_ttl > Span::secs(2) {
            let ttl = self.negative_ttl;
            problems.push("cache.negative_ttl", format!("is {ttl}; the most is 2s"));
        }
    }
}
