//! What every call needs: the log, the store, the nodes, and the rooms that bound them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Response, Status};
use wcdn_daemon::proxy::Proxies;
use wcdn_gossip::frame::{Frame, IssuerKeys, SigningKey};
use wcdn_proto::{MAX_PINS, Position};

use crate::{
    api_key::Pepper,
    audit::Recorder,
    auth::Keyring,
    config::Limits,
    health::Monitor,
    hooks::Root,
    limits::Limiter,
    log::Log,
    metrics::Metrics,
    pins::Pins,
    plane::Plane,
    preloads::Preloads,
    refusal::Refusal,
    rest::Cors,
    secrets::ClusterTokens,
    sessions::Sessions,
    store::{Store, StoreError},
    tracker::{Registered, Tracker},
};

/// Replays and snapshots at once: each holds some megabytes.
const MAX_READS: usize = 16;

/// Between two logs that are begun because of what edges say.
const BETWEEN_EPOCHS: Duration = Duration::from_secs(10);

/// One control plane.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Of this start of it, at random.
    pub(crate) instance: u64,
    pub(crate) store: Store,
    pub(crate) log: Log,
    /// Of origins.
    pub(crate) health: Monitor,
    /// Held for lines, never across an await.
    pub(crate) tracker: Arc<Mutex<Tracker>>,
    /// The same holds for these.
    pub(crate) pins: Mutex<Pins>,
    pub(crate) preloads: Mutex<Preloads>,
    pub(crate) sessions: Sessions,
    pub(crate) tokens: ClusterTokens,
    /// Of the control planes of this cluster: what they signed, they wrote.
    issuers: IssuerKeys,
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
    pub(crate) keys: Keyring,
    /// How much callers may ask for.
    pub(crate) limiter: Arc<Limiter>,
    /// Whose word is taken for a caller's address.
    pub(crate) proxies: Proxies,
    /// Whether their connections begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Which pages of other origins may call.
    pub(crate) cors: Cors,
    /// What secrets of hooks follow from.
    pub(crate) hook_root: Root,
    /// What is to be written down of who did what.
    pub(crate) audit: Recorder,
    /// One write of it at a time, so that what comes first stands first.
    auditing: AsyncMutex<()>,
    pub(crate) signing: Arc<SigningKey>,
    /// How long the text before is good after a key is rotated.
    pub(crate) key_grace: Duration,
    watches: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    /// When a log was begun because of what an edge said; held while one is.
    raised: AsyncMutex<Option<Instant>>,
}

/// The parts of a [`Desk`] that whoever starts it has made.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) health: Monitor,
    pub(crate) tracker: Arc<Mutex<Tracker>>,
    pub(crate) tokens: ClusterTokens,
    pub(crate) issuers: IssuerKeys,
    pub(crate) pepper: Pepper,
    pub(crate) key_grace: Duration,
    pub(crate) hook_root: Root,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) proxies: Proxies,
    pub(crate) proxy_protocol: bool,
    pub(crate) cors: Cors,
    pub(crate) signing: Arc<SigningKey>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leaving: CancellationToken,
    pub(crate) plane: Option<Plane>,
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            store,
            log,
            health,
            tracker,
            tokens,
            issuers,
            pepper,
            key_grace,
            hook_root,
            limiter,
            proxies,
            proxy_protocol,
            cors,
            signing,
            limits,
            metrics,
            leaving,
            plane,
        } = parts;
        Self {
            instance: rand::random_range(1..=u64::MAX),
            store,
            log,
            health,
            tracker,
            // However few may be pinned from now on, nodes tell of all that are.
            pins: Mutex::new(Pins::new(MAX_PINS)),
            preloads: Mutex::default(),
            sessions: Sessions::new(limits.max_sessions),
            tokens,
            issuers,
            metrics,
            tasks: TaskTracker::new(),
            leaving,
            plane,
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
            keys: Keyring::new(pepper),
            key_grace,
            hook_root,
            limiter,
            proxies,
            proxy_protocol,
            cors,
            audit: Recorder::default(),
            auditing: AsyncMutex::new(()),
            signing,
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

    /// Writes down what waits to be; with `all`, also what is still being counted.
    ///
    /// # Errors
    /// Those of the store; then it waits for the next time.
    pub(crate) async fn write_audit(&self, all: bool) -> Result<(), StoreError> {
        let _turn = self.auditing.lock().await;
        let drafts = self.audit.take(Instant::now(), all);
        if drafts.is_empty() {
            return Ok(());
        }
        let written = self.store.in_time(self.store.write_audit(&drafts)).await;
        if written.is_err() {
            self.audit.put_back(drafts);
        }
        written
    }

    /// Room for one more stream of events, of a receipt, of pins or of a preload.
    pub(crate) fn room_to_watch(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.watches).try_acquire_owned();
        room.map_err(|_| Refusal::Full { what: "streams of events, receipts, pins and preloads" })
    }

    /// Room for one more replay or snapshot.
    pub(crate) fn room_to_read(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.reads).try_acquire_owned();
        room.map_err(|_| Refusal::Full { what: "replays and snapshots" })
    }

    /// Knows an event that another control plane has committed, if one has; false if it is not known in
    /// the end.
    pub(crate) async fn catch_up(&self, upto: Position) -> bool {
        if upto > self.log.head() {
            self.log.look().await;
        }
        upto <= self.log.head()
    }

    /// Takes what an edge says it has applied, and a frame that it holds. A frame that was signed by us
    /// and lies beyond the log proves that the file of the store is an older one that was put back by
    /// hand: positions would mean two things. So a new log begins, above that frame.
    ///
    /// Without such a frame nothing begins: any edge can claim to be ahead, and a new log makes all of
    /// them fetch everything again. It is dear when it is due, too, so it is bounded in how often.
    ///
    /// # Errors
    /// [`Refusal::Unproven`], if the edge claims more than there is, and has not proven it.
    pub(crate) async fn believe(&self, applied: Position, proof: Bytes) -> Result<(), Refusal> {
        let proven = self.proven(proof);
        if self.catch_up(applied.max(proven)).await {
            return Ok(());
        }
        let stored = self.store.in_time(self.store.head()).await?;
        let mut raised = self.raised.lock().await;
        let head = self.log.head().max(stored);
        if applied.max(proven) <= head {
            return Ok(());
        }
        if proven <= head {
            tracing::error!(
                epoch = head.epoch,
                seq = head.seq,
                edge_epoch = applied.epoch,
                edge_seq = applied.seq,
                "an edge claims more than the log holds, without proof: it is broken or stolen, or the \
                 store is an older one: then use restore"
            );
            return Err(Refusal::Unproven { applied, head });
        }
        if raised.is_some_and(|at| at.elapsed() < BETWEEN_EPOCHS) {
            return Err(Refusal::Full { what: "new logs in a short time" });
        }
        tracing::error!(
            epoch = head.epoch,
            seq = head.seq,
            edge_epoch = proven.epoch,
            edge_seq = proven.seq,
            "an edge holds a frame beyond the log: the store is an older one; a new log begins"
        );
        let begun = self.log.raise_beyond(proven).await?;
        *raised = Some(Instant::now());
        match applied <= begun {
            true => Ok(()),
            false => Err(Refusal::Unproven { applied, head: begun }),
        }
    }

    /// How far a log reached that was written by us, by a frame of it. Most frames are old ones, and
    /// need no look at their signature.
    fn proven(&self, frame: Bytes) -> Position {
        match Frame::peek(&frame) {
            Ok((_, last)) if last > self.log.head() => {
                Frame::open(frame, &self.issuers).map_or(Position::ORIGIN, |frame| frame.last())
            }
            Ok(_) | Err(_) => Position::ORIGIN,
        }
    }
}
