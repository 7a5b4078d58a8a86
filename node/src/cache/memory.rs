//! The memory tier: entries by key, the least useful evicted first.

use std::sync::Arc;

use wcdn_proto::BlobId;

use super::{
    entry::{Entry, Key},
    parts::Parts,
};

/// A moka cache (TinyLFU), weighed in bytes.
///
/// moka evicts in batches after the fact, so its own limit is soft. The hard one is the
/// [`Budget`](super::budget::Budget); this tier aims for three quarters of it and leaves the rest to
/// fills in flight and to the overshoot, and [`Memory::shrink`] makes it catch up when the budget
/// runs dry. No expiry is set: freshness lives in the entry.
#[derive(Debug)]
pub struct Memory {
    entries: moka::sync::Cache<Key, Arc<Entry>, foldhash::fast::RandomState>,
    parts: Parts,
}

/// moka weighs in 32 bits; counting in these units lets an entry be 256 GiB.
const WEIGHT_UNIT: u64 = 64;

/// Quarters of the budget that entries may fill.
const SHARE: (u64, u64) = (3, 4);

/// Rounds of eviction before a reservation is refused. Each one runs the engine's maintenance and
/// advances its deferred reclamation, which takes up to three rounds to let go of an entry.
const SHRINK_ROUNDS: usize = 8;

impl Memory {
    /// An empty tier within a budget of `budget` bytes.
    pub fn new(budget: u64) -> Self {
        let capacity = budget / SHARE.1 * SHARE.0 / WEIGHT_UNIT;
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, entry: &Arc<Entry>| {
                u32::try_from(entry.weight().div_ceil(WEIGHT_UNIT)).unwrap_or(u32::MAX)
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries, parts: Parts::default() }
    }

    /// The entry at `key`, counted as a use of it.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Offers an entry.
    pub fn insert(&self, key: Key, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
        // After: whoever takes the parts of the blob in between would forget this one.
        self.parts.add(&key, |key| self.entries.contains_key(key));
    }

    /// Drops an entry.
    pub fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// Drops every part of a blob; how many there were.
    pub fn remove_all_of(&self, id: &BlobId) -> u64 {
        let removed = self.parts.take(id).filter_map(|key| self.entries.remove(&key));
        removed.map(|_| 1).sum()
    }

    /// What is kept of a blob.
    pub fn entries_of(&self, id: &BlobId) -> impl Iterator<Item = Arc<Entry>> {
        self.parts.of(id).filter_map(|key| self.entries.get(&key))
    }

    /// Drops everything; roughly how many entries there were.
    pub fn clear(&self) -> u64 {
        self.entries.run_pending_tasks();
        let entries = self.entries.entry_count();
        self.entries.invalidate_all();
        entries
    }

    /// Makes room for `bytes`: first by letting the engine catch up, then by evicting entries as
    /// they come, which knows nothing of their worth but always ends. `enough` tells whether the
    /// room suffices; entries that are being sent give theirs back only at their end.
    pub fn shrink<T>(&self, bytes: u64, mut enough: impl FnMut() -> Option<T>) -> Option<T> {
        let mut catch_up = || {
            (0..SHRINK_ROUNDS).find_map(|_| {
                self.entries.run_pending_tasks();
                enough()
            })
        };
        if let Some(room) = catch_up() {
            return Some(room);
        }
        let mut freed = 0;
        for (key, entry) in &self.entries {
            freed += entry.weight();
            drop(entry);
            self.entries.invalidate(&*key);
            if freed >= bytes {
                freed = 0;
                if let Some(room) = catch_up() {
                    return Some(room);
                }
            }
        }
        catch_up()
    }

    /// The entries, one after the other; those that come or go meanwhile may be among them.
    pub fn snapshot(&self) -> impl Iterator<Item = (Arc<Key>, Arc<Entry>)> + Send + '_ {
        self.entries.iter()
    }

    /// Entries held, roughly: maintenance may be pending.
    pub fn entries(&self) -> u64 {
        self.entries.entry_count()
    }
}
