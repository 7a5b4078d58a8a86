//! Changes by name or token, and their receipts.

use std::collections::{BTreeMap, HashSet};

use prost::Message as _;
use sqlx::FromRow;
use wcdn_proto::{
    Position,
    pb::admin::v1::{self as admin, NodeState},
};

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

    /// Which of these changes the log has.
    pub(crate) async fn those_there(&self, ids: &[String]) -> Result<HashSet<String>, StoreError> {
        let mut tx = self.write().await?;
        let mut there = HashSet::new();
        for ids in ids.chunks(ROWS) {
            let mut select = Statement::new(&tx, "SELECT id FROM changes WHERE id IN ");
            select.list(ids.iter().map(String::as_str));
            let found: Vec<String> = select.build_scalar().fetch_all(&mut *tx).await?;
            there.extend(found);
        }
        Ok(there)
    }

    /// Keeps receipts, in few statements: other changes wait meanwhile. Another control plane keeps its own,
    /// and may have heard of other nodes: what both say is kept.
    pub(crate) async fn keep_receipts(
        &self,
        receipts: &[admin::Receipt],
    ) -> Result<(), StoreError> {
        // In one order everywhere: two that wait for each other's rows would wait for ever.
        let mut receipts: Vec<_> = receipts.iter().map(Kept::new).collect();
        receipts.sort_by_key(|kept| kept.id);
        let mut tx = self.write().await?;
        for receipts in receipts.chunks(ROWS) {
            let mut insert = Statement::new(
                &tx,
                "INSERT INTO receipts (change_id, committed_at_ms, bytes, complete) VALUES ",
            );
            insert.rows(receipts, |row, ours| {
                let change = ours.receipt.change.as_ref();
                row.bind(ours.id)
                    .bind(sql(change.map_or(0, |change| change.committed_at_ms)))
                    .bind(&ours.bytes)
                    .bind(i64::from(ours.receipt.complete));
            });
            // The row is held until the end, and says what is in it.
            insert.push(
                " ON CONFLICT (change_id) DO UPDATE SET change_id = excluded.change_id \
                 RETURNING change_id, bytes",
            );
            let kept: Vec<(String, Vec<u8>)> = insert.build_as().fetch_all(&mut *tx).await?;
            for (id, theirs) in kept {
                let ours = receipts.binary_search_by_key(&id.as_str(), |ours| ours.id);
                let ours = ours.ok().and_then(|n| receipts.get(n));
                if let Some(ours) = ours.filter(|ours| ours.bytes != theirs) {
                    ours.merge(&theirs, &mut tx).await?;
                }
            }
        }
        Ok(tx.commit().await?)
    }
}

/// A receipt that is to be kept.
struct Kept<'a> {
    id: &'a str,
    receipt: &'a admin::Receipt,
    bytes: Vec<u8>,
}

impl<'a> Kept<'a> {
    fn new(receipt: &'a admin::Receipt) -> Self {
        let id = receipt.change.as_ref().map(|change| change.id.as_str()).unwrap_or_default();
        Self { id, receipt, bytes: receipt.encode_to_vec() }
    }

    /// Keeps what it says together with what is there.
    async fn merge(&self, there: &[u8], tx: &mut Tx) -> Result<(), StoreError> {
        let there = admin::Receipt::decode(there);
        let there = there.map_err(|_| StoreError::Damaged { what: "receipt" })?;
        let both = merged(there, self.receipt);
        sqlx::query("UPDATE receipts SET bytes = $1, complete = $2 WHERE change_id = $3")
            .bind(both.encode_to_vec())
            .bind(i64::from(both.complete))
            .bind(self.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

/// What two receipts of one change say together. Who has applied it has, whoever heard of it.
fn merged(mut one: admin::Receipt, other: &admin::Receipt) -> admin::Receipt {
    let is_applied = |line: &admin::NodeReceipt| line.state() == NodeState::Applied;
    let lines = one.nodes.drain(..).map(|line| (line.node.clone(), line));
    let mut lines: BTreeMap<String, admin::NodeReceipt> = lines.collect();
    for line in &other.nodes {
        match lines.get_mut(&line.node) {
            Some(known) if is_applied(line) && !is_applied(known) => known.clone_from(line),
            Some(known) if is_applied(line) && known.outcome.is_none() => {
                known.outcome = line.outcome;
            }
            Some(_) => {}
            None => drop(lines.insert(line.node.clone(), line.clone())),
        }
    }
    one.nodes = lines.into_values().collect();
    one.settled |= other.settled;
    one.complete = !one.nodes.is_empty() && one.nodes.iter().all(is_applied);
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(lines: &[(&str, NodeState)]) -> admin::Receipt {
        let line = |(node, state): &(&str, NodeState)| admin::NodeReceipt {
            node: (*node).to_owned(),
            state: (*state).into(),
            ..admin::NodeReceipt::default()
        };
        let nodes = lines.iter().map(line).collect();
        admin::Receipt { nodes, settled: true, ..admin::Receipt::default() }
    }

    #[test]
    fn two_receipts_say_together_what_either_says_whichever_came_first() {
        use NodeState::{Applied, Unconfirmed};
        let one = receipt(&[("a", Applied), ("b", Unconfirmed)]);
        let other = receipt(&[("b", Applied), ("c", Unconfirmed)]);
        let both = receipt(&[("a", Applied), ("b", Applied), ("c", Unconfirmed)]);
        assert_eq!(merged(one.clone(), &other), both);
        assert_eq!(merged(other, &one), both);
        let last = receipt(&[("c", Applied)]);
        assert!(merged(both, &last).complete);
        assert!(!merged(receipt(&[]), &receipt(&[])).complete);
    }
}
