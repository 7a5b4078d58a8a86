//! The log at work: one task owns it, and commits what many ask for in one transaction.
//!
//! While a transaction is being written, requests gather; the next one takes all of them, up to
//! [`MAX_EVENTS`]. So a lone request waits for nobody, and under load a hundred share one write to the
//! disk. What was committed is true in memory, and told to everybody, before anybody gets an answer.
//!
//! Other control planes may write to the same store. What they committed is read as it is heard of, and
//! before own changes that come after it, so that memory and everybody who is told see one order.

mod follow;
mod keeper;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::frame::{Frame, SigningKey};
use wcdn_proto::{Position, pb::edge::v1::OriginPool};

use self::keeper::Keeper;
use crate::{
    change::{Recorded, Request},
    metrics::Metrics,
    state::State,
    store::{
        Store, StoreError,
        jobs::Fence,
        log::{Most, Refused},
        prune::Retention,
    },
};

/// How long whoever wants to know of others' commits waits for them.
const LOOK: Duration = Duration::from_secs(3);

/// What is told of a commit, before those who asked for it are answered.
pub(crate) struct News<'a> {
    /// The last event now.
    pub(crate) head: Position,
    /// New frames, in order.
    pub(crate) frames: &'a [Frame],
    /// New changes, in order.
    pub(crate) changes: &'a [Recorded],
    /// When they were committed, or before that.
    pub(crate) since: Instant,
    /// Whether they were committed here: others send what they committed themselves.
    pub(crate) is_own: bool,
}

/// Who is told of a commit; it must not block. A higher epoch without frames is told too.
pub(crate) type Tell = Box<dyn Fn(&News<'_>) + Send + Sync>;

/// A handle to the log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<Position>,
    pool: watch::Receiver<OriginPool>,
    state: Arc<RwLock<State>>,
    key_changes: Arc<AtomicU64>,
}

/// Why the log did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// More waits already than may.
    #[error("too many changes wait to be written")]
    Full,
    /// The process ends.
    #[error("the log is closed")]
    Closed,
    /// The store failed; whether it was done is not known.
    #[error("the log cannot be written")]
    Store(#[source] Arc<StoreError>),
    /// It makes no sense any more.
    #[error("refused")]
    Refused(Refused),
}

#[derive(Debug)]
enum Job {
    Append(Waiting),
    Raise(Position, oneshot::Sender<Result<Position, LogError>>),
    Prune(Retention, Fence, oneshot::Sender<Result<u64, LogError>>),
    Look(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Recorded, LogError>>,
}

/// How much a log takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Changes that wait to be written.
    pub(crate) max_waiting: usize,
    /// Ids of each kind.
    pub(crate) most: Most,
}

impl Log {
    /// Reads the store and starts the task. It runs until `shutdown`, and then does what waits.
    pub(crate) async fn start(
        store: Store,
        key: Arc<SigningKey>,
        room: Room,
        tell: Tell,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, StoreError> {
        let folded = store.fold().await?;
        let (head, head_seen) = watch::channel(folded.position());
        let (pool, pool_seen) = watch::channel(store.pool().await?);
        let state = Arc::new(RwLock::new(folded));
        let (sender, jobs) = mpsc::channel(room.max_waiting);
        let key_changes = Arc::new(AtomicU64::new(0));
        let log = Self {
            jobs: sender,
            head: head_seen,
            pool: pool_seen,
            state: Arc::clone(&state),
            key_changes: Arc::clone(&key_changes),
        };
        metrics.head(state.read().position());
        metrics.store_up.set(1);
        let wake = Arc::new(Notify::new());
        if store.is_shared() {
            tasks.spawn(store.clone().listen(Arc::clone(&wake), shutdown.clone()));
        }
        let told = keeper::Told { head, pool, state, key_changes, tell, metrics };
        tasks.spawn(Keeper::new(store, key, jobs, wake, told, room.most).run(shutdown));
        Ok(log)
    }

    /// Appends a change; returns once it is on the disk.
    ///
    /// # Cancel safety
    /// Whoever stops waiting does not stop the change.
    pub(crate) async fn append(&self, request: Request) -> Result<Recorded, LogError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Append(Waiting { request, answer })).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => LogError::Full,
                mpsc::error::TrySendError::Closed(_) => LogError::Closed,
            },
        )?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    /// Begins a new log if this one ends before what is known of it; says where it ends then.
    pub(crate) async fn raise_beyond(&self, known: Position) -> Result<Position, LogError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Raise(known, answer)).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    /// Forgets some old frames. Says how many.
    pub(crate) async fn prune(&self, retention: Retention, fence: Fence) -> Result<u64, LogError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Prune(retention, fence, answer)).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    /// Knows what others had committed when it was called, unless the store cannot be read in time.
    pub(crate) async fn look(&self) {
        let (answer, answered) = oneshot::channel();
        // Whoever asks finds no more than before if there is no room.
        if self.jobs.try_send(Job::Look(answer)).is_ok() {
            drop(timeout(LOOK, answered).await);
        }
    }

    /// The last event.
    pub(crate) fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// The last event, whenever there is another.
    pub(crate) fn heads(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    /// The origin pool, whenever it is another one.
    pub(crate) fn pools(&self) -> watch::Receiver<OriginPool> {
        self.pool.clone()
    }

    /// How often keys have changed, or may have: what is known of them holds while this stays.
    pub(crate) fn key_changes(&self) -> u64 {
        self.key_changes.load(SeqCst)
    }

    /// What the log amounts to.
    pub(crate) fn state(&self) -> &RwLock<State> {
        &self.state
    }
}

impl fmt::Debug for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
