//! What is said of a change: what it names, and what was true before and after.

use serde_json::{Value, json};
use wcdn_proto::{
    Purge,
    pb::edge::v1::{Origin, OriginPool},
};

use crate::{
    auth::{Key, KeyChange, Settings},
    change::{Asked, Recorded},
};

/// Ids that are named; of more there is the number, and the log has all of them.
const NAMED: usize = 3;

/// Origins that are named.
const MAX_ORIGINS: usize = 100;

/// What was true before a change.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// If the change is of one.
    pub(crate) key: Option<Key>,
    /// If the change is of the pool, and one was set.
    pub(crate) pool: Option<OriginPool>,
}

/// What a change is told as.
pub(crate) fn of(asked: &Asked, change: &Recorded, before: &Before) -> Value {
    let mut detail = match asked {
        Asked::Purge(purge) => purged(purge, false),
        Asked::ForcedPurge(purge) => purged(purge, true),
        Asked::Block { ids, reason } => {
            let mut detail = named(ids);
            detail["reason"] = json!(reason);
            detail
        }
        Asked::Pin { ids, note } => {
            let mut detail = named(ids);
            detail["note"] = json!(note);
            detail
        }
        Asked::Unblock(ids) => named(ids),
        Asked::Unpin(ids) => named(ids),
        Asked::Origins(pool) => json!({
            "before": before.pool.as_ref().map(origins),
            "after": origins(&OriginPool { revision: pool.revision + 1, ..pool.clone() }),
        }),
        Asked::Key(change) => key(change, before.key.as_ref()),
        Asked::Barrier => json!({}),
    };
    detail["change"] = json!(change.id);
    detail["position"] = json!(format!("{}:{}", change.last.epoch, change.last.seq));
    detail
}

fn purged(purge: &Purge, is_forced: bool) -> Value {
    let mut detail = match purge {
        Purge::Ids(ids) => named(ids),
        Purge::All => json!({"all": true}),
    };
    if is_forced {
        detail["force"] = json!(true);
    }
    detail
}

fn named<T: ToString>(ids: &[T]) -> Value {
    let some: Vec<String> = ids.iter().take(NAMED).map(ToString::to_string).collect();
    json!({"ids": ids.len(), "some": some})
}

fn origins(pool: &OriginPool) -> Value {
    let told = |origins: &[Origin]| -> Vec<Value> {
        let origin = |origin: &Origin| {
            let mut told = json!({"name": origin.name, "url": origin.url});
            for (flag, is_set) in [("trusted", origin.trusted), ("ejected", origin.ejected)] {
                if is_set {
                    told[flag] = json!(true);
                }
            }
            if !origin.reason.is_empty() {
                told["reason"] = json!(origin.reason);
            }
            told
        };
        origins.iter().take(MAX_ORIGINS).map(origin).collect()
    };
    json!({
        "revision": pool.revision,
        "origins": told(&pool.origins),
        "publishers": told(&pool.publishers),
    })
}

fn key(change: &KeyChange, before: Option<&Key>) -> Value {
    let earlier = before.map(|key| settings(&key.settings));
    match change {
        KeyChange::Create(new) => json!({"name": new.name, "after": settings(&new.settings)}),
        KeyChange::Update { settings: after, .. } => {
            json!({"before": earlier, "after": settings(after)})
        }
        KeyChange::Rotate { until_ms, .. } => json!({"previousUntilMs": until_ms}),
        KeyChange::Revoke { reason, .. } => json!({"before": earlier, "reason": reason}),
    }
}

fn settings(settings: &Settings) -> Value {
    let Settings { scopes, vaults, networks, per_minute, expires_at_ms } = settings;
    json!({
        "scopes": scopes.names(),
        "vaults": vaults,
        "networks": networks,
        "perMinute": per_minute,
        "expiresAtMs": expires_at_ms,
    })
}
