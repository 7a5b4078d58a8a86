//! Which seqs of one epoch have been applied.

use std::collections::BTreeMap;

/// Consecutive seqs, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// The first.
    pub first: u64,
    /// The last; not below the first.
    pub last: u64,
}

impl SeqRange {
    /// How many seqs there are.
    pub fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// The most ranges that are remembered above the contiguous prefix.
///
/// What does not fit is forgotten, and so applied once more when it comes again, which is harmless.
/// Each range above costs 16 bytes and a tree's share; a node that has 4,096 holes is about to read
/// the log instead.
const MAX_RANGES: usize = 4_096;

/// A set of seqs: everything up to one, and bounded ranges above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    upto: u64,
    /// First to last; neither touching each other nor `upto`.
    above: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Everything up to `upto`.
    pub fn new(upto: u64) -> Self {
        Self { upto, above: BTreeMap::new() }
    }

    /// The end of the contiguous prefix.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// The ranges above the prefix, in order.
    pub fn above(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.above.iter().map(|(&first, &last)| SeqRange { first, last })
    }

    /// The largest seq in the set, 0 if there is none.
    pub fn highest(&self) -> u64 {
        self.above.last_key_value().map_or(self.upto, |(_, &last)| last)
    }

    /// Whether all of `range` is in the set.
    pub fn covers(&self, range: SeqRange) -> bool {
        let below = self.above.range(..=range.first).next_back();
        range.last <= self.upto || below.is_some_and(|(_, &last)| range.last <= last)
    }

    /// Adds `range`.
    pub fn insert(&mut self, range: SeqRange) {
        let SeqRange { mut first, mut last } = range;
        if last <= self.upto {
            return;
        }
        let touching = |(&f, &l): (&u64, &u64)| (l >= first.saturating_sub(1)).then_some((f, l));
        if let Some((f, l)) = self.above.range(..=first).next_back().and_then(touching) {
            self.above.remove(&f);
            (first, last) = (f, last.max(l));
        }
        while let Some((&f, &l)) = self.above.range(first..=last.saturating_add(1)).next() {
            self.above.remove(&f);
            last = last.max(l);
        }
        if first <= self.upto.saturating_add(1) {
            self.upto = last;
            return;
        }
        self.above.insert(first, last);
        if self.above.len() > MAX_RANGES {
            self.above.pop_last();
        }
    }

    /// Adds everything up to `upto`.
    pub fn raise(&mut self, upto: u64) {
        if upto > 0 {
            self.insert(SeqRange { first: 1, last: upto });
        }
    }

    /// What is not in the set up to `head`, in order.
    pub fn missing(&self, head: u64) -> impl Iterator<Item = SeqRange> + '_ {
        let ends = self.above.iter().map(|(&first, &last)| (first, last));
        let mut next = self.upto.saturating_add(1);
        ends.chain([(u64::MAX, u64::MAX)]).filter_map(move |(first, last)| {
            let hole = SeqRange { first: next, last: (first - 1).min(head) };
            next = last.saturating_add(1);
            (hole.first <= hole.last).then_some(hole)
        })
    }

    /// The set without these.
    pub fn without(&self, holes: impl IntoIterator<Item = SeqRange>) -> Self {
        let mut holes: Vec<SeqRange> = holes.into_iter().collect();
        holes.sort_by_key(|hole| hole.first);
        let prefix = (self.upto > 0).then_some(SeqRange { first: 1, last: self.upto });
        let mut rest = Self::default();
        for SeqRange { first, last } in prefix.into_iter().chain(self.above()) {
            let mut next = first;
            for hole in holes.iter().filter(|hole| hole.first <= last && hole.last >= first) {
                if next < hole.first {
                    rest.insert(SeqRange { first: next, last: hole.first - 1 });
                }
                next = next.max(hole.last.saturating_add(1));
            }
            if next <= last {
                rest.insert(SeqRange { first: next, last });
            }
        }
        rest
    }

    /// How many are missing up to `head`.
    pub fn lacking(&self, head: u64) -> u64 {
        self.missing(head).map(|hole| hole.count()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_holds(
            inserts in proptest::collection::vec((1..60_u64, 0..6_u64), 0..30),
            start in 0..5_u64,
            holes in proptest::collection::vec((1..60_u64, 0..6_u64), 0..6),
            head in 0..80_u64,
        ) {
            let mut ranges = Ranges::new(start);
            let mut model: BTreeSet<u64> = (1..=start).collect();
            for (first, more) in inserts {
                ranges.insert(SeqRange { first, last: first + more });
                model.extend(first..=first + more);
            }
            let upto = (1..).find(|seq| !model.contains(seq)).unwrap() - 1;
            prop_assert_eq!(ranges.upto(), upto);
            prop_assert_eq!(ranges.highest(), model.last().copied().unwrap_or(0));
            let missing: Vec<u64> = ranges.missing(head).flat_map(|r| r.first..=r.last).collect();
            let expected: Vec<u64> = (1..=head).filter(|seq| !model.contains(seq)).collect();
            prop_assert_eq!(ranges.lacking(head), expected.len() as u64);
            prop_assert_eq!(missing, expected);
            let left = ranges.without(holes.iter().map(|&(first, more)| SeqRange { first, last: first + more }));
            let is_hole = |seq: u64| holes.iter().any(|&(first, more)| (first..=first + more).contains(&seq));
            for seq in 1..80 {
                let expected = model.contains(&seq) && !is_hole(seq);
                prop_assert_eq!(left.covers(SeqRange { first: seq, last: seq }), expected, "{}", seq);
            }
            for first in 1..66 {
                for last in first..first + 4 {
                    let all = (first..=last).all(|seq| model.contains(&seq));
                    prop_assert_eq!(ranges.covers(SeqRange { first, last }), all);
                }
            }
        }
    }

    #[test]
    fn more_ranges_than_are_remembered_lose_the_highest() {
        let mut ranges = Ranges::default();
        for n in 1..=MAX_RANGES as u64 + 5 {
            ranges.insert(SeqRange { first: 2 * n, last: 2 * n });
        }
        assert_eq!(ranges.above().count(), MAX_RANGES);
        assert_eq!(ranges.upto(), 0);
        assert!(ranges.covers(SeqRange { first: 2, last: 2 }));
    }
}
