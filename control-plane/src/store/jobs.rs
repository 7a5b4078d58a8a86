//! Who does what only one control plane may do.

use std::time::Duration;

use super::{Store, StoreError, Tx, sql};

/// A turn at a job. Its number is higher than that of everybody who had it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    job: &'static str,
    number: i64,
}

impl Fence {
    /// Of which job.
    pub(crate) fn job(self) -> &'static str {
        self.job
    }

    /// Makes sure that nobody has taken over, and that nobody does until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::Superseded`], if somebody has.
    pub(crate) async fn hold(self, tx: &mut Tx) -> Result<(), StoreError> {
        let held = sqlx::query("UPDATE jobs SET fence = fence WHERE name = $1 AND fence = $2")
            .bind(self.job)
            .bind(self.number)
            .execute(&mut **tx)
            .await?;
        if held.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::Superseded { job: self.job })
        }
    }

    /// Which turn it is.
    #[cfg(test)]
    pub(crate) fn number(self) -> i64 {
        self.number
    }
}

impl Store {
    /// Takes a job for so long, if nobody has it. Whoever has the file has all jobs.
    pub(crate) async fn take_job(
        &self,
        job: &'static str,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        let mut tx = self.write().await?;
        let taken: Option<i64> = sqlx::query_scalar(
            "INSERT INTO jobs (name, holder, fence, until_ms) \
             VALUES ($1, $2, 1, CAST(unixepoch('subsec') * 1000 AS BIGINT) + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = jobs.fence + 1, \
             until_ms = excluded.until_ms \
             WHERE jobs.until_ms <= CAST(unixepoch('subsec') * 1000 AS BIGINT) OR $4 = 1 \
             RETURNING fence",
        )
        .bind(job)
        .bind(holder)
        .bind(millis(lease))
        .bind(i64::from(!self.is_shared()))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(taken.map(|number| Fence { job, number }))
    }

    /// Has it for longer. Says whether one still had it.
    pub(crate) async fn renew_job(
        &self,
        fence: Fence,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        self.set_job(fence, millis(lease)).await
    }

    /// Makes sure that nobody else has taken it by now.
    ///
    /// # Errors
    /// [`StoreError::Superseded`], if somebody has.
    pub(crate) async fn must_have(&self, fence: Fence) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        fence.hold(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Gives it back.
    pub(crate) async fn leave_job(&self, fence: Fence) -> Result<(), StoreError> {
        self.set_job(fence, 0).await.map(drop)
    }

    async fn set_job(&self, fence: Fence, lease_ms: i64) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let set = sqlx::query(
            "UPDATE jobs SET until_ms = CAST(unixepoch('subsec') * 1000 AS BIGINT) + $1 \
             WHERE name = $2 AND fence = $3",
        )
        .bind(lease_ms)
        .bind(fence.job)
        .bind(fence.number)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(set.rows_affected() == 1)
    }
}

fn millis(lease: Duration) -> i64 {
    sql(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}
