//! The task that keeps what is pinned.
//!
//! It alone decides which blobs have a place in the pinned tier, and owns what is done for each: first
//! fetched, then held and renewed in Redis from time to time, and let go of once it is no longer pinned,
//! or belongs to other nodes. What the log, the cache or the ring change comes to it as a doubt
//! ([`Pins::look`](crate::events::pins::Pins::look)), so that it only ever compares what is with what is
//! to be.

use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use wcdn_proto::{BlobId, ByteSize, pb::edge::v1::Keeping};

use super::{
    table::{State, Table},
    told::Told,
    work::{self, Attempt},
};
use crate::{
    cache::{
        Cache,
        entry::{Entry, Key, Part, cost},
        fill::{
            Fills,
            ahead::{Ahead, Fetched},
            error::FillError,
        },
        redis::keep::Stay,
    },
    events::{Log, pins::Look},
    metrics::pins::PinMetrics,
    peer::view::View,
};

/// What the keeper works with.
#[derive(Debug)]
pub struct Means {
    /// Where entries lie.
    pub cache: Arc<Cache>,
    /// How they come.
    pub fills: Fills,
    /// The same, behind viewers.
    pub ahead: Ahead,
    /// Whose they are.
    pub view: View,
    /// Where it is told.
    pub told: Arc<Told>,
    /// How often each is looked for in Redis.
    pub check: Duration,
    /// Where it is counted.
    pub metrics: Arc<PinMetrics>,
}

/// Keeps what is pinned.
pub struct Keeper {
    means: Means,
    pins: Table,
    /// Those to be fetched next. Some may have been let go of, or have come by themselves.
    ready: VecDeque<BlobId>,
    /// Whether there may be room again for those that found none.
    freed: bool,
    filling: FuturesUnordered<Work<(BlobId, Outcome)>>,
    renewing: FuturesUnordered<Work<Stay>>,
}

/// What became of a fill.
type Outcome = Result<Fetched, Arc<FillError>>;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Nodes of a region that keep a pinned blob.
const KEEPERS: usize = 2;

/// From the start until a node knows of the others, so that it does not take all blobs for its own.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a node that is no longer one of the keepers of a blob goes on holding it: longer than the
/// next one needs to learn of it and to fetch it, mostly.
const GRACE: Duration = Duration::from_secs(60);

/// Between two looks at everything, should anything have been missed.
const LOOK_AROUND: Duration = Duration::from_secs(60);

/// Between two looks whether a blob finds room that found none: what viewers are being sent gives its
/// room back late.
const ROOM: Duration = Duration::from_secs(10);

/// Blobs that are renewed in Redis at once, beside what viewers ask.
const RENEWED_AT_ONCE: usize = 2;

/// Blobs that are looked at without letting others work.
const IN_A_ROW: usize = 256;

impl Keeper {
    /// Keeps nothing yet.
    pub fn new(means: Means) -> Self {
        Self {
            means,
            pins: Table::default(),
            ready: VecDeque::new(),
            freed: false,
            filling: FuturesUnordered::new(),
            renewing: FuturesUnordered::new(),
        }
    }

    /// Runs for ever. Dropped, it gives up what it fetches.
    pub async fn run(mut self) {
        sleep(SETTLE).await;
        let log = Arc::clone(self.means.cache.log());
        log.pins.doubt_all();
        let mut around = Instant::now() + LOOK_AROUND;
        loop {
            self.begin_fills();
            let next = self.next();
            tokio::select! {
                look = log.pins.look() => self.look(&log, look).await,
                Some((id, fetched)) = self.filling.next() => self.fetched(id, &fetched),
                Some(stay) = self.renewing.next() => self.means.metrics.renewed(stay),
                () = at(next) => self.work_off(),
                () = sleep_until(around) => {
                    around = Instant::now() + LOOK_AROUND;
                    log.pins.forget_ends(log.positions.applied());
                    log.pins.doubt_all();
                }
            }
            // Those that are on their way take what room there is.
            if self.freed && self.ready.is_empty() && self.filling.is_empty() {
                self.find_room();
            }
        }
    }

    /// When something is due. What cannot be renewed now waits until a renewal has ended.
    fn next(&self) -> Option<Instant> {
        let is_full = self.renewing.len() >= RENEWED_AT_ONCE;
        self.pins.first_due().map(|(at, _)| at).filter(|_| !is_full)
    }

    async fn look(&mut self, log: &Log, look: Look) {
        let ids = match look {
            Look::At(ids) => ids,
            Look::All => {
                let kept = self.pins.ids().filter(|id| !log.pins.contains(id));
                let kept: Vec<_> = kept.collect();
                [kept, log.pins.ids()].concat()
            }
        };
        for (n, id) in ids.into_iter().enumerate() {
            self.consider(log, id);
            if n % IN_A_ROW == IN_A_ROW - 1 {
                yield_now().await;
            }
        }
    }

    /// Compares what is done for a blob with what is to be.
    fn consider(&mut self, log: &Log, id: BlobId) {
        if !log.pins.contains(&id) {
            return self.release(&id);
        }
        let is_mine = self.means.view.rank(&id) < KEEPERS;
        let is_held = self.holds(&id);
        match (is_mine, self.pins.state(&id)) {
            (true, None) => self.begin(id),
            (true, Some(State::Held)) if !is_held => self.refill(id),
            (true, Some(State::Held | State::Filling)) => {}
            (true, Some(_)) if is_held => self.hold(id),
            (true, Some(State::Leaving)) => self.refill(id),
            (true, Some(_)) => {}
            (false, Some(State::Held)) if is_held => {
                self.pins.put(id, State::Leaving, Some(Instant::now() + GRACE));
            }
            (false, Some(State::Leaving)) if is_held => {}
            (false, _) => self.release(&id),
        }
    }

    fn holds(&self, id: &BlobId) -> bool {
        self.means.cache.pinned().get(&whole(*id)).is_some()
    }

    fn begin(&mut self, id: BlobId) {
        self.means.cache.pinned().want(id);
        self.refill(id);
    }

    fn refill(&mut self, id: BlobId) {
        self.queue(id);
        self.means.told.tell(id, Keeping::Filling, "");
        // It may have given room back.
        self.freed = true;
    }

    fn hold(&mut self, id: BlobId) {
        let check = Instant::now() + work::jittered(self.means.check);
        self.pins.put(id, State::Held, Some(check));
        self.pins.succeeded(&id);
        self.means.told.tell(id, Keeping::Held, "");
    }

    fn queue(&mut self, id: BlobId) {
        self.pins.put(id, State::Ready, None);
        self.ready.push_back(id);
    }

    fn release(&mut self, id: &BlobId) {
        if self.pins.remove(id) {
            self.means.cache.pinned().release(id);
            self.means.told.end(*id);
            self.freed = true;
        }
    }

    /// Does what is due.
    fn work_off(&mut self) {
        let now = Instant::now();
        while let Some((_, id)) = self.pins.first_due().filter(|(at, _)| *at <= now) {
            if self.renewing.len() >= RENEWED_AT_ONCE {
                return;
            }
            match self.pins.state(&id) {
                Some(State::Waiting) => self.queue(id),
                Some(State::Held) => self.renew(id),
                Some(State::OverBudget(cost)) if self.free() >= cost => self.refill(id),
                Some(state @ State::OverBudget(_)) => {
                    self.pins.put(id, state, Some(now + work::jittered(ROOM)));
                }
                Some(State::Leaving) => self.release(&id),
                Some(state @ (State::Ready | State::Filling)) => self.pins.put(id, state, None),
                None => return,
            }
        }
    }

    fn free(&self) -> u64 {
        let budget = self.means.cache.pinned().budget();
        budget.limit().saturating_sub(budget.used())
    }

    /// Fetches those again for which there is room by now.
    fn find_room(&mut self) {
        let mut free = self.free();
        let fits = |cost: &u64| {
            let rest = free.checked_sub(*cost);
            free = rest.unwrap_or(free);
            rest.is_some()
        };
        for id in self.pins.over_budget(fits) {
            self.refill(id);
        }
        self.freed = false;
    }

    fn begin_fills(&mut self) {
        while self.filling.len() < self.means.ahead.most() {
            let Some(id) = self.ready.pop_front() else { return };
            if self.pins.state(&id) != Some(State::Ready) {
                continue;
            }
            self.pins.put(id, State::Filling, None);
            let ahead = self.means.ahead.clone();
            self.filling.push(Box::pin(async move { (id, ahead.fetch(id).await) }));
        }
    }

    fn fetched(&mut self, id: BlobId, fetched: &Outcome) {
        if self.pins.state(&id) != Some(State::Filling) {
            return;
        }
        let pinning = match fetched {
            Ok(Fetched::Whole(entry, _)) => Some(self.means.cache.hold(&whole(id), entry)),
            Ok(Fetched::Large { .. }) | Err(_) => None,
        };
        let attempt = Attempt::new(fetched, pinning, self.means.ahead.whole());
        self.means.metrics.fetched(&attempt);
        match (&attempt, fetched) {
            (Attempt::Held, _) => self.hold(id),
            (Attempt::OverBudget, Ok(Fetched::Whole(entry, _))) => self.leave_out(id, entry),
            _ => self.try_again(id, &attempt),
        }
    }

    fn leave_out(&mut self, id: BlobId, entry: &Entry) {
        let cost = cost(entry.record().length);
        let (bytes, limit) = (ByteSize::new(cost), self.means.cache.pinned().budget().limit());
        let limit = ByteSize::new(limit);
        let why = format!("it takes {bytes}, and others fill cache.pinned_memory ({limit})");
        self.pins.put(id, State::OverBudget(cost), Some(Instant::now() + work::jittered(ROOM)));
        self.means.told.tell(id, Keeping::OverBudget, &why);
    }

    fn try_again(&mut self, id: BlobId, attempt: &Attempt) {
        let is_failure = matches!(attempt, Attempt::Failed(_) | Attempt::Hopeless(_));
        let failures = self.pins.failures(&id, is_failure);
        let (keeping, why) = match attempt {
            Attempt::Hopeless(why) => (Keeping::Failed, why.as_str()),
            Attempt::Failed(why) | Attempt::Busy(why) => (work::keeping(failures), why.as_str()),
            Attempt::Again(why) => (work::keeping(failures), *why),
            Attempt::Held | Attempt::OverBudget => (Keeping::Filling, ""),
        };
        let due = Instant::now() + work::pause(attempt, failures);
        self.pins.put(id, State::Waiting, Some(due));
        self.means.told.tell(id, keeping, why);
    }

    /// Has a blob stay in Redis; one of its keepers does.
    fn renew(&mut self, id: BlobId) {
        let next = Instant::now() + work::jittered(self.means.check);
        self.pins.put(id, State::Held, Some(next));
        let entry = self.means.cache.pinned().get(&whole(id));
        let redis = self.means.fills.redis().filter(|_| self.means.view.rank(&id) == 0).cloned();
        if let (Some(redis), Some(entry)) = (redis, entry) {
            self.renewing.push(Box::pin(async move { redis.keep(&id, &entry).await }));
        }
    }
}

fn whole(id: BlobId) -> Key {
    Key { id, part: Part::Whole }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("pins", &self.pins).finish_non_exhaustive()
    }
}
