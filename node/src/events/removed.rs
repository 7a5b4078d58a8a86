//! The reader's fence: whether bytes may still be served, by when their fetch began.
//!
//! Every entry carries a token, the position that was known when its bytes were asked for at an
//! origin. Bytes are removed if a later event removed their id: that is all that is ever asked, here,
//! of a reader. So a writer that is slow, a delete that was lost, or a Redis that rolled back cannot
//! bring anything back.
//!
//! The table never forgets: one number a slot, the latest event that removed an id in it. Two ids that
//! share a slot cost a needless fetch, and for the latest removals not even that (`Recent`).
//!
//! # Memory ordering
//!
//! One writer at a time (`recent` is its lock); readers take no lock. A writer stores slots, then
//! `latest`, each with `Release`; a reader loads `latest` with `Acquire`. Whoever sees the new `latest`
//! therefore sees the slots. Whoever sees an old one runs beside [`Removed::remove`], which has not
//! returned, and may serve what it removes. That a request which begins after `remove` has returned
//! (on whatever thread, because a message told so) sees its stores, is by cache coherence: the message
//! passed through the kernel after the stores.
//!
//! When the epoch changes, slots begin again at zero, so a reader might join what belongs apart: the
//! token's epoch is still in force, and yet the removals of that epoch are gone. Therefore the writer
//! stores the epoch first and clears after, with `Release`, and the reader loads the epoch last, with
//! `Acquire`: if it saw anything that was cleared, it sees the new epoch.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

use parking_lot::RwLock;
use wcdn_proto::{BlobId, Position, REMOVAL_SLOTS, removal_slot};

/// What was removed, by id.
#[derive(Debug, Default)]
pub struct Removed {
    epoch: AtomicU64,
    /// The latest removal of anything: bytes as new as this need no further look.
    latest: AtomicU64,
    /// The latest removal of everything.
    floor: AtomicU64,
    /// Made with the first removal: most nodes of a small network never need them.
    slots: OnceLock<Box<[AtomicU64]>>,
    recent: RwLock<Recent>,
}

/// The latest removals by id, so that one of many ids does not hit those that share their slots.
#[derive(Debug, Default)]
struct Recent {
    /// By eight bytes of the id that its slot does not depend on.
    seqs: HashMap<u64, u64, foldhash::fast::RandomState>,
    order: VecDeque<(u64, u64)>,
    /// Every removal later than this is among them.
    complete_after: u64,
}

/// All of it, but for what is recent, to be kept or carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removals {
    /// Of the log.
    pub epoch: u64,
    /// The latest removal of everything.
    pub floor: u64,
    /// Slots that are not zero.
    pub slots: Vec<(u32, u64)>,
}

impl Removals {
    /// The latest of them.
    pub fn latest(&self) -> u64 {
        self.slots.iter().map(|(_, seq)| *seq).fold(self.floor, u64::max)
    }
}

/// Removals that are known by id.
const RECENT: usize = 1 << 18;

impl Removed {
    /// Whether bytes of `id` (or of a file in it) whose fetch began at `token` are removed.
    ///
    /// Two loads where nothing was removed since, of a cache line that all cores share. Bytes of an
    /// older epoch are: nothing proves them. Those of one that begins just now are not: they were
    /// fetched after all that is known here.
    pub fn covers(&self, id: &BlobId, token: Position) -> bool {
        let latest = self.latest.load(Acquire);
        let is_removed = token.seq < latest && self.is_removed_by_table(id, token.seq);
        match self.epoch.load(Acquire) {
            epoch if token.epoch == epoch => is_removed,
            epoch => token.epoch < epoch,
        }
    }

    fn is_removed_by_table(&self, id: &BlobId, token: u64) -> bool {
        if token < self.floor.load(Acquire) {
            return true;
        }
        if token >= self.seq(removal_slot(id)) {
            return false;
        }
        let recent = self.recent.read();
        match recent.seqs.get(&fingerprint(id)) {
            Some(&seq) if token < seq => true,
            _ => token < recent.complete_after,
        }
    }

    /// Whether everything whose fetch began at `token` is removed, whatever its id.
    pub fn covers_all(&self, token: Position) -> bool {
        let is_removed = token.seq < self.floor.load(Acquire);
        match self.epoch.load(Acquire) {
            epoch if token.epoch == epoch => is_removed,
            epoch => token.epoch < epoch,
        }
    }

    /// The latest removal that covers `id`, as far as is known: maybe that of another id.
    pub fn latest_of(&self, id: &BlobId) -> Option<Position> {
        let recent = self.recent.read();
        let epoch = self.epoch.load(Acquire);
        let floor = self.floor.load(Acquire);
        let slot = self.seq(removal_slot(id));
        let own = match recent.seqs.get(&fingerprint(id)) {
            Some(&seq) => seq,
            None => slot.min(recent.complete_after),
        };
        let seq = own.max(floor);
        (seq > 0).then_some(Position { epoch, seq })
    }

    /// The oldest position whose bytes of `id` may be served, as far as is known.
    pub fn least(&self, id: &BlobId) -> Position {
        self.latest_of(id).unwrap_or(Position { epoch: self.epoch(), seq: 0 })
    }

    /// The latest removal of everything in this epoch; 0 for none.
    pub fn floor(&self) -> u64 {
        self.floor.load(Acquire)
    }

    /// The epoch in force.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// Removes what was fetched of `ids` before `at`. Nothing, if `at` is of an older epoch; and a
    /// newer one comes into force.
    pub fn remove(&self, ids: &[BlobId], at: Position) {
        let mut recent = self.recent.write();
        if !self.enter(at.epoch, &mut recent) {
            return;
        }
        for id in ids {
            self.raise(removal_slot(id), at.seq);
            recent.add(fingerprint(id), at.seq);
        }
        self.latest.fetch_max(at.seq, Release);
    }

    /// The same for everything.
    pub fn remove_all(&self, at: Position) {
        let mut recent = self.recent.write();
        if self.enter(at.epoch, &mut recent) {
            self.floor.fetch_max(at.seq, Release);
            self.latest.fetch_max(at.seq, Release);
        }
    }

    /// Puts an epoch into force, if it is not older than the one that is.
    pub fn begin(&self, epoch: u64) {
        self.enter(epoch, &mut self.recent.write());
    }

    /// Adds what another table knows. `false`, and nothing changes, if it is of an older epoch.
    pub fn merge(&self, removals: &Removals) -> bool {
        let mut recent = self.recent.write();
        if !self.enter(removals.epoch, &mut recent) {
            return false;
        }
        for &(slot, seq) in &removals.slots {
            self.raise(slot, seq);
        }
        let latest = removals.latest();
        self.floor.fetch_max(removals.floor, Release);
        // Of these the ids are not known.
        recent.complete_after = recent.complete_after.max(latest);
        self.latest.fetch_max(latest, Release);
        true
    }

    /// All of it; removals that run meanwhile may be in it or not.
    pub fn export(&self) -> Removals {
        // Keeps writers out, so that it is of one epoch.
        let _writer = self.recent.read();
        let slots = (0..).zip(self.slots.get().into_iter().flatten());
        let seqs = slots.map(|(slot, seq)| (slot, seq.load(Acquire)));
        Removals {
            epoch: self.epoch.load(Acquire),
            floor: self.floor.load(Acquire),
            slots: seqs.filter(|(_, seq)| *seq > 0).collect(),
        }
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.slots.get().into_iter().flatten().filter(|slot| slot.load(Acquire) > 0).count()
    }

    /// The latest removal in a slot.
    fn seq(&self, slot: u32) -> u64 {
        let slot = self.slots.get().and_then(|slots| slots.get(slot as usize));
        slot.map_or(0, |slot| slot.load(Acquire))
    }

    fn raise(&self, slot: u32, seq: u64) {
        let slots =
            self.slots.get_or_init(|| (0..REMOVAL_SLOTS).map(|_| AtomicU64::new(0)).collect());
        if let Some(slot) = slots.get(slot as usize) {
            slot.fetch_max(seq, Release);
        }
    }

    /// Whether `epoch` is in force, now if it was not. The order of the stores matters; see above.
    fn enter(&self, epoch: u64, recent: &mut Recent) -> bool {
        let current = self.epoch.load(Acquire);
        if epoch > current {
            self.epoch.store(epoch, Release);
            self.slots.get().into_iter().flatten().for_each(|slot| slot.store(0, Release));
            self.floor.store(0, Release);
            self.latest.store(0, Release);
            *recent = Recent::default();
        }
        epoch >= current
    }
}

impl Recent {
    fn add(&mut self, id: u64, seq: u64) {
        // Nobody asks for these any more.
        if seq <= self.complete_after {
            return;
        }
        let known = self.seqs.entry(id).or_default();
        if *known >= seq {
            return;
        }
        *known = seq;
        self.order.push_back((id, seq));
        if self.order.len() > RECENT
            && let Some((id, seq)) = self.order.pop_front()
        {
            self.complete_after = self.complete_after.max(seq);
            if self.seqs.get(&id) == Some(&seq) {
                self.seqs.remove(&id);
            }
        }
    }
}

fn fingerprint(id: &BlobId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
