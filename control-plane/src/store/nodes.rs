//! Nodes that have registered, so that a control plane that restarts waits for them in receipts.

use std::time::Duration;

use sqlx::FromRow;
use wcdn_proto::{NodeId, Position};

use super::{ROWS, Store, StoreError, number, sql, statement::Statement};
use crate::tracker::{Known, Registered};

/// Nodes that are read when the control plane starts; more than a cluster may have.
const MOST: i64 = 10_000;

/// How long a lost node is remembered: a day.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1_000;

#[derive(FromRow)]
struct Row {
    node: String,
    region: String,
    incarnation: i64,
    version: String,
    edge_url: String,
    strict: i64,
    epoch: i64,
    seq: i64,
    /// By the database's clock.
    lost_for_ms: Option<i64>,
    lease_ms: i64,
}

impl Row {
    fn known(self) -> Result<Known, StoreError> {
        let damaged = |_| StoreError::Damaged { what: "node" };
        Ok(Known {
            who: Registered {
                node: self.node.parse().map_err(damaged)?,
                region: self.region.parse().map_err(damaged)?,
                incarnation: self.incarnation.cast_unsigned(),
                version: self.version,
                edge_url: self.edge_url,
                strict: self.strict != 0,
                lease: Duration::from_millis(number(self.lease_ms)),
            },
            applied: Position { epoch: number(self.epoch), seq: number(self.seq) },
            lost_ago: self.lost_for_ms.map(|ms| Duration::from_millis(number(ms.max(0)))),
        })
    }
}

impl Store {
    /// Remembers nodes that registered, and those that are gone, in one transaction: a thousand that
    /// come back at once must not hold up changes.
    pub(crate) async fn remember(
        &self,
        registered: &[(Registered, Position)],
        lost: &[NodeId],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for registered in registered.chunks(ROWS) {
            let mut upsert = Statement::new(
                &tx,
                "INSERT INTO nodes (node, region, incarnation, version, edge_url, strict, epoch, \
                 seq, lease_ms) VALUES ",
            );
            upsert.rows(registered, |row, (who, applied)| {
                let lease_ms = u64::try_from(who.lease.as_millis()).unwrap_or(u64::MAX);
                row.bind(who.node.as_str())
                    .bind(who.region.as_str())
                    .bind(who.incarnation.cast_signed())
                    .bind(&who.version)
                    .bind(&who.edge_url)
                    .bind(i64::from(who.strict))
                    .bind(sql(applied.epoch))
                    .bind(sql(applied.seq))
                    .bind(sql(lease_ms));
            });
            upsert.push(
                " ON CONFLICT (node) DO UPDATE SET region = excluded.region, \
                 incarnation = excluded.incarnation, version = excluded.version, \
                 edge_url = excluded.edge_url, strict = excluded.strict, epoch = excluded.epoch, \
                 seq = excluded.seq, lease_ms = excluded.lease_ms, lost_at_ms = NULL",
            );
            upsert.build().execute(&mut *tx).await?;
        }
        for lost in lost.chunks(ROWS) {
            let mut update = Statement::new(
                &tx,
                "UPDATE nodes SET lost_at_ms = CAST(unixepoch('subsec') * 1000 AS BIGINT) \
                 WHERE lost_at_ms IS NULL AND node IN ",
            );
            update.list(lost.iter().map(NodeId::as_str));
            update.build().execute(&mut *tx).await?;
        }
        sqlx::query(
            "DELETE FROM nodes \
             WHERE lost_at_ms < CAST(unixepoch('subsec') * 1000 AS BIGINT) - $1",
        )
        .bind(sql(REMEMBERED_MS))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Nodes that are remembered.
    pub(crate) async fn nodes(&self) -> Result<Vec<Known>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT node, region, incarnation, version, edge_url, strict, epoch, seq, \
             CAST(unixepoch('subsec') * 1000 AS BIGINT) - lost_at_ms AS lost_for_ms, \
             lease_ms FROM nodes ORDER BY lost_at_ms IS NOT NULL, node LIMIT $1",
        )
        .bind(MOST)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(Row::known).collect()
    }
}
