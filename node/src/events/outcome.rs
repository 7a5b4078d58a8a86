//! What each event did here, kept until a control plane has been told.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wcdn_proto::{
    Position,
    pb::edge::v1::{Outcome, ReadBack, RedisOutcome},
};

use crate::metrics::events::EventMetrics;

/// Outcomes that wait to be reported. Those of one event are merged.
#[derive(Debug)]
pub struct Outcomes {
    waiting: Mutex<BTreeMap<Position, Outcome>>,
    more: Notify,
    metrics: Arc<EventMetrics>,
}

/// What was dropped on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Did {
    /// Entries in memory.
    pub memory_removed: u64,
    /// Fills under way whose bytes are not kept.
    pub fills_marked: u64,
}

/// What was dropped from the region's Redis, and whether anything is still found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    redis: RedisOutcome,
    removed: u64,
    read_back: ReadBack,
}

/// Outcomes that may wait. Beyond that the oldest go, counted: their events are applied and confirmed
/// all the same, only what they did here is not told.
const MAX_WAITING: usize = 65_536;

impl Removal {
    /// There is no Redis; what is left in memory was looked at.
    pub fn none(is_clean: bool) -> Self {
        let read_back = if is_clean { ReadBack::Clean } else { ReadBack::Stale };
        Self { redis: RedisOutcome::None, removed: 0, read_back }
    }

    /// Redis keeps everything elsewhere from now on: nothing was removed from it. Whether something is
    /// still found, if there was anything to look for.
    pub fn moved(is_clean: Option<bool>) -> Self {
        Self { redis: RedisOutcome::Unspecified, ..Self::done(0, is_clean) }
    }

    /// Redis did not answer, or was not asked since too much waits for it.
    pub fn unreachable() -> Self {
        Self { redis: RedisOutcome::Unreachable, removed: 0, read_back: ReadBack::Unknown }
    }

    /// Redis dropped so many blobs; whether something is still found, if that could be read.
    pub fn done(removed: u64, is_clean: Option<bool>) -> Self {
        let read_back = match is_clean {
            Some(true) => ReadBack::Clean,
            Some(false) => ReadBack::Stale,
            None => ReadBack::Unknown,
        };
        Self { redis: RedisOutcome::Removed, removed, read_back }
    }
}

impl Outcomes {
    /// None yet.
    pub fn new(metrics: Arc<EventMetrics>) -> Self {
        Self { waiting: Mutex::default(), more: Notify::new(), metrics }
    }

    /// Notes what an event did; without `removal` it had nothing to remove.
    pub fn done(&self, at: Position, did: Did, removal: Option<Removal>) {
        let (redis, redis_removed, read_back) = match removal {
            Some(Removal { redis, removed, read_back }) => (redis, removed, read_back),
            None => (RedisOutcome::Unspecified, 0, ReadBack::Unspecified),
        };
        let outcome = Outcome {
            position: Some(at.into()),
            memory_removed: did.memory_removed,
            fills_marked: did.fills_marked,
            redis: redis.into(),
            redis_removed,
            read_back: read_back.into(),
        };
        self.put(at, outcome);
        self.more.notify_one();
    }

    fn put(&self, at: Position, outcome: Outcome) {
        let mut waiting = self.waiting.lock();
        match waiting.entry(at) {
            Entry::Vacant(vacant) => {
                vacant.insert(outcome);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                *known = Outcome {
                    memory_removed: known.memory_removed + outcome.memory_removed,
                    fills_marked: known.fills_marked + outcome.fills_marked,
                    redis_removed: known.redis_removed + outcome.redis_removed,
                    ..outcome
                };
            }
        }
        if waiting.len() > MAX_WAITING {
            waiting.pop_first();
            self.metrics.outcomes_dropped.inc();
        }
    }

    /// Waits for an outcome.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait(&self) {
        self.more.notified().await;
    }

    /// At most `most` of those that wait, the oldest first.
    pub fn take(&self, most: usize) -> Vec<Outcome> {
        let mut waiting = self.waiting.lock();
        let taken = std::iter::from_fn(|| waiting.pop_first()).take(most);
        let taken: Vec<_> = taken.map(|(_, outcome)| outcome).collect();
        if !waiting.is_empty() {
            self.more.notify_one();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    #[test]
    fn what_one_event_did_twice_is_told_once_and_the_oldest_is_told_first() {
        let outcomes = Outcomes::new(Arc::default());
        let did = Did { memory_removed: 2, fills_marked: 1 };
        outcomes.done(at(7), did, Some(Removal::done(1, Some(true))));
        outcomes.done(at(7), did, Some(Removal::unreachable()));
        outcomes.done(at(8), Did::default(), None);
        let taken = outcomes.take(1);
        assert_eq!((taken[0].memory_removed, taken[0].fills_marked), (4, 2));
        assert_eq!(taken[0].redis(), RedisOutcome::Unreachable);
        let seqs = outcomes.take(10).into_iter().filter_map(|it| it.position).map(|it| it.seq);
        assert_eq!(seqs.collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn outcomes_that_nobody_takes_are_bounded_and_counted() {
        let metrics = Arc::<EventMetrics>::default();
        let outcomes = Outcomes::new(Arc::clone(&metrics));
        for seq in 0..MAX_WAITING as u64 + 10 {
            outcomes.done(at(seq), Did::default(), None);
        }
        assert_eq!(metrics.outcomes_dropped.get(), 10);
        assert_eq!(outcomes.take(1)[0].position.map(|it| it.seq), Some(10));
    }
}
