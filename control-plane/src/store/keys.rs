//! API keys: what they are, never the keys themselves.

use super::{Store, StoreError, Tx, now_ms, sql};
use crate::api_key::{ApiKey, ApiKeyHash, Pepper};

const PEPPER: &str = "api keys";

/// A key as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    /// For people.
    pub(crate) name: String,
    /// To know it again.
    pub(crate) hash: ApiKeyHash,
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

    /// The key with this hash.
    pub(crate) async fn api_key(&self, hash: &ApiKeyHash) -> Result<Option<StoredKey>, StoreError> {
        let row: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT name, hash FROM api_keys WHERE hash = $1")
                .bind(hash.as_bytes())
                .fetch_optional(&self.readers)
                .await?;
        let key = |(name, hash): (String, Vec<u8>)| {
            let hash = hash.try_into().map_err(|_| StoreError::Damaged { what: "API key" })?;
            Ok(StoredKey { name, hash: ApiKeyHash::new(hash) })
        };
        row.map(key).transpose()
    }

    /// Whether there is any key.
    pub(crate) async fn has_keys(&self) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM api_keys").fetch_one(&self.readers).await?;
        Ok(count > 0)
    }

    /// Adds a key, unless it or its name is there already. Says whether it was added.
    pub(crate) async fn add_key(&self, name: &str, key: &ApiKey) -> Result<bool, StoreError> {
        let hash = self.pepper().await?.hash(key.expose());
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO api_keys (id, name, hash, created_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(key.id())
        .bind(name)
        .bind(hash.as_bytes())
        .bind(sql(now_ms()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}
