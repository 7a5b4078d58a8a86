//! What is pinned at the head of the log.

use std::collections::BTreeSet;

use wcdn_proto::BlobId;

use super::{ROWS, Store, StoreError, Tx, number, statement::Statement};

/// What is pinned, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    /// What.
    pub(crate) id: BlobId,
    /// For people.
    pub(crate) note: String,
    /// The name of the API key.
    pub(crate) by: String,
    /// When: Unix time in milliseconds.
    pub(crate) at_ms: u64,
}

/// Some of what is pinned among what was asked about, and how much of it there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spared {
    /// The first few.
    pub(crate) some: Vec<BlobId>,
    /// How many there are in all.
    pub(crate) count: u64,
}

/// Ids that whoever is refused is told.
const TOLD: u8 = 3;

impl Store {
    /// One pin.
    pub(crate) async fn pin(&self, id: &BlobId) -> Result<Option<Pinned>, StoreError> {
        let row: Option<(String, String, i64)> =
            sqlx::query_as("SELECT note, pinned_by, pinned_at_ms FROM pins WHERE content = $1")
                .bind(&id.as_bytes()[..])
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|(note, by, at)| Pinned { id: *id, note, by, at_ms: number(at) }))
    }

    /// What is pinned, by id, after this one.
    pub(crate) async fn list_pins(
        &self,
        after: &[u8],
        most: u32,
    ) -> Result<Vec<Pinned>, StoreError> {
        let rows: Vec<(Vec<u8>, String, String, i64)> = sqlx::query_as(
            "SELECT content, note, pinned_by, pinned_at_ms FROM pins WHERE content > $1 \
             ORDER BY content LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(most))
        .fetch_all(&self.readers)
        .await?;
        let pinned = |(bytes, note, by, at): (Vec<u8>, _, _, _)| {
            Ok(Pinned { id: blob(&bytes)?, note, by, at_ms: number(at) })
        };
        rows.into_iter().map(pinned).collect()
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    ids: &[BlobId],
    note: &str,
    by: &str,
    at: i64,
) -> Result<(), StoreError> {
    // PostgreSQL refuses to change a row twice in one statement.
    let ids: Vec<&BlobId> = BTreeSet::from_iter(ids).into_iter().collect();
    for ids in ids.chunks(ROWS) {
        let mut insert =
            Statement::new(tx, "INSERT INTO pins (content, note, pinned_by, pinned_at_ms) VALUES ");
        insert.rows(ids, |row, id| {
            row.bind(id.as_bytes().to_vec()).bind(note).bind(by).bind(at);
        });
        insert.push(
            " ON CONFLICT (content) DO UPDATE SET note = excluded.note, \
             pinned_by = excluded.pinned_by, pinned_at_ms = excluded.pinned_at_ms",
        );
        insert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// How many there were.
pub(super) async fn delete(tx: &mut Tx, ids: &[BlobId]) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for ids in ids.chunks(ROWS) {
        let mut delete = Statement::new(tx, "DELETE FROM pins WHERE content IN ");
        delete.list(ids.iter().map(|id| id.as_bytes().to_vec()));
        deleted += delete.build().execute(&mut **tx).await?.rows_affected();
    }
    Ok(deleted)
}

/// What is pinned among these.
pub(super) async fn among(tx: &mut Tx, ids: &[BlobId]) -> Result<Spared, StoreError> {
    let mut spared = Spared::default();
    for ids in ids.chunks(ROWS) {
        let mut select = Statement::new(tx, "SELECT content FROM pins WHERE content IN ");
        select.list(ids.iter().map(|id| id.as_bytes().to_vec()));
        select.push(" ORDER BY content");
        let found: Vec<Vec<u8>> = select.build_scalar().fetch_all(&mut **tx).await?;
        let room = usize::from(TOLD) - spared.some.len();
        for bytes in found.iter().take(room) {
            spared.some.push(blob(bytes)?);
        }
        spared.count += found.len() as u64;
    }
    Ok(spared)
}

/// What is pinned at all, of which there is so much.
pub(super) async fn some(tx: &mut Tx, count: u64) -> Result<Spared, StoreError> {
    let found: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT content FROM pins ORDER BY content LIMIT $1")
            .bind(i64::from(TOLD))
            .fetch_all(&mut **tx)
            .await?;
    let some: Result<_, _> = found.iter().map(|bytes| blob(bytes)).collect();
    Ok(Spared { some: some?, count })
}

pub(super) fn blob(bytes: &[u8]) -> Result<BlobId, StoreError> {
    BlobId::try_from(bytes).map_err(|_| StoreError::Damaged { what: "pin" })
}
