//! Asking an origin, and another one too when the first lets us wait longer than is usual.

use std::{ops::RangeInclusive, pin::pin, sync::Arc};

use tokio::time::{Instant, timeout};

use super::{course::Course, task::Task};
use crate::origin::{
    Origin, Permit,
    attempt::{AttemptError, Download},
};

/// A download whose head has come, or who failed to give one and why.
type Opened = Result<Download, (Arc<Origin>, AttemptError)>;

impl Task {
    /// Opens a download at the origin of `permit`, or at the next of the course if that one's head
    /// comes sooner. Whose head comes later is dropped, and may be asked again later on: it did
    /// nothing wrong. If one fails, that is noted, and the other is waited for.
    pub(super) async fn open(
        &self,
        permit: Permit,
        course: &mut Course,
        wanted: Option<RangeInclusive<u64>>,
    ) -> Opened {
        let pool = &self.shared.pool;
        let one = Arc::clone(permit.origin());
        let asked = Instant::now();
        let mut first = pin!(self.ask(permit, wanted.clone()));
        let Some(patience) = pool.patience().filter(|_| course.may_hedge()) else {
            return first.await;
        };
        if let Ok(opened) = timeout(patience, first.as_mut()).await {
            return opened;
        }
        let Some(permit) = pool.may_hedge().then(|| course.spare()).flatten() else {
            return first.await;
        };
        let other = Arc::clone(permit.origin());
        let hedged = Instant::now();
        let mut second = pin!(self.ask(permit, wanted));
        let (won, opened) = tokio::select! {
            biased;
            opened = first.as_mut() => (false, opened),
            opened = second.as_mut() => (true, opened),
        };
        match (won, opened) {
            (false, Ok(download)) => {
                other.kept_waiting(hedged.elapsed());
                course.put_back(other);
                pool.metrics().hedge("lost");
                Ok(download)
            }
            (true, Ok(download)) => {
                one.overtaken(asked.elapsed());
                course.put_back(one);
                pool.metrics().hedge("won");
                Ok(download)
            }
            (false, Err((origin, error))) => {
                course.failed(&origin, &error);
                pool.metrics().hedge("won");
                second.await
            }
            (true, Err((origin, error))) => {
                course.failed(&origin, &error);
                pool.metrics().hedge("lost");
                first.await
            }
        }
    }

    async fn ask(&self, permit: Permit, wanted: Option<RangeInclusive<u64>>) -> Opened {
        let origin = Arc::clone(permit.origin());
        let fetch = self.shared.pool.fetch();
        let opened = Download::open(permit, &self.fill.key.id, wanted, fetch).await;
        opened.map_err(|error| (origin, error))
    }
}
