//! What is withheld at the head of the log.

use std::collections::BTreeSet;

use wcdn_proto::ContentId;

use super::{ROWS, Store, StoreError, Tx, number, read::content, statement::Statement};

/// What is withheld, and why.
#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    /// What.
    pub(crate) content: ContentId,
    /// For people.
    pub(crate) reason: String,
    /// The name of the API key.
    pub(crate) by: String,
    /// When: Unix time in milliseconds.
    pub(crate) at_ms: u64,
}

impl Store {
    /// What is withheld, by id, after this one.
    pub(crate) async fn list_blocks(
        &self,
        after: &[u8],
        most: u32,
    ) -> Result<Vec<Blocked>, StoreError> {
        let rows: Vec<(Vec<u8>, String, String, i64)> = sqlx::query_as(
            "SELECT content, reason, blocked_by, blocked_at_ms FROM blocks WHERE content > $1 \
             ORDER BY content LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(most))
        .fetch_all(&self.readers)
        .await?;
        let blocked = |(bytes, reason, by, at): (Vec<u8>, _, _, _)| {
            Ok(Blocked { content: content(&bytes)?, reason, by, at_ms: number(at) })
        };
        rows.into_iter().map(blocked).collect()
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    ids: &[ContentId],
    reason: &str,
    by: &str,
    at: i64,
) -> Result<(), StoreError> {
    // PostgreSQL refuses to change a row twice in one statement.
    let ids: Vec<&ContentId> = BTreeSet::from_iter(ids).into_iter().collect();
    for ids in ids.chunks(ROWS) {
        let mut insert = Statement::new(
            tx,
            "INSERT INTO blocks (content, reason, blocked_by, blocked_at_ms) VALUES ",
        );
        insert.rows(ids, |row, id| {
            row.bind(id.to_vec()).bind(reason).bind(by).bind(at);
        });
        insert.push(
            " ON CONFLICT (content) DO UPDATE SET reason = excluded.reason, \
             blocked_by = excluded.blocked_by, blocked_at_ms = excluded.blocked_at_ms",
        );
        insert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// How many there were.
pub(super) async fn delete(tx: &mut Tx, ids: &[ContentId]) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for ids in ids.chunks(ROWS) {
        let mut delete = Statement::new(tx, "DELETE FROM blocks WHERE content IN ");
        delete.list(ids.iter().map(ContentId::to_vec));
        deleted += delete.build().execute(&mut **tx).await?.rows_affected();
    }
    Ok(deleted)
}
