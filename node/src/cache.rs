//! What a node holds, and how it gets what it lacks.
//!
//! [`Cache::lookup`] answers at once: a hit, a recent refusal, or a miss. On a miss,
//! [`Fills::join`](fill::Fills::join) gives the one fill of that key, begun or under way.

pub mod budget;
pub mod entry;
pub mod fill;
pub mod indexes;
pub mod memory;
pub mod negative;
mod parts;
pub mod pinned;
pub mod redis;
pub mod scrub;

use std::sync::Arc;

use wcdn_proto::BlobId;

use self::{
    budget::Budget,
    entry::{Entry, Key, Part},
    indexes::Indexes,
    memory::Memory,
    negative::{Absence, Negative, Refusal},
    pinned::{Offered, Pinned},
};
use crate::{config, events::Log, metrics::events::Tier};

/// The answer to "do you have it?".
#[derive(Debug)]
pub enum Lookup {
    /// Here it is.
    Hit(Arc<Entry>),
    /// Origins said no a moment ago.
    Refused(Absence),
    /// Nothing is known.
    Miss,
}

/// Memory, indexes of quilts and what is known to be absent, under one byte budget; and what is pinned,
/// under another.
#[derive(Debug)]
pub struct Cache {
    memory: Memory,
    pinned: Pinned,
    indexes: Indexes,
    negative: Negative,
    budget: Budget,
    /// What of it may not be served any more.
    log: Arc<Log>,
    /// Whether bytes are checked at all: if not, unchecked ones are as good as any.
    checks: bool,
}

/// What became of an entry that may be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// It is in its place.
    Held,
    /// It has none.
    Unwanted,
    /// An event removed it.
    Removed,
    /// Its bytes are not known to be the blob yet.
    Unchecked,
    /// Others fill the memory for what is pinned.
    Full,
}

/// Share of the memory budget that parsed indexes may take.
const INDEX_SHARE: u64 = 64;

impl Cache {
    /// An empty cache, fenced by `log`.
    pub fn new(config: &config::Cache, checks: bool, log: Arc<Log>) -> Self {
        let budget = Budget::new(config.memory.bytes());
        let memory = Memory::new(config.memory.bytes());
        let pinned = Pinned::new(config.pinned_memory.bytes());
        let indexes = Indexes::new(config.memory.bytes() / INDEX_SHARE);
        let negative = Negative::new(config.negative_ttl.duration());
        Self { memory, pinned, indexes, negative, budget, log, checks }
    }

    /// What is known of `key`, now.
    pub fn lookup(&self, key: &Key) -> Lookup {
        if let Some(entry) = self.memory.get(key).or_else(|| self.pinned.get(key))
            && (!self.checks || entry.is_fresh(key))
        {
            if self.log.admits(&key.id, entry.record().token, Tier::Memory) {
                return Lookup::Hit(entry);
            }
            self.remove(key);
        }
        match self.refused(&key.id) {
            Some(refusal) => Lookup::Refused(refusal.absence),
            None => Lookup::Miss,
        }
    }

    /// What origins said of this id a moment ago, if they refused it and no event removed that since.
    pub fn refused(&self, id: &BlobId) -> Option<Refusal> {
        let refusal = self.negative.get(id)?;
        self.log.admits(id, refusal.token, Tier::Negative).then_some(refusal)
    }

    /// Keeps an entry that is not removed, if it is pinned in its place; else the engine may decide
    /// that others are worth more.
    pub fn admit(&self, key: Key, entry: Arc<Entry>) {
        let token = entry.record().token;
        if !self.log.admits(&key.id, token, Tier::Fill) {
            return;
        }
        if self.pin(&key, &entry) != Pinning::Held {
            self.memory.insert(key, entry);
        }
        // Whoever removed it meanwhile has not found it. It would not be served, but lie there.
        if self.log.removed.covers(&key.id, token) {
            self.remove(&key);
        }
    }

    /// Keeps an entry that is not removed if it is pinned, and else not.
    pub fn hold(&self, key: &Key, entry: &Entry) -> Pinning {
        let token = entry.record().token;
        if !self.log.admits(&key.id, token, Tier::Fill) {
            return Pinning::Removed;
        }
        let pinning = self.pin(key, entry);
        if self.log.removed.covers(&key.id, token) {
            self.remove(key);
            return Pinning::Removed;
        }
        pinning
    }

    /// Puts an entry in its place among what is pinned, and there alone.
    fn pin(&self, key: &Key, entry: &Entry) -> Pinning {
        // Any part of a blob is a miss for whoever wants the whole.
        if key.part != Part::Whole || !self.pinned.wants(&key.id) {
            return Pinning::Unwanted;
        }
        if self.checks && !entry.record().level.is_verified() {
            return Pinning::Unchecked;
        }
        match self.pinned.offer(&key.id, entry) {
            Offered::Taken => {
                self.memory.remove(key);
                self.log.pins.doubt([key.id]);
                Pinning::Held
            }
            Offered::Full => Pinning::Full,
            Offered::Unwanted => Pinning::Unwanted,
        }
    }

    /// Drops an entry. One that is pinned is to be fetched again.
    pub fn remove(&self, key: &Key) {
        self.memory.remove(key);
        if key.part == Part::Whole {
            self.unhold(&key.id);
        }
    }

    fn unhold(&self, id: &BlobId) -> bool {
        let was_held = self.pinned.clear_place(id);
        if was_held {
            self.log.pins.doubt([*id]);
        }
        was_held
    }

    /// Drops all that is kept of a blob; how many entries that were, its index aside.
    pub fn remove_all_of(&self, id: &BlobId) -> u64 {
        self.indexes.remove(id);
        self.memory.remove_all_of(id) + u64::from(self.unhold(id))
    }

    /// Drops everything; roughly how many entries that were.
    pub fn clear(&self) -> u64 {
        self.indexes.clear();
        let held = self.pinned.clear();
        if held > 0 {
            self.log.pins.doubt_all();
        }
        self.memory.clear() + held
    }

    /// Whether any part of a blob still lies here that was removed, or its index. It would not be
    /// served.
    pub fn still_holds(&self, id: &BlobId) -> bool {
        let is_removed = |token| self.log.removed.covers(id, token);
        self.indexes.get(id).is_some_and(|indexed| is_removed(indexed.token()))
            || self.memory.entries_of(id).any(|entry| is_removed(entry.record().token))
            || self
                .pinned
                .get(&Key { id: *id, part: Part::Whole })
                .is_some_and(|entry| is_removed(entry.record().token))
    }

    /// Whether any part of any blob does.
    pub fn still_holds_any(&self) -> bool {
        self.snapshot().any(|(key, entry)| self.log.removed.covers(&key.id, entry.record().token))
    }

    /// Some blobs of which something is kept.
    pub fn some(&self, most: usize) -> Vec<BlobId> {
        self.snapshot().map(|(key, _)| key.id).take(most).collect()
    }

    /// The entries, one after the other; those that come or go meanwhile may be among them.
    pub fn snapshot(&self) -> impl Iterator<Item = (Key, Arc<Entry>)> + Send + '_ {
        self.memory.snapshot().map(|(key, entry)| (*key, entry)).chain(self.pinned.snapshot())
    }

    /// The indexes of quilts.
    pub fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    /// What fences it.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Remembers for a moment that origins refused this id.
    pub fn refuse(&self, id: BlobId, refusal: Refusal) {
        self.negative.insert(id, refusal);
    }

    /// Takes `bytes` of the budget, evicting entries if it must.
    ///
    /// `None` when what is free and what could be evicted do not suffice: shed now.
    pub fn reserve(&self, bytes: u64) -> Option<budget::Reservation> {
        self.budget
            .reserve(bytes)
            .or_else(|| self.memory.shrink(bytes, || self.budget.reserve(bytes)))
    }

    /// The budget, for its gauges.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What is pinned, for whoever keeps it, and for its gauges.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// The memory tier, for its gauges.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use wcdn_proto::{ByteSize, Position};

    use super::*;
    use crate::{
        cache::entry::{Level, Part, Record, cost},
        edge::{media::MediaType, validator},
    };

    const ENTRY: u64 = 100_000;

    fn cache() -> Cache {
        let memory = ByteSize::mib(16);
        Cache::new(&config::Cache { memory, ..Default::default() }, true, Log::none())
    }

    fn admit(cache: &Cache, n: u8) -> Option<Arc<Entry>> {
        let id = BlobId::from_bytes([n; 32]);
        let record = Record {
            length: ENTRY,
            total: ENTRY,
            media: MediaType::OCTET_STREAM,
            level: Level::Full,
            digest: blake3::hash(&[]),
            token: Position::ORIGIN,
            inserted: SystemTime::now(),
        };
        let held = cache.reserve(cost(ENTRY))?;
        let body = Bytes::from(vec![n; 100_000]);
        let entry = Arc::new(Entry::new(record, validator::etag(&id), vec![body], held));
        cache.admit(Key { id, part: Part::Whole }, Arc::clone(&entry));
        Some(entry)
    }

    #[test]
    fn a_full_cache_makes_room_for_a_fill_of_any_share() {
        let cache = cache();
        (0..=255).for_each(|n| drop(admit(&cache, n)));
        assert!(cache.budget().used() > 8 << 20, "the cache is full");
        let room = cache.reserve(14 << 20);
        assert!(room.is_some(), "{} bytes are held", cache.budget().used());
    }

    #[test]
    fn what_is_being_sent_keeps_its_room_and_the_limit_holds() {
        let cache = cache();
        let sending: Vec<_> = (0..=255).filter_map(|n| admit(&cache, n)).collect();
        assert!(cache.budget().used() <= 16 << 20);
        assert!(sending.len() > 150 && sending.len() < 256, "{} were admitted", sending.len());
        assert!(cache.reserve(8 << 20).is_none(), "nothing can be evicted that is being sent");
        drop(sending);
        assert!(cache.reserve(8 << 20).is_some());
    }
}
