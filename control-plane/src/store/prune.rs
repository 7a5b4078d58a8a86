//! Forgetting old frames without forgetting what they did, and beginning a log anew.

use std::collections::HashMap;

use wcdn_proto::{Change, Position, Purge, removal_slot};

use super::{
    End, ROWS, Store, StoreError, Tx, jobs::Fence, listen, number, read, sql, statement::Statement,
};

/// Frames of one transaction, so that changes need not wait long for it.
const FRAMES: i64 = 500;

/// How long a token makes two requests one.
const TOKENS_MS: u64 = 24 * 60 * 60 * 1_000;

/// What may be forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Frames and changes that were committed before: Unix time in milliseconds.
    pub(crate) before_ms: u64,
    /// Frames that begin at or before this event.
    pub(crate) upto: u64,
}

#[derive(Default)]
struct Folded {
    removed: HashMap<u32, u64>,
    floor: u64,
    last: u64,
}

impl Store {
    /// The first event of the latest frame that is beyond so many; 0 if there is none. It is counted on
    /// a connection that reads: changes need not wait for it.
    pub(crate) async fn beyond(&self, max_frames: u64) -> Result<u64, StoreError> {
        let first: Option<i64> = sqlx::query_scalar(
            "SELECT first_seq FROM frames ORDER BY first_seq DESC LIMIT 1 OFFSET $1",
        )
        .bind(sql(max_frames))
        .fetch_optional(&self.readers)
        .await?;
        Ok(number(first.unwrap_or(0)))
    }

    /// Folds some of the oldest frames into the checkpoint. Says how many.
    pub(crate) async fn prune(
        &self,
        retention: Retention,
        fence: Fence,
    ) -> Result<u64, StoreError> {
        let (mut tx, _) = self.write_log().await?;
        fence.hold(&mut tx).await?;
        let (seq, floor): (i64, i64) =
            sqlx::query_as("SELECT seq, floor_seq FROM checkpoint").fetch_one(&mut *tx).await?;
        let mut folded = Folded { floor: number(floor), last: number(seq), ..Folded::default() };
        let mut count = 0;
        for (first, last, at_ms, bytes) in oldest(&mut tx).await? {
            // A clock that was set back leaves old frames behind younger ones: those wait.
            if number(first) > retention.upto && number(at_ms) >= retention.before_ms {
                break;
            }
            if number(first) != folded.last + 1 {
                return Err(StoreError::Damaged { what: "log" });
            }
            folded.take(&bytes)?;
            folded.last = number(last);
            count += 1;
        }
        if count > 0 {
            folded.store(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Forgets changes that are older than the log, and tokens that are older than a day, by the database's
    /// clock.
    pub(crate) async fn prune_changes(
        &self,
        before_ms: u64,
        now_ms: u64,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        fence.hold(&mut tx).await?;
        for old in [
            "DELETE FROM changes WHERE committed_at_ms < $1",
            "DELETE FROM receipts WHERE committed_at_ms < $1",
        ] {
            sqlx::query(old).bind(sql(before_ms)).execute(&mut *tx).await?;
        }
        sqlx::query(
            "UPDATE changes SET token = NULL WHERE token IS NOT NULL AND committed_at_ms < $1",
        )
        .bind(sql(now_ms.saturating_sub(TOKENS_MS)))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Begins a log of a higher epoch than this one's, and of `least` at least. Nothing was removed
    /// in it yet: edges take all they hold as unproven. What is withheld or pinned stays so.
    pub(crate) async fn raise_epoch(&self, least: u64) -> Result<Position, StoreError> {
        let (tx, end) = self.lock_log().await?;
        self.begin_anew(tx, end, least).await
    }

    /// The same, if the log belongs to another history of the database, or ends before what is known
    /// of it; else says where it ends.
    pub(crate) async fn raise_if_replaced(&self, known: Position) -> Result<Position, StoreError> {
        let (tx, end) = self.lock_log().await?;
        if end.check().is_ok() && end.head >= known {
            return Ok(end.head);
        }
        self.begin_anew(tx, end, known.epoch.saturating_add(1)).await
    }

    async fn begin_anew(&self, mut tx: Tx, end: End, least: u64) -> Result<Position, StoreError> {
        let epoch = end.now_ms.max(least).max(end.head.epoch.saturating_add(1));
        sqlx::query("UPDATE head SET epoch = $1, seq = 0, lineage = $2")
            .bind(sql(epoch))
            .bind(end.present)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE checkpoint SET seq = 0, floor_seq = 0").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM removed").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM frames").execute(&mut *tx).await?;
        if self.is_shared() {
            listen::tell(&mut tx, self.teller).await?;
        }
        tx.commit().await?;
        Ok(Position { epoch, seq: 0 })
    }
}

async fn oldest(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, Vec<u8>)>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT first_seq, last_seq, committed_at_ms, bytes FROM frames ORDER BY first_seq LIMIT $1",
    )
    .bind(FRAMES)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}

impl Folded {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let events = read::decode(&bytes.to_vec().into())?;
        for (position, change) in events.iter() {
            match change {
                Change::Purge(Purge::Ids(ids)) => ids.iter().for_each(|id| {
                    self.removed.insert(removal_slot(id), position.seq);
                }),
                Change::Purge(Purge::All) | Change::Unknown { is_ignorable: false } => {
                    self.floor = position.seq;
                }
                Change::Block(_)
                | Change::Unblock(_)
                | Change::Pin(_)
                | Change::Unpin(_)
                | Change::Origins { .. }
                | Change::Key(_)
                | Change::Barrier
                | Change::Unknown { is_ignorable: true } => {}
            }
        }
        Ok(())
    }

    async fn store(self, tx: &mut Tx) -> Result<(), StoreError> {
        let removed: Vec<_> = self.removed.into_iter().collect();
        for removed in removed.chunks(ROWS) {
            let mut upsert = Statement::new(tx, "INSERT INTO removed (slot, seq) VALUES ");
            upsert.rows(removed, |row, (slot, seq)| {
                row.bind(i64::from(*slot)).bind(sql(*seq));
            });
            upsert.push(" ON CONFLICT (slot) DO UPDATE SET seq = excluded.seq");
            upsert.build().execute(&mut **tx).await?;
        }
        // By the key, lest every frame be read: the next one begins behind the last of these.
        sqlx::query("DELETE FROM frames WHERE first_seq <= $1")
            .bind(sql(self.last))
            .execute(&mut **tx)
            .await?;
        sqlx::query("UPDATE checkpoint SET seq = $1, floor_seq = $2")
            .bind(sql(self.last))
            .bind(sql(self.floor))
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}
