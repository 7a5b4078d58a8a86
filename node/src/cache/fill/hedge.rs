//! Asking an origin, and another one too when the first lets us wait longer than is usual.

use std::{ops::RangeInclusive, pin::pin, sync::Arc};

use tokio::time::{Instant, timeout};
use wcdn_proto::BlobId;

use super::{course::Course, task::Task};
use crate::origin::{
    Origin, Permit, Pool,
    attempt::{AttemptError, Download},
};

/// A download whose head has come, or who failed to give one and why.
type Opened = Result<Download, (Arc<Origin>, AttemptError)>;

impl Task {
    /// Opens a download at the origin of `permit`, or at the next of the course if that one's head
    /// comes sooner. Who is overtaken may be asked again later on: it did nothing wrong. If one
    /// fails, that is noted, and the other is waited for.
    ///
    /// # Cancel safety
    /// Cancel safe: the course asks whoever was asked again.
    pub(super) async fn open(
        &self,
        permit: Permit,
        course: &mut Course,
        wanted: Option<RangeInclusive<u64>>,
    ) -> Opened {
        let opened = self.race(permit, course, wanted).await;
        if let Ok(download) = &opened {
            course.heard_of(download.origin());
        }
        opened
    }

    async fn race(
        &self,
        permit: Permit,
        course: &mut Course,
        wanted: Option<RangeInclusive<u64>>,
    ) -> Opened {
        let (pool, id) = (&self.shared.pool, self.fill.key.id);
        let one = Arc::clone(permit.origin());
        let asked = Instant::now();
        let mut first = Box::pin(ask(pool.clone(), id, permit, wanted.clone()));
        let Some(patience) = pool.patience().filter(|_| course.may_hedge()) else {
            return first.await;
        };
        if let Ok(opened) = timeout(patience, first.as_mut()).await {
            return opened;
        }
        let Some(permit) = course.spare() else {
            return first.await;
        };
        if !pool.may_hedge() {
            course.put_back(Arc::clone(permit.origin()));
            drop(permit);
            return first.await;
        }
        let other = Arc::clone(permit.origin());
        let hedged = Instant::now();
        let mut second = pin!(ask(pool.clone(), id, permit, wanted));
        let (won, opened) = tokio::select! {
            biased;
            opened = first.as_mut() => (false, opened),
            opened = second.as_mut() => (true, opened),
        };
        pool.metrics().hedge(if won == opened.is_ok() { "won" } else { "lost" });
        match (won, opened) {
            (false, Ok(download)) => {
                other.kept_waiting(hedged.elapsed());
                course.put_back(other);
                Ok(download)
            }
            (true, Ok(download)) => {
                one.overtaken(asked.elapsed());
                course.put_back(one);
                self.see_out(first);
                Ok(download)
            }
            (false, Err((origin, error))) => {
                course.failed(&origin, &error);
                second.await
            }
            (true, Err((origin, error))) => {
                course.failed(&origin, &error);
                first.await
            }
        }
    }

    /// Waits, on the side, for the head that was overtaken, under its deadline and permit: how
    /// slow an origin is, and that it has fallen silent, would never be known if whoever lets us
    /// wait were let off each time.
    fn see_out(&self, overtaken: impl Future<Output = Opened> + Send + 'static) {
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            let opened = shutdown.run_until_cancelled(overtaken).await;
            if let Some(Err((origin, error))) = opened {
                origin.failed(&error);
            }
        });
    }
}

async fn ask(
    pool: Pool,
    id: BlobId,
    permit: Permit,
    wanted: Option<RangeInclusive<u64>>,
) -> Opened {
    let origin = Arc::clone(permit.origin());
    let opened = Download::open(permit, &id, wanted, pool.fetch()).await;
    opened.map_err(|error| (origin, error))
}
