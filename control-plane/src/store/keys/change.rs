//! What becomes of a key, in the transaction that tells of it.

use wcdn_proto::{KeyId, KeySecret, KeyState};

use super::bytes;
use crate::{
    auth::{Author, KeyChange, NewKey, Settings, Text},
    store::{StoreError, Tx, number, sql},
};

/// Texts of before that a key may have at once: each is another one that is good.
const MAX_PREVIOUS: i64 = 4;

/// Why a key cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRefused {
    /// There is one of this name, or was.
    NameTaken(String),
    /// There is none.
    Unknown(String),
    /// It was revoked.
    Revoked(String),
    /// It is another revision by now.
    Changed {
        /// The present one.
        revision: u64,
    },
    /// It has as many texts as it may have.
    Texts(String),
}

/// Makes a change of a key, or says why not. What nodes are to know of it then.
pub(crate) async fn change(
    tx: &mut Tx,
    change: &KeyChange,
    by: &Author,
    now: i64,
) -> Result<Result<KeyState, KeyRefused>, StoreError> {
    if let KeyChange::Create(new) = change {
        return match insert(tx, new, by, now).await? {
            true => Ok(Ok(state(tx, &new.id, now).await?)),
            false => Ok(Err(KeyRefused::NameTaken(new.name.clone()))),
        };
    }
    let id = change.id();
    let found: Option<(String, i64, i64)> =
        sqlx::query_as("SELECT name, revoked_at_ms, revision FROM api_keys WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut **tx)
            .await?;
    let (revision, refused) = match found {
        None => return Ok(Err(KeyRefused::Unknown(id.to_string()))),
        Some((name, revoked, _)) if revoked > 0 => return Ok(Err(KeyRefused::Revoked(name))),
        Some((name, _, revision)) => (number(revision), KeyRefused::Texts(name)),
    };
    match change {
        KeyChange::Create(_) => {}
        KeyChange::Update { revision: wanted, .. } if *wanted != 0 && *wanted != revision => {
            return Ok(Err(KeyRefused::Changed { revision }));
        }
        KeyChange::Update { settings, .. } => update(tx, id, settings).await?,
        KeyChange::Rotate { text, until_ms, .. } => {
            forget_texts(tx, id, now).await?;
            let previous: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM api_key_texts WHERE key = $1 AND until_ms > $2",
            )
            .bind(id.as_str())
            .bind(now)
            .fetch_one(&mut **tx)
            .await?;
            if previous >= MAX_PREVIOUS && sql(*until_ms) > now {
                return Ok(Err(refused));
            }
            rotate(tx, id, *text, sql(*until_ms), now).await?;
        }
        KeyChange::Revoke { .. } => revoke(tx, id, now).await?,
    }
    sqlx::query("UPDATE api_keys SET revision = revision + 1 WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(Ok(state(tx, id, now).await?))
}

pub(super) async fn insert(
    tx: &mut Tx,
    new: &NewKey,
    by: &Author,
    now: i64,
) -> Result<bool, StoreError> {
    let NewKey { id, name, text, settings } = new;
    let done = sqlx::query(
        "INSERT INTO api_keys (id, name, hash, edge_hash, created_at_ms, created_by, scopes, vaults, \
         networks, per_minute, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT DO NOTHING",
    )
    .bind(id.as_str())
    .bind(name)
    .bind(&text.hash.as_bytes()[..])
    .bind(&text.edge_hash.as_bytes()[..])
    .bind(now)
    .bind(&by.name)
    .bind(settings.scopes.to_string())
    .bind(settings.vaults.join("\n"))
    .bind(networks(settings))
    .bind(i64::from(settings.per_minute))
    .bind(sql(settings.expires_at_ms))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn update(tx: &mut Tx, id: &KeyId, settings: &Settings) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE api_keys SET scopes = $1, vaults = $2, networks = $3, per_minute = $4, \
         expires_at_ms = $5 WHERE id = $6",
    )
    .bind(settings.scopes.to_string())
    .bind(settings.vaults.join("\n"))
    .bind(networks(settings))
    .bind(i64::from(settings.per_minute))
    .bind(sql(settings.expires_at_ms))
    .bind(id.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The texts that are good end by then at the latest, the present one among them.
async fn rotate(
    tx: &mut Tx,
    id: &KeyId,
    text: Text,
    until: i64,
    now: i64,
) -> Result<(), StoreError> {
    retire(tx, id, until).await?;
    sqlx::query("UPDATE api_keys SET hash = $1, edge_hash = $2, rotated_at_ms = $3 WHERE id = $4")
        .bind(&text.hash.as_bytes()[..])
        .bind(&text.edge_hash.as_bytes()[..])
        .bind(now)
        .bind(id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn revoke(tx: &mut Tx, id: &KeyId, now: i64) -> Result<(), StoreError> {
    retire(tx, id, now).await?;
    // The hash of nothing: the version before does not look whether a key was revoked.
    sqlx::query(
        "UPDATE api_keys SET hash = $1, edge_hash = NULL, revoked_at_ms = $2 WHERE id = $3",
    )
    .bind(&rand::random::<[u8; 32]>()[..])
    .bind(now)
    .bind(id.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn retire(tx: &mut Tx, id: &KeyId, until: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_key_texts SET until_ms = $1 WHERE key = $2 AND until_ms > $1")
        .bind(until)
        .bind(id.as_str())
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO api_key_texts (hash, key, edge_hash, until_ms) \
         SELECT hash, id, edge_hash, $1 FROM api_keys WHERE id = $2",
    )
    .bind(until)
    .bind(id.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whoever shows a text that ended so long ago need not be told that it was one.
async fn forget_texts(tx: &mut Tx, id: &KeyId, now: i64) -> Result<(), StoreError> {
    const REMEMBERED_MS: i64 = 90 * 86_400 * 1_000;
    sqlx::query("DELETE FROM api_key_texts WHERE key = $1 AND until_ms < $2")
        .bind(id.as_str())
        .bind(now - REMEMBERED_MS)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What nodes know of a key. One whose text was never shown to this version is not known to them until
/// it is rotated.
pub(super) async fn state(tx: &mut Tx, id: &KeyId, now: i64) -> Result<KeyState, StoreError> {
    let (per_minute, expires, revoked): (i64, i64, i64) = sqlx::query_as(
        "SELECT per_minute, expires_at_ms, revoked_at_ms FROM api_keys WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_one(&mut **tx)
    .await?;
    let texts: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT edge_hash, -1 FROM api_keys WHERE id = $1 AND edge_hash IS NOT NULL UNION ALL \
         SELECT edge_hash, until_ms FROM api_key_texts WHERE key = $1 AND edge_hash IS NOT NULL",
    )
    .bind(id.as_str())
    .fetch_all(&mut **tx)
    .await?;
    let texts = if revoked == 0 { texts } else { Vec::new() };
    told(id.clone(), per_minute, expires, texts, now)
}

/// What nodes are told of a key, by its texts and until when each is good: -1 for the present one.
pub(super) fn told(
    id: KeyId,
    per_minute: i64,
    expires: i64,
    texts: Vec<(Vec<u8>, i64)>,
    now: i64,
) -> Result<KeyState, StoreError> {
    let secret = |(hash, until): (Vec<u8>, i64)| {
        let until = match (until, expires) {
            (..0, expires) => expires,
            (until, 0) => until,
            (until, expires) => until.min(expires),
        };
        Ok(KeySecret { hash: bytes(hash)?, until_ms: number(until) })
    };
    let good = texts.into_iter().filter(|(_, until)| *until < 0 || *until > now);
    let secrets: Result<Vec<_>, StoreError> = good.map(secret).collect();
    Ok(KeyState { id, secrets: secrets?, per_minute: u32::try_from(per_minute).unwrap_or(0) })
}

fn networks(settings: &Settings) -> String {
    settings.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
