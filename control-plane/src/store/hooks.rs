//! Hooks.

use serde_json::json;
use sqlx::FromRow;

use super::{Store, StoreError, Tx, audit, now_ms, number, sql};
use crate::{
    api_key::ApiKeyHash,
    audit::{Class, Draft},
    auth::Author,
    hooks::{Hook, Root},
};

const ROOT: &str = "hooks";

/// Hooks there may be: each is a door.
const MAX_HOOKS: i64 = 1_000;

/// Why a hook is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookRefused {
    /// There is one of this name.
    NameTaken,
    /// There are as many as may be.
    Full,
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    everything: i64,
    force: i64,
    created_at_ms: i64,
    created_by: String,
    used_at_ms: i64,
}

impl Row {
    fn hook(self) -> Result<Hook, StoreError> {
        Ok(Hook {
            id: self.id.parse().map_err(|_| StoreError::Damaged { what: "hook" })?,
            name: self.name,
            all: self.everything != 0,
            force: self.force != 0,
            created_at_ms: number(self.created_at_ms),
            created_by: self.created_by,
            used_at_ms: number(self.used_at_ms),
        })
    }
}

/// A new store gets what secrets of hooks follow from.
pub(super) async fn begin(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(ROOT)
        .bind(&rand::random::<[u8; 32]>()[..])
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// What secrets of hooks follow from.
    pub(crate) async fn hook_root(&self) -> Result<Root, StoreError> {
        let bytes: Vec<u8> = sqlx::query_scalar("SELECT value FROM secrets WHERE name = $1")
            .bind(ROOT)
            .fetch_one(&self.readers)
            .await?;
        let bytes = bytes.try_into().map_err(|_| StoreError::Damaged { what: "secret" })?;
        Ok(Root::new(bytes))
    }

    /// Every hook, by id.
    pub(crate) async fn hooks(&self) -> Result<Vec<Hook>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, everything, force, created_at_ms, created_by, used_at_ms FROM hooks \
             ORDER BY id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(Row::hook).collect()
    }

    /// The hook whose token has this hash.
    pub(crate) async fn hook(&self, token: ApiKeyHash) -> Result<Option<Hook>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, name, everything, force, created_at_ms, created_by, used_at_ms FROM hooks \
             WHERE token_hash = $1",
        )
        .bind(&token.as_bytes()[..])
        .fetch_optional(&self.readers)
        .await?;
        row.map(Row::hook).transpose()
    }

    /// Adds a hook, unless its name is taken.
    pub(crate) async fn add_hook(
        &self,
        hook: &Hook,
        token: ApiKeyHash,
        by: &Author,
    ) -> Result<Result<(), HookRefused>, StoreError> {
        let mut tx = self.write().await?;
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM hooks").fetch_one(&mut *tx).await?;
        if count >= MAX_HOOKS {
            return Ok(Err(HookRefused::Full));
        }
        let done = sqlx::query(
            "INSERT INTO hooks (id, name, token_hash, everything, force, created_at_ms, created_by, \
             used_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING",
        )
        .bind(hook.id.as_str())
        .bind(&hook.name)
        .bind(&token.as_bytes()[..])
        .bind(i64::from(hook.all))
        .bind(i64::from(hook.force))
        .bind(sql(hook.created_at_ms))
        .bind(&hook.created_by)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Err(HookRefused::NameTaken));
        }
        let detail = json!({"name": hook.name, "all": hook.all, "force": hook.force});
        audit::append(&mut tx, &[draft("hook.create", hook.id.as_str(), detail, by)]).await?;
        tx.commit().await?;
        Ok(Ok(()))
    }

    /// Removes a hook. False if there is none.
    pub(crate) async fn remove_hook(&self, id: &str, by: &Author) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let name: Option<String> =
            sqlx::query_scalar("DELETE FROM hooks WHERE id = $1 RETURNING name")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
        let Some(name) = name else { return Ok(false) };
        audit::append(&mut tx, &[draft("hook.delete", id, json!({"name": name}), by)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes that a hook did something.
    pub(crate) async fn hook_used(&self, hook: &Hook) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE hooks SET used_at_ms = $1 WHERE id = $2")
            .bind(sql(now_ms()))
            .bind(hook.id.as_str())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

fn draft(action: &str, id: &str, detail: serde_json::Value, by: &Author) -> Draft {
    let done = Draft::done(Class::Operation, action, by.clone());
    Draft { target: id.to_owned(), detail, ..done }
}
