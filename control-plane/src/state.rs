//! What the log amounts to: the removal table, what is withheld, and what is pinned.

use std::collections::{BTreeMap, BTreeSet};

use wcdn_proto::{
    BlobId, Change, ContentId, Events, KeyId, KeyState, Position, Purge, REMOVAL_SLOTS,
    removal_slot,
};

/// The log, folded up to a position. The same events in the same order make the same state, from
/// wherever the fold begins.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    position: Position,
    floor: u64,
    slots: Box<[u64]>,
    blocks: BTreeSet<ContentId>,
    pins: BTreeSet<BlobId>,
    keys: BTreeMap<KeyId, KeyState>,
}

/// Events that do not follow what is folded.
#[derive(Debug, thiserror::Error)]
#[error("the log goes on at {}:{} after {}:{}", next.epoch, next.seq, after.epoch, after.seq)]
pub(crate) struct Gap {
    after: Position,
    next: Position,
}

impl State {
    /// Nothing but what is known of the time before `position`.
    pub(crate) fn new(position: Position, floor: u64) -> Self {
        let slots = vec![0; REMOVAL_SLOTS as usize].into_boxed_slice();
        let (blocks, pins, keys) = Default::default();
        Self { position, floor, slots, blocks, pins, keys }
    }

    /// Everything up to here is in it, nothing beyond.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The latest removal of everything.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Slots that are not zero, with the latest event that removed an id in each.
    pub(crate) fn removed(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..).zip(self.slots.iter().copied()).filter(|(_, seq)| *seq > 0)
    }

    /// What is withheld.
    pub(crate) fn blocks(&self) -> &BTreeSet<ContentId> {
        &self.blocks
    }

    /// What is pinned.
    pub(crate) fn pins(&self) -> &BTreeSet<BlobId> {
        &self.pins
    }

    /// Makes the next events true; those that are true already change nothing.
    ///
    /// # Errors
    /// [`Gap`], if they are not the next ones; then nothing has changed.
    pub(crate) fn apply(&mut self, events: &Events) -> Result<(), Gap> {
        let Position { epoch, seq } = self.position;
        if events.first.epoch != epoch || events.first.seq > seq.saturating_add(1) {
            return Err(Gap { after: self.position, next: events.first });
        }
        for (position, change) in events.iter() {
            if position <= self.position {
                continue;
            }
            match change {
                Change::Purge(Purge::Ids(ids)) => {
                    ids.iter().for_each(|id| self.restore_slot(removal_slot(id), position.seq));
                }
                // What a later version meant by it may have been anything.
                Change::Purge(Purge::All) | Change::Unknown { is_ignorable: false } => {
                    self.floor = position.seq;
                }
                Change::Block(ids) => self.blocks.extend(ids),
                Change::Unblock(ids) => ids.iter().for_each(|id| {
                    self.blocks.remove(id);
                }),
                Change::Pin(ids) => self.pins.extend(ids),
                Change::Unpin(ids) => ids.iter().for_each(|id| {
                    self.pins.remove(id);
                }),
                Change::Key(key) => self.restore_key(key.clone()),
                Change::Origins { .. }
                | Change::Barrier
                | Change::Unknown { is_ignorable: true } => {}
            }
            self.position = position;
        }
        Ok(())
    }

    /// An id in this slot was removed by this event; one beyond the table is none of ours.
    pub(crate) fn restore_slot(&mut self, slot: u32, seq: u64) {
        if let Some(latest) = self.slots.get_mut(slot as usize) {
            *latest = seq.max(*latest);
        }
    }

    /// What nodes know of keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyState> {
        self.keys.values()
    }

    /// This is what nodes know of a key.
    pub(crate) fn restore_key(&mut self, key: KeyState) {
        match key.secrets.is_empty() {
            true => drop(self.keys.remove(&key.id)),
            false => drop(self.keys.insert(key.id.clone(), key)),
        }
    }

    /// This is withheld, and nothing else.
    pub(crate) fn restore_blocks(&mut self, blocks: impl IntoIterator<Item = ContentId>) {
        self.blocks = blocks.into_iter().collect();
    }

    /// This is pinned, and nothing else.
    pub(crate) fn restore_pins(&mut self, pins: impl IntoIterator<Item = BlobId>) {
        self.pins = pins.into_iter().collect();
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("position", &self.position)
            .field("floor", &self.floor)
            .field("blocks", &self.blocks.len())
            .field("pins", &self.pins.len())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(epoch: u64, seq: u64, changes: Vec<Change>) -> Events {
        Events { first: Position { epoch, seq }, committed_at_ms: 0, changes }
    }

    #[test]
    fn no_event_is_passed_over() {
        let mut state = State::new(Position { epoch: 2, seq: 0 }, 0);
        let two = || vec![Change::Barrier, Change::Barrier];
        assert!(state.apply(&events(2, 2, two())).is_err());
        assert!(state.apply(&events(1, 1, two())).is_err());
        assert!(state.apply(&events(3, 1, two())).is_err());
        state.apply(&events(2, 1, two())).unwrap();
        state.apply(&events(2, 2, two())).unwrap();
        assert_eq!(state.position(), Position { epoch: 2, seq: 3 });
    }

    #[test]
    fn what_is_not_understood_and_may_not_be_ignored_removes_everything() {
        let mut state = State::new(Position { epoch: 2, seq: 0 }, 0);
        let unknown = |is_ignorable| Change::Unknown { is_ignorable };
        state.apply(&events(2, 1, vec![unknown(false), unknown(true)])).unwrap();
        assert_eq!(state.floor(), 1);
    }
}
