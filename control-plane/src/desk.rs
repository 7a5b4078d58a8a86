//! What every call needs: the log, the store, the nodes, and the rooms that bound them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Response, Status};
use wcdn_proto::Position;

use crate::{
    api_key::Pepper,
    config::Limits,
    grpc::error::Refusal,
    log::Log,
    metrics::Metrics,
    plane::Plane,
    secrets::ClusterTokens,
    sessions::{Sessions, Why},
    store::{Store, keys::StoredKey, now_ms},
    tracker::{Registered, Tracker},
};

/// Replays and snapshots at once: each holds some megabytes.
const MAX_READS: usize = 16;

/// API keys in memory; a store that has more is asked again.
const MAX_KEYS: usize = 10_000;

/// Between two logs that are begun because of what edges say.
const BETWEEN_EPOCHS: Duration = Duration::from_secs(10);

/// How far the epoch of an edge may lie ahead of our clock.
const EPOCH_AHEAD_MS: u64 = 24 * 60 * 60 * 1_000;

/// One control plane.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) log: Log,
    /// Held for lines, never across an await.
    pub(crate) tracker: Arc<Mutex<Tracker>>,
    pub(crate) sessions: Sessions,
    pub(crate) tokens: ClusterTokens,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// Streams and sessions.
    pub(crate) tasks: TaskTracker,
    /// The process leaves.
    pub(crate) leaving: CancellationToken,
    /// Streams and sessions end.
    pub(crate) ending: CancellationToken,
    /// Connections are cut.
    pub(crate) cut: CancellationToken,
    /// The event plane, if there is one.
    pub(crate) plane: Option<Plane>,
    keys: Keys,
    watches: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    /// When a log was begun because of what an edge said; held while one is.
    raised: AsyncMutex<Option<Instant>>,
}

/// What keys are known by.
#[derive(Debug)]
struct Keys {
    pepper: Pepper,
    /// By hash, as they are first shown. Keys are never changed, and none is revoked yet.
    seen: RwLock<HashMap<Vec<u8>, StoredKey>>,
}

/// The parts of a [`Desk`] that whoever starts it has made.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) tracker: Arc<Mutex<Tracker>>,
    pub(crate) tokens: ClusterTokens,
    pub(crate) pepper: Pepper,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leaving: CancellationToken,
    pub(crate) plane: Option<Plane>,
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, log, tracker, tokens, pepper, limits, metrics, leaving, plane } = parts;
        Self {
            store,
            log,
            tracker,
            sessions: Sessions::new(limits.max_sessions),
            tokens,
            metrics,
            tasks: TaskTracker::new(),
            leaving,
            plane,
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
            keys: Keys { pepper, seen: RwLock::default() },
            watches: Arc::new(Semaphore::new(limits.max_watches)),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            raised: AsyncMutex::new(None),
            limits,
        }
    }

    /// Tells the event plane what a node reports, so that it is not told again.
    pub(crate) fn hear(&self, who: &Registered, applied: Position) {
        if let Some(plane) = &self.plane {
            plane.heard(who, applied);
        }
    }

    /// What a call is answered, and counted as.
    pub(crate) fn answer<T>(&self, outcome: Result<T, Refusal>) -> Result<Response<T>, Status> {
        outcome.map(Response::new).map_err(|refusal| self.refuse(refusal))
    }

    /// A refusal, as it travels.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Status {
        self.metrics.refused(refusal.reason());
        refusal.into()
    }

    /// The name of an API key, if it is one. Whoever does not know what keys are hashed with cannot
    /// choose a hash, so looking it up tells nothing by the time that it takes.
    pub(crate) async fn key_name(&self, presented: &str) -> Result<Option<String>, Refusal> {
        let hash = self.keys.pepper.hash(presented);
        let known = |key: &StoredKey| key.hash.is(&hash).then(|| key.name.clone());
        if let Some(name) = self.keys.seen.read().get(hash.as_bytes()).and_then(known) {
            return Ok(Some(name));
        }
        let Some(key) = self.store.api_key(&hash).await? else { return Ok(None) };
        let name = known(&key);
        let mut seen = self.keys.seen.write();
        if seen.len() < MAX_KEYS {
            seen.insert(hash.as_bytes().to_vec(), key);
        }
        Ok(name)
    }

    /// Room for one more stream of events or of a receipt.
    pub(crate) fn room_to_watch(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.watches).try_acquire_owned();
        room.map_err(|_| Refusal::Full { what: "streams of events and receipts" })
    }

    /// Room for one more replay or snapshot.
    pub(crate) fn room_to_read(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.reads).try_acquire_owned();
        room.map_err(|_| Refusal::Full { what: "replays and snapshots" })
    }

    /// Takes what an edge says it has applied. If that is more than was ever written here, the file of
    /// the store is an older one that was put back by hand: positions would mean two things. So a new
    /// log begins, above what the edge knows.
    ///
    /// The cluster's token suffices to bring this about. It is safe, since edges then take all they hold
    /// as unproven, but dear; so it is bounded in how often, and how far.
    pub(crate) async fn believe(&self, applied: Position) -> Result<(), Refusal> {
        if applied <= self.log.head() {
            return Ok(());
        }
        if applied.epoch > now_ms().saturating_add(EPOCH_AHEAD_MS) {
            let problem = format!("is {}, which is in the future", applied.epoch);
            return Err(Refusal::invalid("applied.epoch", problem));
        }
        let mut raised = self.raised.lock().await;
        if applied <= self.log.head().max(self.store.head().await?) {
            return Ok(());
        }
        if raised.is_some_and(|at| at.elapsed() < BETWEEN_EPOCHS) {
            return Err(Refusal::Full { what: "new logs in a short time" });
        }
        let head = self.log.head();
        tracing::error!(
            epoch = head.epoch,
            seq = head.seq,
            edge_epoch = applied.epoch,
            edge_seq = applied.seq,
            "an edge has applied more than the log holds: the store is an older one; a new log begins"
        );
        self.log.raise_epoch(applied.epoch.saturating_add(1)).await?;
        *raised = Some(Instant::now());
        self.sessions.end_all(Why::EpochRaised);
        Ok(())
    }
}
