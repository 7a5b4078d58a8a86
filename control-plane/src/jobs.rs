//! What only one of several control planes may do at a time.
//!
//! A job is held for a lease by the database's clock, and renewed while it is done. Whoever cannot renew
//! it stops, by its own clock, before the lease ends; and whoever wrote all the same, because it stood
//! still, is refused by the number of its turn: see [`Fence::hold`].

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::NodeId;

use crate::store::{Store, StoreError, jobs::Fence};

/// When a holder does what.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// How long a holder that says nothing more keeps others away.
    lease: Duration,
    /// Between two renewals, and between two tries of those who wait.
    renew: Duration,
    /// By how much a holder stops earlier: clocks differ in speed, and what it began takes a moment to
    /// end.
    margin: Duration,
}

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(3),
    margin: Duration::from_secs(2),
};

/// Where jobs are done.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    store: Store,
    /// Who we are; of this start.
    holder: Arc<str>,
    timing: Timing,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Jobs {
    /// Jobs of this control plane; they run on `tasks` until `shutdown`.
    pub(crate) fn new(
        store: Store,
        node: &NodeId,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let holder = format!("{node} {:016x}", rand::random::<u64>()).into();
        Self { store, holder, timing: TIMING, tasks, shutdown }
    }

    /// Does this, here as on every other control plane; it is dropped at any await at the end.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.shutdown.clone().run_until_cancelled_owned(work));
    }

    /// Does this whenever no other control plane does; it is dropped when the turn is over, at any await,
    /// and begun again with the next one. Each write of it must hold the fence in its transaction.
    pub(crate) fn run_as_singleton<W>(
        &self,
        job: &'static str,
        work: impl Fn(Fence) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let jobs = self.clone();
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            while let Some(turn) = shutdown.run_until_cancelled(jobs.wait_for(job)).await {
                let (fence, until) = turn;
                tracing::info!(job, "job taken");
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = jobs.keep(fence, until) => tracing::warn!(job, "job lost"),
                    () = work(fence) => {}
                }
                jobs.leave(fence).await;
                shutdown.run_until_cancelled(sleep(jobs.timing.renew)).await;
            }
        });
    }

    /// A turn, and until when it may be used.
    async fn wait_for(&self, job: &'static str) -> (Fence, Instant) {
        let Timing { lease, renew, margin } = self.timing;
        loop {
            let asked = Instant::now();
            let taking = self.store.take_job(job, &self.holder, lease);
            match self.store.in_time(taking).await {
                Ok(Some(fence)) => return (fence, asked + lease - margin),
                Ok(None) => {}
                Err(error) => report(job, &error),
            }
            sleep(renew).await;
        }
    }

    /// Renews a turn until it is over.
    async fn keep(&self, fence: Fence, mut until: Instant) {
        let Timing { lease, renew, margin } = self.timing;
        loop {
            sleep(renew.min(until.saturating_duration_since(Instant::now()))).await;
            let asked = Instant::now();
            match timeout_at(until, self.store.renew_job(fence, lease)).await {
                Ok(Ok(true)) => until = asked + lease - margin,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => report(fence.job(), &error),
            }
        }
    }

    /// Lets another one have it at once.
    async fn leave(&self, fence: Fence) {
        if let Err(error) = self.store.in_time(self.store.leave_job(fence)).await {
            report(fence.job(), &error);
        }
    }
}

fn report(job: &'static str, error: &StoreError) {
    tracing::warn!(job, error = error as &dyn std::error::Error, "store does not answer for a job");
}

#[cfg(test)]
mod tests;
