//! API keys: what they are, never the keys themselves.

mod change;

use std::collections::HashMap;

use ipnet::IpNet;
use serde_json::json;
use sqlx::FromRow;
use wcdn_proto::{KeyId, KeyState, Scopes};

pub(crate) use self::change::KeyRefused;
pub(super) use self::change::change;
use super::{Store, StoreError, Tx, audit, now_ms, number, sql, statement::Statement};
use crate::{
    api_key::{ApiKey, ApiKeyHash, Pepper},
    audit::{Class, Draft},
    auth::{Author, Key, Keyring, NewKey, Presented, Settings, Use},
};

const PEPPER: &str = "api keys";

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    scopes: String,
    vaults: String,
    networks: String,
    per_minute: i64,
    expires_at_ms: i64,
    created_at_ms: i64,
    created_by: String,
    rotated_at_ms: i64,
    revoked_at_ms: i64,
    revision: i64,
    previous_until_ms: i64,
    used_at_ms: i64,
    used_from: String,
}

/// What makes a [`Row`] of a key `k`.
macro_rules! row {
    ($and:literal) => {
        concat!(
            "SELECT k.id, k.name, k.scopes, k.vaults, k.networks, k.per_minute, k.expires_at_ms, \
             k.created_at_ms, k.created_by, k.rotated_at_ms, k.revoked_at_ms, k.revision, \
             COALESCE((SELECT MAX(t.until_ms) FROM api_key_texts t WHERE t.key = k.id), 0) \
             AS previous_until_ms, COALESCE(u.used_at_ms, 0) AS used_at_ms, \
             COALESCE(u.address, '') AS used_from \
             FROM api_keys k LEFT JOIN api_key_uses u ON u.key = k.id ",
            $and
        )
    };
}

impl Row {
    fn key(self) -> Result<Key, StoreError> {
        let damaged = StoreError::Damaged { what: "API key" };
        let networks: Result<Vec<IpNet>, _> =
            self.networks.split_whitespace().map(str::parse).collect();
        // A scope of a later version is none that this one has.
        let mut scopes = Scopes::NONE;
        for name in self.scopes.split_whitespace() {
            drop(scopes.add(name));
        }
        let Ok(networks) = networks else { return Err(damaged) };
        let settings = Settings {
            scopes,
            vaults: self.vaults.lines().map(str::to_owned).collect(),
            networks,
            per_minute: u32::try_from(self.per_minute).unwrap_or(0),
            expires_at_ms: number(self.expires_at_ms),
        };
        Ok(Key {
            id: self.id.parse().map_err(|_| damaged)?,
            name: self.name,
            settings,
            created_at_ms: number(self.created_at_ms),
            created_by: self.created_by,
            rotated_at_ms: number(self.rotated_at_ms),
            previous_until_ms: number(self.previous_until_ms),
            revoked_at_ms: number(self.revoked_at_ms),
            used_at_ms: number(self.used_at_ms),
            used_from: self.used_from,
            revision: number(self.revision),
        })
    }
}

/// A key as it is in a transaction.
pub(super) async fn present(tx: &mut Tx, id: &KeyId) -> Result<Option<Key>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as(row!("WHERE k.id = $1")).bind(id.as_str()).fetch_optional(&mut **tx).await?;
    row.map(Row::key).transpose()
}

/// A new store gets what its keys are hashed with.
pub(super) async fn begin(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(PEPPER)
        .bind(&rand::random::<[u8; 32]>()[..])
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// What keys are hashed with.
    pub(crate) async fn pepper(&self) -> Result<Pepper, StoreError> {
        let bytes: Vec<u8> = sqlx::query_scalar("SELECT value FROM secrets WHERE name = $1")
            .bind(PEPPER)
            .fetch_one(&self.readers)
            .await?;
        let bytes = bytes.try_into().map_err(|_| StoreError::Damaged { what: "secret" })?;
        Ok(Pepper::new(bytes))
    }

    /// The key whose text has this hash, or had it.
    pub(crate) async fn presented(
        &self,
        hash: &ApiKeyHash,
    ) -> Result<Option<Presented>, StoreError> {
        let found: Option<(String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, hash, -1 FROM api_keys WHERE hash = $1 UNION ALL \
             SELECT key, hash, until_ms FROM api_key_texts WHERE hash = $1 LIMIT 1",
        )
        .bind(&hash.as_bytes()[..])
        .fetch_optional(&self.readers)
        .await?;
        let Some((id, hash, until_ms)) = found else { return Ok(None) };
        let Some(key) = self.key(&id).await? else { return Ok(None) };
        let until_ms = (until_ms >= 0).then(|| number(until_ms));
        Ok(Some(Presented { key: key.into(), hash: stored(hash)?, until_ms }))
    }

    /// The key of this id or name.
    pub(crate) async fn key(&self, id_or_name: &str) -> Result<Option<Key>, StoreError> {
        let row: Option<Row> = sqlx::query_as(row!("WHERE k.id = $1 OR k.name = $1 LIMIT 1"))
            .bind(id_or_name)
            .fetch_optional(&self.readers)
            .await?;
        row.map(Row::key).transpose()
    }

    /// Keys in the order of their ids, after this one; also those that have ended before `ended_ms`, which
    /// is 0 for all.
    pub(crate) async fn list_keys(
        &self,
        after: &str,
        ended_ms: u64,
        most: u32,
    ) -> Result<Vec<Key>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(row!(
            "WHERE k.id > $1 AND ($2 = 0 OR (k.revoked_at_ms = 0 AND \
             (k.expires_at_ms = 0 OR k.expires_at_ms > $2))) ORDER BY k.id LIMIT $3"
        ))
        .bind(after)
        .bind(sql(ended_ms))
        .bind(i64::from(most))
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(Row::key).collect()
    }

    /// Whether there is any key.
    pub(crate) async fn has_keys(&self) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM api_keys").fetch_one(&self.readers).await?;
        Ok(count > 0)
    }

    /// Adds a key past the log, unless it or its name is there already. Says
    /// whether it was added.
    pub(crate) async fn add_key(
        &self,
        name: &str,
        key: &ApiKey,
        scopes: Scopes,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let text = Keyring::new(self.pepper().await?).text(key.expose());
        let id = key.id().parse().map_err(|_| StoreError::Damaged { what: "API key" })?;
        let settings = Settings { scopes, ..Settings::unrestricted() };
        let new = NewKey { id, name: name.to_owned(), text, settings };
        let mut tx = self.write().await?;
        let is_new = change::insert(&mut tx, &new, by, sql(now_ms())).await?;
        if is_new {
            let draft = Draft::done(Class::Operation, "key.create", by.clone());
            let detail = json!({"name": name, "after": {"scopes": scopes.names()}});
            let draft = Draft { target: new.id.to_string(), detail, ..draft };
            audit::append(&mut tx, &[draft]).await?;
        }
        tx.commit().await?;
        Ok(is_new)
    }

    /// Notes when keys were last used.
    pub(crate) async fn note_uses(&self, uses: &HashMap<KeyId, Use>) -> Result<(), StoreError> {
        // In one order everywhere: two that wait for each other's rows would wait for ever.
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort_by_key(|(id, _)| *id);
        let mut tx = self.write().await?;
        for uses in uses.chunks(super::ROWS) {
            let mut upsert =
                Statement::new(&tx, "INSERT INTO api_key_uses (key, used_at_ms, address) VALUES ");
            upsert.rows(uses, |row, (id, last)| {
                let address = last.address.map(|it| it.to_string()).unwrap_or_default();
                row.bind(id.as_str()).bind(sql(last.at_ms)).bind(address);
            });
            upsert.push(
                " ON CONFLICT (key) DO UPDATE SET used_at_ms = excluded.used_at_ms, \
                 address = excluded.address WHERE api_key_uses.used_at_ms < excluded.used_at_ms",
            );
            upsert.build().execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What nodes know of the keys that have not ended.
pub(super) async fn states(tx: &mut Tx) -> Result<Vec<KeyState>, StoreError> {
    let keys: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT id, per_minute, expires_at_ms FROM api_keys WHERE revoked_at_ms = 0 ORDER BY id",
    )
    .fetch_all(&mut **tx)
    .await?;
    let texts: Vec<(String, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, edge_hash, -1 FROM api_keys WHERE edge_hash IS NOT NULL UNION ALL \
         SELECT key, edge_hash, until_ms FROM api_key_texts WHERE edge_hash IS NOT NULL",
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut of_key: HashMap<String, Vec<(Vec<u8>, i64)>> = HashMap::new();
    for (key, hash, until) in texts {
        of_key.entry(key).or_default().push((hash, until));
    }
    let now = sql(now_ms());
    let state = |(id, per_minute, expires): (String, _, _)| {
        let texts = of_key.remove(&id).unwrap_or_default();
        let id = id.parse().map_err(|_| StoreError::Damaged { what: "API key" })?;
        change::told(id, per_minute, expires, texts, now)
    };
    keys.into_iter().map(state).collect()
}

fn stored(hash: Vec<u8>) -> Result<ApiKeyHash, StoreError> {
    Ok(ApiKeyHash::new(bytes(hash)?))
}

fn bytes(hash: Vec<u8>) -> Result<[u8; 32], StoreError> {
    hash.try_into().map_err(|_| StoreError::Damaged { what: "API key" })
}
