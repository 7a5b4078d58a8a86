//! What was removed goes from the region's Redis, in its own time.
//!
//! No position waits for this: what Redis still holds is fenced. It frees memory, and reads back what
//! receipts tell.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::{BlobId, Position};

use super::outcome::{Did, Outcomes, Removal};
use crate::cache::{Cache, redis::Redis};

/// The queue of removals.
#[derive(Debug)]
pub struct RedisRemovals {
    queue: mpsc::Sender<Job>,
    outcomes: Arc<Outcomes>,
}

#[derive(Debug)]
struct Job {
    at: Position,
    ids: Vec<BlobId>,
    did: Did,
    /// Whether everything was removed; then these are some of the blobs that were here.
    is_all: bool,
}

/// Events whose removal may wait: twice a purge of a hundred thousand ids.
const MAX_WAITING: usize = 8192;

/// Blobs that are removed at once, beside what viewers ask.
const AT_ONCE: usize = 4;

impl RedisRemovals {
    /// Begins to remove.
    pub fn start(
        redis: Redis,
        cache: Arc<Cache>,
        outcomes: Arc<Outcomes>,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(MAX_WAITING);
        let running = run(jobs, redis, cache, Arc::clone(&outcomes));
        tasks.spawn(shutdown.run_until_cancelled_owned(running));
        Self { queue, outcomes }
    }

    /// Removes these blobs, and tells what came of the event then. Where too much waits already, they
    /// stay until their time is over.
    pub fn remove(&self, at: Position, ids: &[BlobId], did: Did) {
        self.put(Job { at, ids: ids.to_vec(), did, is_all: false });
    }

    /// Redis keeps everything elsewhere from now on; looks whether some blobs that were here can still
    /// be had, and tells what came of the event then.
    pub fn look(&self, at: Position, some: Vec<BlobId>, did: Did) {
        self.put(Job { at, ids: some, did, is_all: true });
    }

    fn put(&self, job: Job) {
        let (at, did) = (job.at, job.did);
        if self.queue.try_send(job).is_err() {
            self.outcomes.done(at, did, Some(Removal::unreachable()));
        }
    }
}

async fn run(
    mut jobs: mpsc::Receiver<Job>,
    redis: Redis,
    cache: Arc<Cache>,
    outcomes: Arc<Outcomes>,
) {
    while let Some(Job { at, ids, did, is_all }) = jobs.recv().await {
        if is_all {
            outcomes.done(at, did, Some(look(&redis, &cache, &ids).await));
            continue;
        }
        let removing = stream::iter(ids).map(|id| remove(&redis, &cache, id));
        let removals: Vec<_> = removing.buffer_unordered(AT_ONCE).collect().await;
        outcomes.done(at, did, Some(sum(&removals)));
    }
}

/// Whether Redis held the blob, and whether anything still does; `None` where it does not answer.
type Removed = (Option<bool>, Option<bool>);

async fn remove(redis: &Redis, cache: &Cache, id: BlobId) -> Removed {
    let was_there = redis.remove(&id).await;
    let is_there = match was_there {
        Some(true) => redis.still_holds(&id).await,
        // It was looked for just now.
        Some(false) => Some(false),
        None => None,
    };
    (was_there, is_there.map(|in_redis| !in_redis && !cache.still_holds(&id)))
}

/// Where nothing is to be removed: what is found of these blobs, one after the other.
async fn look(redis: &Redis, cache: &Cache, some: &[BlobId]) -> Removal {
    let mut is_found = cache.still_holds_any();
    for id in some {
        match redis.still_holds(id).await {
            Some(in_redis) => is_found |= in_redis,
            None => return Removal::unreachable(),
        }
    }
    let is_known = is_found || !some.is_empty();
    Removal::moved(is_known.then_some(!is_found))
}

fn sum(removals: &[Removed]) -> Removal {
    if removals.iter().any(|(was_there, _)| was_there.is_none()) {
        return Removal::unreachable();
    }
    let removed = removals.iter().filter(|(was_there, _)| *was_there == Some(true)).count();
    let found = |finding| removals.iter().any(|(_, is_clean)| *is_clean == finding);
    let is_clean = match (found(Some(false)), found(None)) {
        (true, _) => Some(false),
        (false, true) => None,
        (false, false) => Some(true),
    };
    Removal::done(removed as u64, is_clean)
}
