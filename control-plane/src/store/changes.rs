//! Changes by name or token, and their receipts.

use prost::Message as _;
use sqlx::FromRow;
use wcdn_proto::{Position, pb::admin::v1 as admin};

use super::{ROWS, Store, StoreError, Tx, number, sql, statement::Statement};
use crate::change::Recorded;

/// A change that was found by its token.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) change: Recorded,
    /// Of what was asked for.
    pub(super) digest: [u8; 32],
}

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    epoch: i64,
    first_seq: i64,
    last_seq: i64,
    committed_at_ms: i64,
    ids: i64,
    asked_by: String,
    digest: Vec<u8>,
}

impl Row {
    fn change(&self) -> Recorded {
        let at = |seq| Position { epoch: number(self.epoch), seq: number(seq) };
        Recorded {
            id: self.id.clone(),
            kind: self.kind.clone(),
            first: at(self.first_seq),
            last: at(self.last_seq),
            committed_at_ms: number(self.committed_at_ms),
            ids: number(self.ids),
            by: self.asked_by.clone(),
        }
    }
}

impl Found {
    pub(super) async fn by_token(
        tx: &mut Tx,
        by: &str,
        token: &str,
    ) -> Result<Option<Self>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, epoch, first_seq, last_seq, committed_at_ms, ids, asked_by, digest \
             FROM changes WHERE asked_by = $1 AND token = $2",
        )
        .bind(by)
        .bind(token)
        .fetch_optional(&mut **tx)
        .await?;
        let found = |row: Row| {
            let digest = row.digest.as_slice().try_into();
            let digest = digest.map_err(|_| StoreError::Damaged { what: "digest of a change" })?;
            Ok(Self { change: row.change(), digest })
        };
        row.map(found).transpose()
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    new: &[(Recorded, Option<String>, [u8; 32])],
) -> Result<(), StoreError> {
    for new in new.chunks(ROWS) {
        let mut insert = Statement::new(
            tx,
            "INSERT INTO changes (id, kind, epoch, first_seq, last_seq, committed_at_ms, ids, \
             asked_by, token, digest) VALUES ",
        );
        insert.rows(new, |row, (change, token, digest)| {
            row.bind(&change.id)
                .bind(&change.kind)
                .bind(sql(change.first.epoch))
                .bind(sql(change.first.seq))
                .bind(sql(change.last.seq))
                .bind(sql(change.committed_at_ms))
                .bind(sql(change.ids))
                .bind(&change.by)
                .bind(token)
                .bind(&digest[..]);
        });
        insert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// Those that begin after one position, and not after the other, in order.
pub(super) async fn between(
    tx: &mut Tx,
    after: Position,
    upto: Position,
) -> Result<Vec<Recorded>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, kind, epoch, first_seq, last_seq, committed_at_ms, ids, asked_by, digest \
         FROM changes WHERE epoch = $1 AND first_seq > $2 AND first_seq <= $3 ORDER BY first_seq",
    )
    .bind(sql(after.epoch))
    .bind(sql(after.seq))
    .bind(sql(upto.seq))
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.iter().map(Row::change).collect())
}

impl Store {
    /// A change, and its receipt if it was kept.
    pub(crate) async fn change(
        &self,
        id: &str,
    ) -> Result<Option<(Recorded, Option<admin::Receipt>)>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, epoch, first_seq, last_seq, committed_at_ms, ids, asked_by, digest \
             FROM changes WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT bytes FROM receipts WHERE change_id = $1")
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
        let receipt = bytes.as_deref().map(admin::Receipt::decode).transpose();
        let receipt = receipt.map_err(|_| StoreError::Damaged { what: "receipt" })?;
        Ok(Some((row.change(), receipt)))
    }

    /// The latest changes since then that have no receipt yet, the first one first.
    pub(crate) async fn unsettled(
        &self,
        since_ms: u64,
        most: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, kind, epoch, first_seq, last_seq, committed_at_ms, ids, asked_by, digest \
             FROM changes WHERE committed_at_ms >= $1 \
             AND NOT EXISTS (SELECT 1 FROM receipts WHERE change_id = changes.id) \
             ORDER BY committed_at_ms DESC, epoch DESC, last_seq DESC LIMIT $2",
        )
        .bind(sql(since_ms))
        .bind(i64::from(most))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().rev().map(Row::change).collect())
    }

    /// Keeps receipts, in few statements: other changes wait meanwhile.
    pub(crate) async fn keep_receipts(
        &self,
        receipts: &[admin::Receipt],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for receipts in receipts.chunks(ROWS) {
            let mut insert = Statement::new(
                &tx,
                "INSERT INTO receipts (change_id, committed_at_ms, bytes, complete) VALUES ",
            );
            insert.rows(receipts, |row, receipt| {
                let change = receipt.change.as_ref();
                row.bind(change.map(|change| change.id.as_str()).unwrap_or_default())
                    .bind(sql(change.map_or(0, |change| change.committed_at_ms)))
                    .bind(receipt.encode_to_vec())
                    .bind(i64::from(receipt.complete));
            });
            // Another control plane keeps its own, and may have heard of more nodes.
            insert.push(
                " ON CONFLICT (change_id) DO UPDATE SET bytes = excluded.bytes, \
                 complete = excluded.complete WHERE receipts.complete = 0",
            );
            insert.build().execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}
