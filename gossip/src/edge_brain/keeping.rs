//! What is true here, and would not outlast a crash yet: blocks that a disk has to take in.

use std::mem;

use crate::ranges::{Ranges, SeqRange};

/// The most ranges that are told apart; of more, all between the lowest and the highest wait as one.
const MAX_RANGES: usize = 1_024;

/// Applied events that wait for the disk. All that have come by the time at which it is asked are
/// kept by one writing; what comes meanwhile waits for the next.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    waiting: Vec<SeqRange>,
    /// Of the writing that is under way.
    writing: Vec<SeqRange>,
    is_writing: bool,
}

impl Keeping {
    /// Notes events that are applied, and must be kept before that is told.
    pub(super) fn add(&mut self, range: SeqRange) {
        self.waiting.push(range);
        if self.waiting.len() > MAX_RANGES {
            let first = self.waiting.iter().map(|range| range.first).min();
            let last = self.waiting.iter().map(|range| range.last).max();
            self.waiting =
                first.zip(last).map(|(first, last)| SeqRange { first, last }).into_iter().collect();
        }
    }

    /// Whether the disk is to be asked now: something waits, and it is not being asked.
    pub(super) fn begin(&mut self) -> bool {
        let is_due = !self.is_writing && !self.waiting.is_empty();
        if is_due {
            self.is_writing = true;
            self.writing = mem::take(&mut self.waiting);
        }
        is_due
    }

    /// Notes that what it was asked for last is kept.
    pub(super) fn end(&mut self) {
        self.is_writing = false;
        self.writing.clear();
    }

    /// Notes that everything up to here is kept.
    pub(super) fn raise(&mut self, upto: u64) {
        for ranges in [&mut self.waiting, &mut self.writing] {
            ranges.retain(|range| range.last > upto);
            ranges
                .iter_mut()
                .for_each(|range| range.first = range.first.max(upto.saturating_add(1)));
        }
    }

    /// Notes that the events of another epoch count from now on.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.writing.clear();
    }

    /// What of these events may be told: those that are kept, or need not be.
    pub(super) fn told(&self, applied: &Ranges) -> Option<Ranges> {
        if self.waiting.is_empty() && self.writing.is_empty() {
            return None;
        }
        Some(applied.without(self.waiting.iter().chain(&self.writing).copied()))
    }

    /// The last seq before those that are not kept, if there are any.
    pub(super) fn before(&self) -> Option<u64> {
        let first = self.waiting.iter().chain(&self.writing).map(|range| range.first).min()?;
        Some(first.saturating_sub(1))
    }
}
