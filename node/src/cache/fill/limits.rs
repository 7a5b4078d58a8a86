//! The sizes that decide how a blob is fetched.

use wcdn_walrus::Encoding;

use super::Wish;
use crate::config::{Config, Mode};

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Up to here nothing leaves before the check.
    pub(super) hold: u64,
    /// Up to here a blob is held as a whole.
    pub(super) whole: u64,
    /// No blob is longer than this.
    pub(super) encodable: u64,
    /// Larger ones come in slices of this.
    pub(super) slice: u64,
    /// Whether the end of a response waits for the check.
    pub(super) checks: bool,
    /// Whether what cannot be checked is refused.
    pub(super) strict: bool,
    /// The share of blobs attested by others that are checked again.
    pub(super) recheck: f64,
    /// Fills at once.
    fills: usize,
}

/// Share of the memory budget that one blob may take: half of what entries leave to fills.
const WHOLE_SHARE: u64 = 8;

impl Limits {
    pub(super) fn of(config: &Config, encoding: Encoding) -> Self {
        let checks = config.verify.mode != Mode::Off;
        let share = config.cache.memory.bytes() / WHOLE_SHARE;
        Self {
            hold: if checks { config.verify.hold.bytes() } else { 0 },
            whole: if checks { share.min(config.verify.max.bytes()) } else { share },
            encodable: encoding.max_blob_len(),
            slice: config.fetch.slice.bytes(),
            checks,
            strict: config.verify.mode == Mode::Strict,
            recheck: if checks { config.verify.recheck } else { 0.0 },
            fills: config.fetch.max_fills,
        }
    }

    /// Fills at once for whoever is not a viewer of this node: a half is kept for those.
    pub(super) fn fills_behind(&self) -> usize {
        (self.fills / 2).max(1)
    }

    /// Fills at once.
    pub(super) fn fills_for(&self, wish: &Wish) -> usize {
        if wish.is_peers { self.fills_behind() } else { self.fills }
    }
}
