//! The audit log: a chain that only grows at its end, and is forgotten from its beginning.

use serde_json::value::RawValue;
use sqlx::FromRow;
use wcdn_proto::{
    KeyId,
    audit::{AuditEntry, AuditHash},
};

use super::{ROWS, Store, StoreError, Tx, jobs::Fence, number, sql, statement::Statement};
use crate::audit::Draft;

/// Entries that are forgotten in one transaction.
const FORGOTTEN: i64 = 5_000;

/// Which entries are wanted: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Unix time in milliseconds; from then on.
    pub(crate) from_ms: u64,
    /// Before then; 0 for no end.
    pub(crate) until_ms: u64,
    pub(crate) class: Option<String>,
    /// With a dot at the end, all that begin so.
    pub(crate) action: Option<String>,
    pub(crate) outcome: Option<String>,
    /// An id or a name.
    pub(crate) key: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// Which way entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those before this one, the latest first.
    LatestBefore(u64),
    /// Those after this one, the oldest first.
    OldestAfter(u64),
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    at_ms: i64,
    class: String,
    action: String,
    outcome: String,
    key_id: String,
    key_name: String,
    address: String,
    request_id: String,
    target: String,
    count: i64,
    detail: String,
    hash: Vec<u8>,
    previous: Vec<u8>,
}

impl Row {
    fn entry(self) -> Result<AuditEntry, StoreError> {
        let damaged = |_| StoreError::Damaged { what: "audit entry" };
        Ok(AuditEntry {
            seq: number(self.seq),
            at_ms: number(self.at_ms),
            class: self.class,
            action: self.action,
            outcome: self.outcome,
            key_id: self.key_id,
            key_name: self.key_name,
            address: self.address,
            request_id: self.request_id,
            target: self.target,
            count: number(self.count),
            detail: RawValue::from_string(self.detail)
                .map_err(|_| StoreError::Damaged { what: "audit entry" })?,
            previous: AuditHash(self.previous.try_into().map_err(damaged)?),
            hash: AuditHash(self.hash.try_into().map_err(damaged)?),
        })
    }
}

/// A new store gets the end of an empty chain.
pub(super) async fn begin(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit_head (one, seq, hash, floor_seq, floor_hash) VALUES (1, 0, $1, 0, $1) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&[0_u8; 32][..])
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes entries at the end. Whoever writes the log holds its lock already.
pub(super) async fn append(tx: &mut Tx, drafts: &[Draft]) -> Result<(), StoreError> {
    if drafts.is_empty() {
        return Ok(());
    }
    let (seq, hash, now): (i64, Vec<u8>, i64) = sqlx::query_as(
        "UPDATE audit_head SET seq = seq WHERE one = 1 \
         RETURNING seq, hash, CAST(unixepoch('subsec') * 1000 AS BIGINT)",
    )
    .fetch_one(&mut **tx)
    .await?;
    let hash = hash.try_into().map_err(|_| StoreError::Damaged { what: "audit head" })?;
    let mut last = (number(seq), AuditHash(hash));
    for drafts in drafts.chunks(ROWS) {
        let mut entries = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let entry = entry(draft, last, number(now))?;
            last = (entry.seq, entry.hash);
            entries.push(entry);
        }
        insert(tx, &entries).await?;
    }
    sqlx::query("UPDATE audit_head SET seq = $1, hash = $2")
        .bind(sql(last.0))
        .bind(&last.1.0[..])
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn entry(
    draft: &Draft,
    (after, previous): (u64, AuditHash),
    at_ms: u64,
) -> Result<AuditEntry, StoreError> {
    let Draft { class, action, outcome, author, target, count, detail } = draft;
    let detail = serde_json::value::to_raw_value(detail);
    let mut entry = AuditEntry {
        seq: after + 1,
        at_ms,
        class: class.as_str().to_owned(),
        action: action.clone(),
        outcome: outcome.as_str().to_owned(),
        key_id: author.key_id.clone(),
        key_name: author.name.clone(),
        address: author.address.clone(),
        request_id: author.request_id.clone(),
        target: target.clone(),
        count: *count,
        detail: detail.map_err(|_| StoreError::Damaged { what: "audit detail" })?,
        previous,
        hash: AuditHash::default(),
    };
    entry.hash = entry.digest();
    Ok(entry)
}

/// What stands before the dot of an action, by which those of one kind are found.
fn topic(action: &str) -> &str {
    action.split('.').next().unwrap_or_default()
}

async fn insert(tx: &mut Tx, entries: &[AuditEntry]) -> Result<(), StoreError> {
    let mut insert = Statement::new(
        tx,
        "INSERT INTO audit (seq, at_ms, class, action, topic, outcome, key_id, key_name, address, request_id, \
         target, count, detail, hash) VALUES ",
    );
    insert.rows(entries, |row, entry| {
        row.bind(sql(entry.seq))
            .bind(sql(entry.at_ms))
            .bind(&entry.class)
            .bind(&entry.action)
            .bind(topic(&entry.action))
            .bind(&entry.outcome)
            .bind(&entry.key_id)
            .bind(&entry.key_name)
            .bind(&entry.address)
            .bind(&entry.request_id)
            .bind(&entry.target)
            .bind(sql(entry.count))
            .bind(entry.detail.get())
            .bind(&entry.hash.0[..]);
    });
    insert.build().execute(&mut **tx).await?;
    Ok(())
}

impl Store {
    /// Writes entries at the end.
    pub(crate) async fn write_audit(&self, drafts: &[Draft]) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        append(&mut tx, drafts).await?;
        Ok(tx.commit().await?)
    }

    /// The last entry, and its hash.
    pub(crate) async fn audit_head(&self) -> Result<(u64, AuditHash), StoreError> {
        let (seq, hash): (i64, Vec<u8>) =
            sqlx::query_as("SELECT seq, hash FROM audit_head").fetch_one(&self.readers).await?;
        let hash = hash.try_into().map_err(|_| StoreError::Damaged { what: "audit head" })?;
        Ok((number(seq), AuditHash(hash)))
    }

    /// Some entries.
    pub(crate) async fn audit(
        &self,
        filter: &Filter,
        order: Order,
        most: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let mut select = Statement::new(
            &connection,
            "SELECT a.seq, a.at_ms, a.class, a.action, a.outcome, a.key_id, a.key_name, a.address, \
             a.request_id, a.target, a.count, a.detail, a.hash, COALESCE( \
               (SELECT b.hash FROM audit b WHERE b.seq = a.seq - 1), \
               (SELECT floor_hash FROM audit_head)) AS previous FROM audit a WHERE a.seq ",
        );
        match order {
            Order::LatestBefore(seq) => select.push("< ").bind(sql(seq)),
            Order::OldestAfter(seq) => select.push("> ").bind(sql(seq)),
        };
        filter.narrow(&mut select);
        select.push(match order {
            Order::LatestBefore(_) => " ORDER BY a.seq DESC LIMIT ",
            Order::OldestAfter(_) => " ORDER BY a.seq LIMIT ",
        });
        select.bind(i64::from(most));
        let rows: Vec<Row> = select.build_as().fetch_all(&mut *connection).await?;
        rows.into_iter().map(Row::entry).collect()
    }

    /// Forgets some entries from before this time, from the beginning on. Says whether there are more.
    pub(crate) async fn prune_audit(
        &self,
        before_ms: u64,
        fence: Fence,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        fence.hold(&mut tx).await?;
        let (floor, end): (i64, i64) = sqlx::query_as(
            "UPDATE audit_head SET seq = seq WHERE one = 1 RETURNING floor_seq, seq",
        )
        .fetch_one(&mut *tx)
        .await?;
        // The first that stays; one at least, or the end of the chain would not be an entry.
        let stays: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(seq) FROM audit WHERE seq > $1 AND seq <= $2 AND at_ms >= $3",
        )
        .bind(floor)
        .bind(floor.saturating_add(FORGOTTEN))
        .bind(sql(before_ms))
        .fetch_one(&mut *tx)
        .await?;
        let upto = stays.map_or(floor + FORGOTTEN, |stays| stays - 1).min(end - 1);
        if upto <= floor {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE audit_head SET floor_seq = $1, \
             floor_hash = (SELECT hash FROM audit WHERE audit.seq = $1)",
        )
        .bind(upto)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM audit WHERE seq <= $1").bind(upto).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(stays.is_none())
    }
}

impl Filter {
    /// Whether it lets everything through.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn narrow(&self, select: &mut Statement) {
        if self.from_ms > 0 {
            select.push(" AND a.at_ms >= ").bind(sql(self.from_ms));
        }
        if self.until_ms > 0 {
            select.push(" AND a.at_ms < ").bind(sql(self.until_ms));
        }
        if let Some(action) = &self.action {
            match action.strip_suffix('.') {
                Some(topic) => select.push(" AND a.topic = ").bind(topic.to_owned()),
                None => select.push(" AND a.action = ").bind(action.clone()),
            };
        }
        for (column, value) in [
            (" AND a.class = ", &self.class),
            (" AND a.outcome = ", &self.outcome),
            (" AND a.target = ", &self.target),
            (" AND a.request_id = ", &self.request_id),
        ] {
            if let Some(value) = value {
                select.push(column).bind(value.clone());
            }
        }
        if let Some(key) = &self.key {
            // Few names could be an id: for the others one index is enough.
            if key.parse::<KeyId>().is_ok() {
                select.push(" AND (a.key_id = ").bind(key.clone());
                select.push(" OR a.key_name = ").bind(key.clone());
                select.push(")");
            } else {
                select.push(" AND a.key_name = ").bind(key.clone());
            }
        }
    }
}
