//! What each event did here, kept for every control plane to be told.
//!
//! Numbers say how far each of them has been: sessions tell in their own time, and again what was on its
//! way when the one before broke.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    Position,
    pb::edge::v1::{Outcome, ReadBack, RedisOutcome},
};

use crate::metrics::events::EventMetrics;

/// The latest outcomes, each with a number: from 1 in every start of the node.
#[derive(Debug)]
pub struct Outcomes {
    kept: Mutex<Kept>,
    /// The number of the last; sessions wait for it.
    last: watch::Sender<u64>,
    metrics: Arc<EventMetrics>,
}

#[derive(Debug)]
struct Kept {
    /// With when each came, the oldest first.
    outcomes: VecDeque<(Instant, Outcome)>,
    /// The number of the oldest; of the next, if there is none.
    first: u64,
    /// The highest number that any control plane was told.
    told: u64,
}

/// Some outcomes in the order of their numbers.
#[derive(Debug, Default)]
pub struct Told {
    /// The number of the first of them; 0 if there are none.
    pub first: u64,
    /// The number after which to go on.
    pub last: u64,
    /// What the events did.
    pub outcomes: Vec<Outcome>,
    /// Whether there are no more.
    pub is_all: bool,
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

/// Outcomes that are kept. Beyond that the oldest go, counted if nobody was told: their events are
/// applied and confirmed all the same, only what they did here is not told.
const MAX_KEPT: usize = 65_536;

/// How long they are kept: as far back as a control plane that starts anew goes on with receipts.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

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
        let kept = Kept { outcomes: VecDeque::new(), first: 1, told: 0 };
        Self { kept: Mutex::new(kept), last: watch::Sender::new(0), metrics }
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
        let mut kept = self.kept.lock();
        kept.outcomes.push_back((Instant::now(), outcome));
        self.make_room(&mut kept);
        self.last.send_replace(kept.last());
    }

    /// At most `most` of those with a number above `told`, the oldest first.
    pub fn after(&self, told: u64, most: usize) -> Told {
        let mut kept = self.kept.lock();
        self.make_room(&mut kept);
        let last = kept.last();
        // None is beyond the last, whatever a control plane says.
        let begin = told.saturating_add(1).clamp(kept.first, last + 1);
        let skipped = usize::try_from(begin - kept.first).unwrap_or(usize::MAX);
        let outcomes = kept.outcomes.iter().skip(skipped).take(most);
        let outcomes: Vec<_> = outcomes.map(|(_, outcome)| *outcome).collect();
        let end = begin - 1 + outcomes.len() as u64;
        kept.told = kept.told.max(end);
        let first = if outcomes.is_empty() { 0 } else { begin };
        Told { first, last: end, outcomes, is_all: end == last }
    }

    /// Where the number of the last outcome can be waited for.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn make_room(&self, kept: &mut Kept) {
        let is_over = |kept: &Kept| {
            let oldest = kept.outcomes.front();
            kept.outcomes.len() > MAX_KEPT
                || oldest.is_some_and(|(since, _)| since.elapsed() >= KEPT_FOR)
        };
        while is_over(kept) {
            kept.outcomes.pop_front();
            if kept.first > kept.told {
                self.metrics.outcomes_dropped.inc();
            }
            kept.first += 1;
        }
    }
}

impl Kept {
    fn last(&self) -> u64 {
        self.first + self.outcomes.len() as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn seqs(told: &Told) -> Vec<u64> {
        told.outcomes.iter().filter_map(|it| it.position).map(|it| it.seq).collect()
    }

    #[tokio::test]
    async fn each_control_plane_goes_on_where_it_was() {
        let outcomes = Outcomes::new(Arc::default());
        let none = outcomes.after(0, 10);
        assert_eq!((none.first, none.last, none.is_all), (0, 0, true));
        let did = Did { memory_removed: 2, fills_marked: 1 };
        outcomes.done(at(8), did, Some(Removal::unreachable()));
        outcomes.done(at(7), Did::default(), None);
        let told = outcomes.after(0, 1);
        assert_eq!((told.first, told.last, told.is_all), (1, 1, false));
        assert_eq!((told.outcomes[0].memory_removed, told.outcomes[0].fills_marked), (2, 1));
        assert_eq!(told.outcomes[0].redis(), RedisOutcome::Unreachable);
        assert_eq!(seqs(&outcomes.after(1, 10)), [7]);
        assert_eq!(seqs(&outcomes.after(0, 10)), [8, 7], "another has heard nothing yet");
        let beyond = outcomes.after(u64::MAX, 10);
        assert_eq!((beyond.first, beyond.last, beyond.is_all), (0, 2, true));
    }

    #[tokio::test]
    async fn outcomes_are_bounded_and_those_that_nobody_was_told_are_counted() {
        let metrics = Arc::<EventMetrics>::default();
        let outcomes = Outcomes::new(Arc::clone(&metrics));
        (0..5).for_each(|seq| outcomes.done(at(seq), Did::default(), None));
        outcomes.after(0, 5);
        for seq in 5..MAX_KEPT as u64 + 10 {
            outcomes.done(at(seq), Did::default(), None);
        }
        assert_eq!(metrics.outcomes_dropped.get(), 5, "five of ten were told");
        let told = outcomes.after(0, 1);
        assert_eq!((told.first, seqs(&told)), (11, vec![10]));
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_of_long_ago_are_of_no_use_to_a_control_plane_that_comes_back() {
        let outcomes = Outcomes::new(Arc::default());
        outcomes.done(at(1), Did::default(), None);
        tokio::time::advance(KEPT_FOR / 2).await;
        outcomes.done(at(2), Did::default(), None);
        tokio::time::advance(KEPT_FOR / 2).await;
        let told = outcomes.after(0, 10);
        assert_eq!((told.first, seqs(&told)), (2, vec![2]));
        tokio::time::advance(KEPT_FOR).await;
        let told = outcomes.after(0, 10);
        assert_eq!((told.first, told.last, told.is_all), (0, 2, true));
    }
}
