//! The pinned tier: blobs that this node keeps whatever else comes, in memory set aside for them.
//!
//! A blob has a place here once it is [`wanted`](Pinned::want), and its entry goes there, whoever fetched
//! it, as long as there is room. Nothing is evicted: what finds no room stays out. Entries here are none
//! of those in [`Memory`](super::memory::Memory), so that neither costs the other anything.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::RwLock;
use wcdn_proto::BlobId;

use super::{
    budget::Budget,
    entry::{Entry, Key, Part, cost},
};

/// Places for blobs, and what lies in them.
#[derive(Debug)]
pub struct Pinned {
    /// By the id's first byte, so that requests wait neither for each other nor for whoever keeps them.
    shards: [RwLock<Places>; SHARDS],
    wanted: AtomicUsize,
    held: AtomicUsize,
    budget: Budget,
}

type Places = HashMap<BlobId, Option<Arc<Entry>>, foldhash::fast::RandomState>;

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It has its place.
    Taken,
    /// It has none.
    Unwanted,
    /// There is no room for it.
    Full,
}

const SHARDS: usize = 64;

impl Pinned {
    /// An empty tier of so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            wanted: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            budget: Budget::new(limit),
        }
    }

    /// The entry at `key`.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        // Most nodes have none, and no miss there takes the lock.
        if key.part != Part::Whole || self.held.load(Relaxed) == 0 {
            return None;
        }
        self.shard(&key.id).read().get(&key.id).cloned().flatten()
    }

    /// Whether a blob has a place.
    pub fn wants(&self, id: &BlobId) -> bool {
        self.wanted.load(Relaxed) > 0 && self.shard(id).read().contains_key(id)
    }

    /// Gives a blob a place.
    pub fn want(&self, id: BlobId) {
        let mut places = self.shard(&id).write();
        if let std::collections::hash_map::Entry::Vacant(place) = places.entry(id) {
            place.insert(None);
            self.wanted.fetch_add(1, Relaxed);
        }
    }

    /// Takes an entry, if its blob has a place and there is room for it.
    pub fn offer(&self, id: &BlobId, entry: &Entry) -> Offered {
        if self.wanted.load(Relaxed) == 0 {
            return Offered::Unwanted;
        }
        let mut places = self.shard(id).write();
        let Some(place) = places.get_mut(id) else { return Offered::Unwanted };
        if let Some(present) = place.as_ref().filter(|present| are_same(present, entry)) {
            if is_known_better(entry, present) {
                *place = Some(Arc::new(present.known_as(entry)));
            }
            return Offered::Taken;
        }
        self.held.fetch_sub(usize::from(place.take().is_some()), Relaxed);
        let Some(room) = self.budget.reserve(cost(entry.record().length)) else {
            return Offered::Full;
        };
        *place = Some(Arc::new(entry.held_by(room)));
        self.held.fetch_add(1, Relaxed);
        Offered::Taken
    }

    /// Takes a blob's entry out; its place stays. Whether there was one.
    pub fn clear_place(&self, id: &BlobId) -> bool {
        if self.held.load(Relaxed) == 0 {
            return false;
        }
        let mut places = self.shard(id).write();
        let was_held = places.get_mut(id).is_some_and(|place| place.take().is_some());
        self.held.fetch_sub(usize::from(was_held), Relaxed);
        was_held
    }

    /// Takes every entry out; how many there were.
    pub fn clear(&self) -> u64 {
        let clear = |places: &RwLock<Places>| {
            let mut places = places.write();
            let cleared = places.values_mut().filter_map(Option::take).count();
            self.held.fetch_sub(cleared, Relaxed);
            cleared as u64
        };
        self.shards.iter().map(clear).sum()
    }

    /// Takes a blob's place away.
    pub fn release(&self, id: &BlobId) {
        let released = self.shard(id).write().remove(id);
        self.wanted.fetch_sub(usize::from(released.is_some()), Relaxed);
        self.held.fetch_sub(usize::from(released.flatten().is_some()), Relaxed);
    }

    /// The entries, one shard after the other; those that come or go meanwhile may be among them.
    pub fn snapshot(&self) -> impl Iterator<Item = (Key, Arc<Entry>)> + Send + '_ {
        self.shards.iter().flat_map(|places| {
            let places = places.read();
            let entries = places.iter().filter_map(|(id, entry)| {
                Some((Key { id: *id, part: Part::Whole }, Arc::clone(entry.as_ref()?)))
            });
            entries.collect::<Vec<_>>()
        })
    }

    /// Entries held.
    pub fn entries(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The bytes that they may take.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    fn shard(&self, id: &BlobId) -> &RwLock<Places> {
        &self.shards[usize::from(id.as_bytes()[0]) % SHARDS]
    }
}

fn are_same(one: &Entry, other: &Entry) -> bool {
    one.record().digest == other.record().digest
}

/// Whether they were fetched and checked as well as others of the same bytes, or better.
fn is_known_better(entry: &Entry, than: &Entry) -> bool {
    let (record, than) = (entry.record(), than.record());
    record.token >= than.token && record.level >= than.level
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use proptest::prelude::*;
    use wcdn_proto::Position;

    use super::*;
    use crate::{
        cache::entry::{Level, Record},
        edge::{media::MediaType, validator},
    };

    fn id(n: u8) -> BlobId {
        BlobId::from_bytes([n; 32])
    }

    fn key(n: u8) -> Key {
        Key { id: id(n), part: Part::Whole }
    }

    fn entry(budget: &Budget, n: u8, length: usize, level: Level) -> Entry {
        let body = vec![n; length];
        let record = Record {
            length: length as u64,
            total: length as u64,
            media: MediaType::OCTET_STREAM,
            level,
            digest: blake3::hash(&body),
            token: Position::ORIGIN,
            inserted: SystemTime::now(),
        };
        let held = budget.reserve(cost(length as u64)).unwrap();
        Entry::new(record, validator::etag(&id(n)), vec![Bytes::from(body)], held)
    }

    #[test]
    fn what_is_not_wanted_or_finds_no_room_stays_out_and_nothing_is_evicted() {
        let others = Budget::new(1 << 20);
        let pinned = Pinned::new(2 * cost(1_000));
        let entry = |n| entry(&others, n, 1_000, Level::Full);
        assert_eq!(pinned.offer(&id(1), &entry(1)), Offered::Unwanted);
        (1..=3).for_each(|n| pinned.want(id(n)));
        assert_eq!(pinned.offer(&id(1), &entry(1)), Offered::Taken);
        assert_eq!(pinned.offer(&id(2), &entry(2)), Offered::Taken);
        assert_eq!(pinned.offer(&id(3), &entry(3)), Offered::Full);
        assert!(pinned.get(&key(1)).is_some() && pinned.get(&key(3)).is_none());
        assert_eq!(others.used(), 0, "they are paid for here alone");
        pinned.release(&id(1));
        assert_eq!(pinned.offer(&id(3), &entry(3)), Offered::Taken);
        let probe = Key { id: id(3), part: Part::Probe };
        assert!(pinned.get(&probe).is_none(), "blobs have their places as a whole");
    }

    #[test]
    fn more_that_becomes_known_of_the_same_bytes_takes_no_more_room() {
        let others = Budget::new(1 << 20);
        let pinned = Pinned::new(cost(1_000));
        pinned.want(id(1));
        pinned.offer(&id(1), &entry(&others, 1, 1_000, Level::Attested));
        assert_eq!(pinned.offer(&id(1), &entry(&others, 1, 1_000, Level::Full)), Offered::Taken);
        assert_eq!(pinned.get(&key(1)).unwrap().record().level, Level::Full);
        pinned.offer(&id(1), &entry(&others, 1, 1_000, Level::Attested));
        assert_eq!(pinned.get(&key(1)).unwrap().record().level, Level::Full, "and no less");
        assert_eq!(pinned.budget().used(), cost(1_000));
    }

    proptest! {
        #[test]
        fn counts_and_bytes_are_those_of_what_is_there(
            steps in prop::collection::vec((0u8..5, 0u8..6), 0..80),
        ) {
            let others = Budget::new(1 << 24);
            let pinned = Pinned::new(3 * cost(100));
            for (step, n) in steps {
                match step {
                    0 => pinned.want(id(n)),
                    1 => { pinned.offer(&id(n), &entry(&others, n, 100, Level::Full)); }
                    2 => { pinned.clear_place(&id(n)); }
                    3 => pinned.release(&id(n)),
                    _ => { pinned.clear(); }
                }
                let there: Vec<_> = pinned.snapshot().collect();
                prop_assert_eq!(there.len(), pinned.entries());
                prop_assert_eq!(there.len() as u64 * cost(100), pinned.budget().used());
                prop_assert!((0..6).all(|n| pinned.get(&key(n)).is_none() || pinned.wants(&id(n))));
            }
            (0..6).for_each(|n| pinned.release(&id(n)));
            prop_assert_eq!((pinned.entries(), pinned.budget().used()), (0, 0));
        }
    }
}
