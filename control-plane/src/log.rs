//! The log at work: one task owns it, and commits what many ask for in one transaction.
//!
//! While a transaction is being written, requests gather; the next one takes all of them, up to
//! [`MAX_EVENTS`]. So a lone request waits for nobody, and under load a hundred share one write to the
//! disk. What was committed is true in memory, and told to everybody, before anybody gets an answer.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::frame::{Frame, SigningKey};
use wcdn_proto::{Position, pb::edge::v1::OriginPool};

use crate::{
    change::{Recorded, Request},
    metrics::Metrics,
    state::State,
    store::{
        Store, StoreError,
        log::{Committed, Most, Refused},
        prune::Retention,
    },
};

/// Events of one transaction, unless one request alone has more.
const MAX_EVENTS: usize = 2_000;

/// How long the store may take to be read again after a write that failed.
const REFOLD: Duration = Duration::from_secs(60);

/// What is told of a commit, before those who asked for it are answered.
pub(crate) struct News<'a> {
    /// The last event now.
    pub(crate) head: Position,
    /// New frames, in order.
    pub(crate) frames: &'a [Frame],
    /// New changes, in order.
    pub(crate) changes: &'a [Recorded],
    /// When they were committed.
    pub(crate) since: Instant,
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
    Raise(u64, oneshot::Sender<Result<Position, LogError>>),
    Prune(Retention, oneshot::Sender<Result<u64, LogError>>),
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Recorded, LogError>>,
}

/// The task that owns the log.
struct Keeper {
    store: Store,
    key: Arc<SigningKey>,
    jobs: mpsc::Receiver<Job>,
    /// Taken from `jobs`, but not done yet: what could not share the last transaction.
    kept: VecDeque<Job>,
    head: watch::Sender<Position>,
    pool: watch::Sender<OriginPool>,
    state: Arc<RwLock<State>>,
    tell: Tell,
    metrics: Arc<Metrics>,
    most: Most,
    /// A write failed, and what it did is not known: nothing is written until it is.
    is_unsure: bool,
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
        let log =
            Self { jobs: sender, head: head_seen, pool: pool_seen, state: Arc::clone(&state) };
        let keeper = Keeper {
            store,
            key,
            jobs,
            kept: VecDeque::new(),
            head,
            pool,
            state,
            tell,
            metrics,
            most: room.most,
            is_unsure: false,
        };
        keeper.metrics.head(keeper.state.read().position());
        tasks.spawn(keeper.run(shutdown));
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

    /// Begins a new log, of at least this epoch.
    pub(crate) async fn raise_epoch(&self, least: u64) -> Result<Position, LogError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Raise(least, answer)).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
    }

    /// Forgets some old frames. Says how many.
    pub(crate) async fn prune(&self, retention: Retention) -> Result<u64, LogError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Prune(retention, answer)).await.map_err(|_| LogError::Closed)?;
        answered.await.map_err(|_| LogError::Closed)?
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

    /// What the log amounts to.
    pub(crate) fn state(&self) -> &RwLock<State> {
        &self.state
    }
}

impl Keeper {
    async fn run(mut self, shutdown: CancellationToken) {
        while let Some(job) = self.next(&shutdown).await {
            match job {
                Job::Append(first) => {
                    let batch = self.gather(first);
                    self.append(batch).await;
                }
                Job::Raise(least, answer) => {
                    let raised = self.raise(least).await;
                    drop(answer.send(raised));
                }
                Job::Prune(retention, answer) => {
                    let pruned = match self.be_sure().await {
                        Ok(()) => self.store.prune(retention).await,
                        Err(error) => Err(error),
                    };
                    drop(answer.send(pruned.map_err(failed)));
                }
            }
        }
    }

    /// The next thing to do; at shutdown what waits still is.
    async fn next(&mut self, shutdown: &CancellationToken) -> Option<Job> {
        if let Some(job) = self.kept.pop_front() {
            return Some(job);
        }
        tokio::select! {
            biased;
            job = self.jobs.recv() => job,
            () = shutdown.cancelled() => {
                self.jobs.close();
                self.jobs.recv().await
            }
        }
    }

    /// What waits, as far as it fits one transaction.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut events = first.request.asked.events();
        let mut batch = vec![first];
        while events < MAX_EVENTS {
            match self.jobs.try_recv() {
                Ok(Job::Append(next)) if events + next.request.asked.events() <= MAX_EVENTS => {
                    events += next.request.asked.events();
                    batch.push(next);
                }
                Ok(other) => {
                    self.kept.push_back(other);
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    async fn append(&mut self, batch: Vec<Waiting>) {
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
        let was_sure = !self.is_unsure;
        match self.commit(requests).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    drop(answer.send(outcome.map_err(LogError::Refused)));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "log cannot be written");
                let error = Arc::new(error);
                for answer in answers {
                    drop(answer.send(Err(LogError::Store(Arc::clone(&error)))));
                }
                if was_sure {
                    // What fails now is tried again before the next change.
                    drop(self.be_sure().await);
                }
            }
        }
    }

    async fn commit(
        &mut self,
        requests: Vec<Request>,
    ) -> Result<Vec<Result<Recorded, Refused>>, StoreError> {
        self.be_sure().await?;
        let begun = Instant::now();
        self.is_unsure = true;
        let committed = self.store.append(&self.key, self.most, requests).await?;
        self.metrics.committed(begun.elapsed(), &committed);
        Ok(self.publish(committed).await)
    }

    /// Makes what was committed true here, and tells of it.
    async fn publish(&mut self, committed: Committed) -> Vec<Result<Recorded, Refused>> {
        let since = Instant::now();
        let Committed { head, frames, outcomes, new, pool } = committed;
        let applied = {
            let mut state = self.state.write();
            frames.iter().try_for_each(|frame| state.apply(frame.events()))
        };
        if let Err(gap) = applied {
            tracing::error!(error = &gap as &dyn std::error::Error, "another wrote to the log");
            drop(self.be_sure().await);
            return outcomes;
        }
        self.is_unsure = false;
        if let Some(pool) = pool {
            self.pool.send_replace(pool);
        }
        if !new.is_empty() {
            self.told(&News { head, frames: &frames, changes: &new, since });
        }
        outcomes
    }

    fn told(&self, news: &News<'_>) {
        (self.tell)(news);
        self.metrics.frames(news.frames.len());
        self.metrics.head(news.head);
        self.head.send_replace(news.head);
    }

    async fn raise(&mut self, least: u64) -> Result<Position, LogError> {
        self.be_sure().await.map_err(failed)?;
        self.is_unsure = true;
        let head = match self.store.raise_epoch(least).await {
            Ok(head) => head,
            Err(error) => {
                drop(self.be_sure().await);
                return Err(failed(error));
            }
        };
        self.is_unsure = false;
        self.state.write().begin_epoch(head.epoch);
        self.told(&News { head, frames: &[], changes: &[], since: Instant::now() });
        Ok(head)
    }

    /// A write that failed may have been done all the same: what the store says is true, all of it.
    async fn be_sure(&mut self) -> Result<(), StoreError> {
        if !self.is_unsure {
            return Ok(());
        }
        let reading = async { Ok((self.store.fold().await?, self.store.pool().await?)) };
        let (folded, pool) = match timeout(REFOLD, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(unreadable(error)),
            Err(_) => return Err(unreadable(StoreError::Overdue)),
        };
        let (head, before) = (folded.position(), self.state.read().position());
        if head < before {
            // Edges have more: positions would mean two things.
            return Err(unreadable(StoreError::Damaged { what: "log, which was longer before" }));
        }
        *self.state.write() = folded;
        self.pool.send_if_modified(|present| {
            let is_other = *present != pool;
            *present = pool;
            is_other
        });
        self.is_unsure = false;
        if head > before {
            self.told(&News { head, frames: &[], changes: &[], since: Instant::now() });
        }
        Ok(())
    }
}

fn failed(error: StoreError) -> LogError {
    LogError::Store(Arc::new(error))
}

fn unreadable(error: StoreError) -> StoreError {
    tracing::error!(error = &error as &dyn std::error::Error, "log cannot be read");
    error
}

impl fmt::Debug for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
