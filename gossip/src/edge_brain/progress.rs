//! How far an edge is.

use wcdn_proto::Position;

use super::keeping::Keeping;
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
    /// What of that is not told yet.
    keeping: Keeping,
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
        let keeping = Keeping::default();
        Self { epoch: start.epoch, ranges, keeping, without_base: None, known, hint }
    }

    /// Everything up to here is applied, and kept.
    pub(super) fn applied(&self) -> Position {
        let kept = self.keeping.before().unwrap_or(u64::MAX);
        let reached = self.reached();
        match self.without_base {
            Some(before) => before,
            None => Position { seq: reached.seq.min(kept), ..reached },
        }
    }

    /// Everything up to here is applied: what follows is read next.
    pub(super) fn reached(&self) -> Position {
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
        match (self.without_base, self.keeping.told(&self.ranges)) {
            (Some(before), _) => Applied::upto(before),
            (None, Some(told)) => Applied::of(self.epoch, &told),
            (None, None) => self.held(),
        }
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
    pub(super) fn apply(&mut self, range: SeqRange, must_be_kept: bool) {
        self.ranges.insert(range);
        if must_be_kept {
            self.keeping.add(range);
        }
    }

    /// Whether the disk is to be asked to keep what was applied.
    pub(super) fn begin_keeping(&mut self) -> bool {
        self.keeping.begin()
    }

    /// Notes that it has kept what it was asked for last.
    pub(super) fn kept(&mut self) {
        self.keeping.end();
    }

    /// Notes that everything up to a position is applied, and kept. One of a lower epoch changes
    /// nothing.
    pub(super) fn rebase(&mut self, position: Position) {
        if position.epoch < self.epoch {
            return;
        }
        self.vouch(position);
        self.ranges.raise(position.seq);
        self.keeping.raise(position.seq);
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
            self.keeping.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first, last }
    }

    /// Everything up to 4, then a block at 5, and more.
    fn with_a_block() -> Progress {
        let mut progress = Progress::new(at(1, 4));
        progress.vouch(at(1, 9));
        progress.apply(range(5, 5), true);
        progress.apply(range(6, 7), false);
        progress.apply(range(9, 9), false);
        progress
    }

    #[test]
    fn what_is_not_kept_is_held_and_not_told() {
        let mut progress = with_a_block();
        assert_eq!((progress.applied(), progress.reached()), (at(1, 4), at(1, 7)));
        let told = Applied { upto: at(1, 4), above: vec![range(6, 7), range(9, 9)] };
        assert_eq!(progress.reported(), told);
        assert_eq!(progress.held().upto, at(1, 7), "peers need not send it");
        assert!(progress.begin_keeping() && !progress.begin_keeping(), "one at a time");
        assert_eq!(progress.applied(), at(1, 4));
        progress.kept();
        assert_eq!((progress.applied(), progress.reported()), (at(1, 7), progress.held()));
        assert!(!progress.begin_keeping(), "nothing waits");
    }

    #[test]
    fn what_comes_while_the_disk_works_waits_for_its_next_turn() {
        let mut progress = with_a_block();
        assert!(progress.begin_keeping());
        progress.apply(range(8, 8), true);
        assert!(!progress.begin_keeping());
        progress.kept();
        assert_eq!(progress.applied(), at(1, 7));
        assert!(progress.begin_keeping());
        progress.kept();
        assert_eq!(progress.applied(), at(1, 9));
    }

    #[test]
    fn a_snapshot_is_kept_as_a_whole_and_a_new_log_has_its_own() {
        let mut progress = with_a_block();
        assert!(progress.begin_keeping());
        progress.rebase(at(1, 6));
        assert_eq!(progress.applied(), at(1, 7));
        let mut progress = with_a_block();
        assert!(progress.begin_keeping());
        progress.apply(range(8, 8), true);
        progress.vouch(at(2, 3));
        assert_eq!(progress.applied(), at(1, 4), "of the old one no more is told");
        progress.rebase(at(2, 2));
        progress.apply(range(3, 3), true);
        assert_eq!(progress.applied(), at(2, 2));
        assert!(!progress.begin_keeping(), "the disk is still at work");
        progress.kept();
        assert_eq!(progress.applied(), at(2, 2), "it was not about this");
        assert!(progress.begin_keeping());
        progress.kept();
        assert_eq!(progress.applied(), at(2, 3));
    }

    #[test]
    fn many_that_wait_are_one_that_waits() {
        let mut progress = Progress::new(at(1, 0));
        for n in 1..=3_000 {
            progress.apply(range(2 * n, 2 * n), true);
            progress.apply(range(2 * n + 1, 2 * n + 1), false);
        }
        progress.apply(range(1, 1), false);
        assert_eq!((progress.applied(), progress.reached()), (at(1, 1), at(1, 6_001)));
        assert!(progress.begin_keeping());
        progress.kept();
        assert_eq!(progress.applied(), at(1, 6_001));
    }
}
