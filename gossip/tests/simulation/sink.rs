//! An edge's state that events change, with the reader's fence, as small as it can be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wcdn_proto::{BlobId, Change, Events, Position, Purge};

/// Bytes of a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The position that was known when they were fetched.
    pub(crate) token: Position,
    /// When they were fetched, which no edge knows.
    pub(crate) fetched_at: Duration,
}

/// The last word on each id: what said it, and whether it blocks.
pub(crate) type Words = BTreeMap<BlobId, (Position, bool)>;

/// What is removed, what is blocked, and, for the checks, which events are in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sink {
    pub(crate) epoch: u64,
    floor: u64,
    removed: BTreeMap<BlobId, u64>,
    blocked: Words,
    /// By epoch; 0 stands for what was before its first event.
    truth: BTreeMap<u64, BTreeSet<u64>>,
}

impl Sink {
    /// Of an empty log.
    pub(crate) fn at(position: Position) -> Self {
        Self::default().moved_to(position)
    }

    pub(crate) fn apply(&mut self, events: &Events) {
        self.enter(events.first.epoch);
        for (position, change) in events.iter() {
            self.truth.entry(position.epoch).or_default().insert(position.seq);
            if position.epoch < self.epoch {
                continue;
            }
            match change {
                Change::Purge(Purge::All) => self.floor = self.floor.max(position.seq),
                Change::Purge(Purge::Ids(ids)) => ids.iter().for_each(|id| {
                    let removed = self.removed.entry(*id).or_default();
                    *removed = position.seq.max(*removed);
                }),
                Change::Block(ids) => {
                    ids.iter().for_each(|id| self.block(id.blob(), position, true));
                }
                Change::Unblock(ids) => {
                    ids.iter().for_each(|id| self.block(id.blob(), position, false));
                }
                _ => {}
            }
        }
    }

    /// Takes over a snapshot.
    pub(crate) fn load(&mut self, snapshot: &Self) {
        if snapshot.epoch < self.epoch {
            return;
        }
        self.enter(snapshot.epoch);
        self.floor = self.floor.max(snapshot.floor);
        for (id, seq) in &snapshot.removed {
            let removed = self.removed.entry(*id).or_default();
            *removed = (*removed).max(*seq);
        }
        self.hear(&snapshot.blocked);
        let truth = &snapshot.truth[&snapshot.epoch];
        self.truth.entry(snapshot.epoch).or_default().extend(truth);
    }

    /// The same under another epoch, in which it is the base.
    pub(crate) fn moved_to(mut self, position: Position) -> Self {
        self.enter(position.epoch);
        for (at, _) in self.blocked.values_mut() {
            *at = Position { seq: 0, ..position };
        }
        self.truth = [(position.epoch, (0..=position.seq).collect())].into();
        self
    }

    /// What is withheld, and what no longer is.
    pub(crate) fn words(&self) -> &Words {
        &self.blocked
    }

    /// Takes over what a disk has kept of it.
    pub(crate) fn hear(&mut self, words: &Words) {
        for (id, (position, is_blocked)) in words {
            self.block(*id, *position, *is_blocked);
        }
    }

    /// Whether the fence lets bytes pass.
    pub(crate) fn lets_pass(&self, id: BlobId, entry: &Entry) -> bool {
        let removed = self.removed.get(&id).copied().unwrap_or(0);
        entry.token.epoch == self.epoch && entry.token.seq >= removed.max(self.floor)
    }

    pub(crate) fn is_blocked(&self, id: BlobId) -> bool {
        self.blocked.get(&id).is_some_and(|(_, is_blocked)| *is_blocked)
    }

    /// What is truly applied of an epoch without a gap; `None` if its base is not.
    pub(crate) fn contiguous(&self, epoch: u64) -> Option<Position> {
        let truth = self.truth.get(&epoch)?;
        let next = (0..).find(|seq| !truth.contains(seq)).expect("a set has an end");
        Some(Position { epoch, seq: u64::checked_sub(next, 1)? })
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            (self.epoch, self.floor) = (epoch, 0);
            self.removed.clear();
        }
    }

    fn block(&mut self, id: BlobId, position: Position, is_blocked: bool) {
        let slot = self.blocked.entry(id).or_insert((position, is_blocked));
        if position >= slot.0 {
            *slot = (position, is_blocked);
        }
    }
}
