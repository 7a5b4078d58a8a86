//! Events become true: the fence first, then what it covers is dropped.
//!
//! The order matters. The place of an event is *known* before the fence stands, so that no fetch
//! begins in between whose token would be too old; the fence stands before anything is dropped, so
//! that whatever is kept meanwhile is kept in vain.
//!
//! Blocks are in force at once, and count as applied when they stand on disk, which [`Applier::keep`]
//! waits for: a disk that hangs holds up their positions, and no other event.
//!
//! Events and snapshots come from two sides, the plane and the reading of the log, and take turns: a
//! snapshot must not undo what an event said that is being applied.

use std::sync::Arc;

use parking_lot::Mutex;
use wcdn_gossip::seam::Sink;
use wcdn_proto::{BlobId, Change, ContentId, Events, Position, Purge};

use super::{
    Log,
    disk::Disk,
    outcome::{Did, Outcomes, Removal},
    redis::RedisRemovals,
    removed::Removals,
    words::Word,
};
use crate::cache::{Cache, fill::Fills};

/// Applies events to all that this node holds.
#[derive(Debug)]
pub struct Applier {
    log: Arc<Log>,
    cache: Arc<Cache>,
    fills: Fills,
    redis: Option<RedisRemovals>,
    disk: Option<Arc<Disk>>,
    outcomes: Arc<Outcomes>,
    /// Held by whoever makes something true, to the end.
    turn: Mutex<()>,
    unkept: Mutex<Unkept>,
}

/// What is withheld, or no longer is, and has not been given to the disk.
#[derive(Debug)]
enum Unkept {
    /// These words.
    Words(Vec<(ContentId, Word)>),
    /// More than a list may hold: all that is known is to be written.
    All,
}

/// Everything that a node must know to begin, as a control plane gives it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What it is of.
    pub position: Option<Position>,
    /// What was removed. `None` where it cannot be read: then everything up to the position was.
    pub removals: Option<Removals>,
    /// What is withheld.
    pub blocked: Vec<ContentId>,
    /// What is pinned.
    pub pinned: Vec<BlobId>,
}

/// Blobs that are looked for in Redis after everything was removed.
const LOOKED_FOR: usize = 16;

/// Words that wait for the disk, of 56 bytes each: as many as ten of the largest blocks have.
const MAX_UNKEPT: usize = 100_000;

impl Default for Unkept {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

impl Unkept {
    fn add(&mut self, heard: Vec<(ContentId, Word)>) {
        let Self::Words(words) = self else { return };
        words.extend(heard);
        if words.len() > MAX_UNKEPT {
            *self = Self::All;
        }
    }
}

impl Applier {
    /// Applies to these. Without `disk`, blocks do not outlast the process.
    pub fn new(
        fills: Fills,
        cache: Arc<Cache>,
        redis: Option<RedisRemovals>,
        disk: Option<Arc<Disk>>,
        outcomes: Arc<Outcomes>,
    ) -> Self {
        let log = Arc::clone(cache.log());
        let (turn, unkept) = (Mutex::default(), Mutex::default());
        Self { log, cache, fills, redis, disk, outcomes, turn, unkept }
    }

    /// Puts a snapshot into force, and returns when it would outlast a crash; `false` if it is of an
    /// older epoch, and nothing changes. Nor does it if all that it is of is true already.
    ///
    /// # Cancel safety
    /// What it blocks and removes is in force, and its position does not count.
    pub async fn replace(&self, snapshot: Snapshot) -> bool {
        let Some(at) = snapshot.position.filter(|at| at.epoch >= self.log.removed.epoch()) else {
            return false;
        };
        let applied = self.log.positions.applied();
        if at.epoch != applied.epoch || at > applied {
            if !self.put_into_force(&snapshot, at) {
                return false;
            }
            if let Some(disk) = &self.disk {
                disk.rewrite_journal(&self.log).await;
            }
            self.log.positions.head(at);
        }
        // First: whoever waits for the position then looks whether the node has begun.
        self.log.begin();
        self.log.positions.advance(at);
        true
    }

    /// `false` if a newer epoch has come into force meanwhile.
    fn put_into_force(&self, snapshot: &Snapshot, at: Position) -> bool {
        let _turn = self.turn.lock();
        if at.epoch < self.log.removed.epoch() {
            return false;
        }
        self.log.positions.hear(at);
        match &snapshot.removals {
            Some(removals) => {
                self.log.removed.merge(removals);
            }
            None => self.log.removed.remove_all(at),
        }
        self.log.blocked.replace(&snapshot.blocked, at);
        self.log.pins.replace(&snapshot.pinned, at);
        self.log.cut();
        // What it covers cannot be told one by one; a snapshot is rare.
        self.cache.clear();
        self.fills.forget_all();
        true
    }

    /// The fence for all of it; nothing is dropped yet.
    fn fence(&self, events: &Events) {
        self.log.removed.begin(events.first.epoch);
        for (at, change) in events.iter() {
            match change {
                Change::Purge(Purge::Ids(ids)) => self.log.removed.remove(ids, at),
                Change::Purge(Purge::All) | Change::Unknown { is_ignorable: false } => {
                    self.log.removed.remove_all(at);
                }
                _ => {}
            }
        }
    }

    /// What is withheld from now on, to be kept.
    fn withhold(&self, events: &Events, applied: Position) -> Vec<(ContentId, Word)> {
        let mut heard = Vec::new();
        for (at, change) in events.iter().filter(|(at, _)| *at > applied) {
            let (ids, is_set) = match change {
                Change::Block(ids) => (ids, true),
                Change::Unblock(ids) => (ids, false),
                _ => continue,
            };
            let word = Word { at, is_set };
            self.log.blocked.hear(ids, word);
            heard.extend(ids.iter().map(|id| (*id, word)));
        }
        if heard.iter().any(|(_, word)| word.is_set) {
            self.log.cut();
        }
        heard
    }

    /// What is pinned from now on, or no longer, and what becomes of keys.
    fn note(&self, events: &Events, applied: Position) {
        for (at, change) in events.iter().filter(|(at, _)| *at > applied) {
            let (ids, is_set) = match change {
                Change::Key(key) => {
                    self.log.keys.hear(key, at);
                    continue;
                }
                Change::Pin(ids) => (ids, true),
                Change::Unpin(ids) => (ids, false),
                _ => continue,
            };
            self.log.pins.hear(ids, Word { at, is_set });
        }
    }

    fn drop_removed(&self, at: Position, change: &Change) {
        match change {
            Change::Purge(Purge::Ids(ids)) => self.drop_ids(at, ids),
            Change::Purge(Purge::All) | Change::Unknown { is_ignorable: false } => {
                let some = self.cache.some(LOOKED_FOR);
                let did = Did {
                    memory_removed: self.cache.clear(),
                    fills_marked: self.fills.forget_all(),
                };
                match &self.redis {
                    // Nobody looks where it keeps it any more.
                    Some(redis) => redis.look(at, some, did),
                    None => {
                        let is_clean = !self.cache.still_holds_any();
                        self.outcomes.done(at, did, Some(Removal::none(is_clean)));
                    }
                }
            }
            _ => self.outcomes.done(at, Did::default(), None),
        }
    }

    fn drop_ids(&self, at: Position, ids: &[BlobId]) {
        let did = Did {
            memory_removed: ids.iter().map(|id| self.cache.remove_all_of(id)).sum(),
            fills_marked: self.fills.forget(ids),
        };
        match &self.redis {
            Some(redis) => redis.remove(at, ids, did),
            None => {
                let is_clean = !ids.iter().any(|id| self.cache.still_holds(id));
                self.outcomes.done(at, did, Some(Removal::none(is_clean)));
            }
        }
    }
}

impl Sink for Applier {
    fn apply(&self, events: &Events) {
        let _turn = self.turn.lock();
        let applied = self.log.positions.applied();
        let epoch = self.log.removed.epoch();
        // What is true stays true. A word on a block could even undo a later one that is forgotten.
        if events.first.epoch < epoch || events.last() <= applied {
            return;
        }
        self.log.positions.hear(events.last());
        self.fence(events);
        let heard = self.withhold(events, applied);
        if events.first.epoch > epoch {
            // Nothing proves what was fetched under the old log.
            self.cache.clear();
            self.fills.forget_all();
        }
        for (at, change) in events.iter().filter(|(at, _)| *at > applied) {
            self.drop_removed(at, change);
        }
        self.note(events, applied);
        if self.disk.is_some() {
            self.unkept.lock().add(heard);
        }
    }

    async fn keep(&self) {
        let Some(disk) = &self.disk else { return };
        let unkept = std::mem::take(&mut *self.unkept.lock());
        match unkept {
            Unkept::Words(words) if words.is_empty() => {}
            Unkept::Words(words) => disk.journal(words).await,
            Unkept::All => disk.rewrite_journal(&self.log).await,
        }
    }
}

#[cfg(test)]
mod tests;
