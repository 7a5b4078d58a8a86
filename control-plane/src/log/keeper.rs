//! The task that owns the log.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use wcdn_gossip::frame::SigningKey;
use wcdn_proto::{Position, pb::edge::v1::OriginPool};

use super::{Job, LogError, News, Tell, Waiting};
use crate::{
    change::{Recorded, Request},
    metrics::Metrics,
    state::State,
    store::{
        Store, StoreError,
        log::{Committed, Most, Refused},
    },
};

/// Events of one transaction, unless one request alone has more.
const MAX_EVENTS: usize = 2_000;

/// Between two looks whether others wrote, should nobody tell, and whether a store that failed answers.
const LOOK: Duration = Duration::from_secs(1);

/// The task that owns the log.
pub(super) struct Keeper {
    pub(super) store: Store,
    key: Arc<SigningKey>,
    jobs: mpsc::Receiver<Job>,
    /// Taken from `jobs`, but not done yet: what could not share the last transaction.
    kept: VecDeque<Job>,
    /// Others have written.
    wake: Arc<Notify>,
    pub(super) told: Told,
    most: Most,
    /// A write failed, and what it did is not known: nothing is written until it is.
    pub(super) is_unsure: bool,
    /// When it looks by itself.
    look_at: Instant,
    /// The store could not be read: whoever asks before then is refused at once.
    pub(super) quiet_until: Option<Instant>,
}

/// Who is told what is true, and how.
pub(super) struct Told {
    pub(super) head: watch::Sender<Position>,
    pub(super) pool: watch::Sender<OriginPool>,
    pub(super) state: Arc<RwLock<State>>,
    /// How often keys have changed, or may have.
    pub(super) key_changes: Arc<AtomicU64>,
    pub(super) tell: Tell,
    pub(super) metrics: Arc<Metrics>,
}

impl Keeper {
    pub(super) fn new(
        store: Store,
        key: Arc<SigningKey>,
        jobs: mpsc::Receiver<Job>,
        wake: Arc<Notify>,
        told: Told,
        most: Most,
    ) -> Self {
        Self {
            store,
            key,
            jobs,
            kept: VecDeque::new(),
            wake,
            told,
            most,
            is_unsure: false,
            look_at: Instant::now() + LOOK,
            quiet_until: None,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while let Some(job) = self.next(&shutdown).await {
            match job {
                Job::Append(first) => {
                    let batch = self.gather(first);
                    self.append(batch).await;
                }
                Job::Raise(known, answer) => {
                    let raised = self.raise(known).await;
                    drop(answer.send(raised.map_err(failed)));
                }
                Job::Prune(retention, fence, answer) => {
                    let pruned = match self.be_sure().await {
                        Ok(()) => self.store.in_time(self.store.prune(retention, fence)).await,
                        Err(error) => Err(error),
                    };
                    drop(answer.send(pruned.map_err(failed)));
                }
                Job::Look(first) => {
                    let answers = self.gather_looks(first);
                    self.look().await;
                    // Whoever waits for one hears that it is gone.
                    drop(answers);
                }
            }
        }
    }

    /// The next thing to do; at shutdown what waits still is. Looks at what others wrote meanwhile.
    async fn next(&mut self, shutdown: &CancellationToken) -> Option<Job> {
        if let Some(job) = self.kept.pop_front() {
            return Some(job);
        }
        loop {
            tokio::select! {
                biased;
                job = self.jobs.recv() => return job,
                () = shutdown.cancelled() => {
                    self.jobs.close();
                    return self.jobs.recv().await;
                }
                () = self.wake.notified() => {}
                () = sleep_until(self.look_at) => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let looked = if self.is_unsure {
            self.be_sure().await
        } else if self.store.is_shared() {
            self.catch_up().await
        } else {
            Ok(())
        };
        // It has told why.
        drop(looked);
        self.look_at = Instant::now() + LOOK;
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

    /// All who ask for the same look.
    fn gather_looks(&mut self, first: oneshot::Sender<()>) -> Vec<oneshot::Sender<()>> {
        let mut answers = vec![first];
        loop {
            match self.jobs.try_recv() {
                Ok(Job::Look(next)) => answers.push(next),
                Ok(other) => {
                    self.kept.push_back(other);
                    return answers;
                }
                Err(_) => return answers,
            }
        }
    }

    async fn append(&mut self, batch: Vec<Waiting>) {
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
        match self.commit(&requests).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    drop(answer.send(outcome.map_err(LogError::Refused)));
                }
            }
            Err(error) => {
                // Of a store that is known not to answer it was told.
                if self.quiet_until.is_none() {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "log cannot be written"
                    );
                }
                let error = Arc::new(error);
                for answer in answers {
                    drop(answer.send(Err(LogError::Store(Arc::clone(&error)))));
                }
                // What became of it is looked at before the next change.
                self.look_at = Instant::now();
            }
        }
    }

    async fn commit(
        &mut self,
        requests: &[Request],
    ) -> Result<Vec<Result<Recorded, Refused>>, StoreError> {
        self.be_sure().await?;
        let committed = match self.write(requests).await {
            // Nothing was written: another log begins first.
            Err(StoreError::Replaced) => {
                self.catch_up().await?;
                self.write(requests).await?
            }
            committed => committed?,
        };
        Ok(self.publish(committed).await)
    }

    async fn write(&mut self, requests: &[Request]) -> Result<Committed, StoreError> {
        let begun = Instant::now();
        self.is_unsure = true;
        let appending = self.store.append(&self.key, self.most, requests);
        let committed = self.store.in_time(appending).await?;
        self.told.metrics.committed(begun.elapsed(), &committed);
        Ok(committed)
    }

    /// Makes what was committed true here, and tells of it.
    async fn publish(&mut self, committed: Committed) -> Vec<Result<Recorded, Refused>> {
        let since = Instant::now();
        let Committed { head, frames, outcomes, new, pool } = committed;
        if let Some(first) = frames.first().map(|frame| frame.first()) {
            match self.catch_up_to(first).await {
                Ok(true) => {}
                // Another log has begun already: what it holds is told.
                Ok(false) => {
                    drop(self.catch_up().await);
                    return outcomes;
                }
                // It is in the log, but what comes before is not known here: both are read once they can be.
                Err(_) => {
                    self.look_at = Instant::now();
                    return outcomes;
                }
            }
        }
        let applied = self.told.apply(&frames);
        if let Err(gap) = applied {
            tracing::error!(error = &gap as &dyn std::error::Error, "log does not go on");
            return outcomes;
        }
        self.is_unsure = false;
        if let Some(pool) = pool {
            self.told.pool.send_replace(pool);
        }
        if !new.is_empty() {
            let news = News { head, frames: &frames, changes: &new, since, is_own: true };
            self.told.tell(&news);
        }
        outcomes
    }

    async fn raise(&mut self, known: Position) -> Result<Position, StoreError> {
        self.be_sure().await?;
        self.is_unsure = true;
        let head = self.store.in_time(self.store.raise_if_replaced(known)).await?;
        self.fold().await?;
        Ok(head)
    }
}

pub(super) fn failed(error: StoreError) -> LogError {
    LogError::Store(Arc::new(error))
}
