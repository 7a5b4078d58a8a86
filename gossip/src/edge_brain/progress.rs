//! How far an edge is.

use wcdn_proto::Position;

use crate::{
    message::Applied,
    ranges::{Ranges, SeqRange},
};

/// What is applied, what is known to exist, and what is said to exist.
#[derive(Debug)]
pub(super) struct Progress {
    /// The epoch in force, the highest that a signature or a snapshot vouched for.
    epoch: u64,
    /// What was applied of it.
    ranges: Ranges,
    /// What is reported as long as the epoch in force lacks its base.
    ///
    /// A log does not begin empty: one that was restored has blocks of before. So what precedes the
    /// first event of an epoch is not known until a snapshot of that epoch was taken.
    without_base: Option<Position>,
    /// The highest position that a signature vouched for.
    known: Position,
    /// The highest position that somebody named.
    hint: Position,
}

impl Progress {
    pub(super) fn new(start: Position) -> Self {
        let ranges = Ranges::new(start.seq);
        let (known, hint) = (start, Position::ORIGIN);
        Self { epoch: start.epoch, ranges, without_base: None, known, hint }
    }

    pub(super) fn applied(&self) -> Position {
        let upto = Position { epoch: self.epoch, seq: self.ranges.upto() };
        self.without_base.unwrap_or(upto)
    }

    pub(super) fn known(&self) -> Position {
        self.known
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// What issuers may count on.
    pub(super) fn reported(&self) -> Applied {
        self.without_base.map_or_else(|| self.held(), Applied::upto)
    }

    /// What need not be sent here.
    pub(super) fn held(&self) -> Applied {
        Applied::of(self.epoch, &self.ranges)
    }

    /// Notes that a position exists, by somebody's word.
    pub(super) fn hint(&mut self, position: Position) {
        self.hint = self.hint.max(position);
    }

    /// Forgets a hint that was followed in vain.
    pub(super) fn discard_hint(&mut self, followed: Position) {
        if self.hint <= followed {
            self.hint = Position::ORIGIN;
        }
    }

    pub(super) fn hinted(&self) -> Position {
        self.hint
    }

    /// Notes that a position exists, by a signature.
    pub(super) fn vouch(&mut self, position: Position) {
        self.enter(position.epoch);
        self.known = self.known.max(position);
    }

    /// Notes that events of the epoch in force were applied.
    pub(super) fn apply(&mut self, range: SeqRange) {
        self.ranges.insert(range);
    }

    /// Notes that everything up to a position is applied. One of a lower epoch changes nothing.
    pub(super) fn rebase(&mut self, position: Position) {
        if position.epoch < self.epoch {
            return;
        }
        self.vouch(position);
        self.ranges.raise(position.seq);
        self.without_base = None;
    }

    /// The last seq of the epoch in force that is thought to exist.
    pub(super) fn target(&self) -> u64 {
        let hinted = if self.hint.epoch == self.epoch { self.hint.seq } else { 0 };
        let known = if self.known.epoch == self.epoch { self.known.seq } else { 0 };
        known.max(hinted).max(self.ranges.highest())
    }

    /// Whether a snapshot is needed, or something tells of a newer log.
    pub(super) fn needs_base(&self) -> bool {
        self.without_base.is_some() || self.hint.epoch > self.epoch
    }

    /// Whether events are missing that are thought to exist.
    pub(super) fn has_hole(&self) -> bool {
        self.ranges.upto() < self.target()
    }

    /// Whether more than `most` events are missing.
    pub(super) fn lacks_more_than(&self, most: u64) -> bool {
        let target = self.target();
        target.saturating_sub(self.ranges.upto()) > most && self.ranges.lacking(target) > most
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.without_base = Some(self.applied());
            self.epoch = epoch;
            self.ranges = Ranges::default();
        }
    }
}
