//! Nodes that have registered, so that a control plane that restarts waits for them in receipts.

use sqlx::FromRow;
use wcdn_proto::Position;

use super::{Store, StoreError, now_ms, number, sql};
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
    lost_at_ms: Option<i64>,
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
            },
            applied: Position { epoch: number(self.epoch), seq: number(self.seq) },
            is_lost: self.lost_at_ms.is_some(),
        })
    }
}

impl Store {
    /// Remembers a node that registers.
    pub(crate) async fn remember(
        &self,
        who: &Registered,
        applied: Position,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO nodes (node, region, incarnation, version, edge_url, strict, epoch, seq) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (node) DO UPDATE SET \
             region = excluded.region, incarnation = excluded.incarnation, \
             version = excluded.version, edge_url = excluded.edge_url, strict = excluded.strict, \
             epoch = excluded.epoch, seq = excluded.seq, lost_at_ms = NULL",
        )
        .bind(who.node.as_str())
        .bind(who.region.as_str())
        .bind(who.incarnation.cast_signed())
        .bind(&who.version)
        .bind(&who.edge_url)
        .bind(i64::from(who.strict))
        .bind(sql(applied.epoch))
        .bind(sql(applied.seq))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Remembers that a node is gone.
    pub(crate) async fn remember_lost(&self, node: &str) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE nodes SET lost_at_ms = $1 WHERE node = $2")
            .bind(sql(now_ms()))
            .bind(node)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM nodes WHERE lost_at_ms < $1")
            .bind(sql(now_ms().saturating_sub(REMEMBERED_MS)))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Nodes that are remembered.
    pub(crate) async fn nodes(&self) -> Result<Vec<Known>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM nodes ORDER BY node LIMIT $1")
            .bind(MOST)
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(Row::known).collect()
    }
}
