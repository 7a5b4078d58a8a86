//! Whether a call goes on: the same question at every door.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use serde_json::json;
use tokio::time::Instant;

use super::{Author, Caller, Key, Operation, Presented};
use crate::{
    api_key,
    audit::{Class, Draft, Outcome},
    base32,
    desk::Desk,
    limits::Decision,
    refusal::Refusal,
    store::now_ms,
};

/// Characters of a caller's own name for a call that are taken over.
const MAX_REQUEST_ID: usize = 64;

/// Who calls, if they may ask for this.
///
/// # Errors
/// Why not, as the caller is told.
pub(crate) async fn admit(
    desk: &Desk,
    headers: &HeaderMap,
    address: Option<IpAddr>,
    operation: Operation,
) -> Result<Caller, Refusal> {
    let mut author = Author {
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        request_id: request_id(headers),
        ..Author::default()
    };
    let admitted = match recognise(desk, headers, address, &mut author).await {
        Ok(key) => {
            let request_id = author.request_id.clone();
            let budget = desk.limiter.key(&key.id, key.settings.per_minute).await;
            let caller = Caller { key, address, request_id, budget, deadline: None };
            within_budget(caller.budget.as_ref())
                .and_then(|()| caller.may(operation))
                .map(|()| caller)
        }
        Err(refusal) => Err(refusal),
    };
    let (action, outcome, target) = match &admitted {
        Ok(_) => ("key.used", Outcome::Done, String::new()),
        Err(refusal) => ("key.refused", Outcome::Refused, refusal.reason().to_owned()),
    };
    let detail = match &admitted {
        Ok(_) => json!({}),
        Err(_) => json!({"asked": operation.name()}),
    };
    let draft = Draft::done(Class::Authentication, action, author);
    desk.audit.note_often(Draft { outcome, target, detail, ..draft }, Instant::now());
    admitted
}

/// Whose key it is, if it is good here and now; `author` is told as far as that is known.
async fn recognise(
    desk: &Desk,
    headers: &HeaderMap,
    address: Option<IpAddr>,
    author: &mut Author,
) -> Result<Arc<Key>, Refusal> {
    let Some(shown) = shown(headers) else {
        return Err(anonymous(desk, address).await.err().unwrap_or(Refusal::KeyMissing));
    };
    if api_key::is_damaged(shown) {
        return Err(anonymous(desk, address).await.err().unwrap_or(Refusal::KeyDamaged));
    }
    let changes = desk.log.key_changes();
    let turn = || desk.limiter.may_try(address).map_err(|wait| Refusal::TooManyFailures { wait });
    let Some(presented) = desk.keys.find(&desk.store, changes, shown, turn).await? else {
        desk.limiter.failed(address);
        return Err(Refusal::KeyUnknown);
    };
    author.key_id = presented.key.id.to_string();
    author.name.clone_from(&presented.key.name);
    let now_ms = now_ms();
    is_good(&presented, address, now_ms)?;
    let key = Arc::clone(&presented.key);
    desk.keys.uses.note(&key.id, &key.name, address, now_ms);
    Ok(key)
}

/// Takes a request of somebody without a key.
///
/// # Errors
/// [`Refusal::RateLimited`].
pub(crate) async fn anonymous(
    desk: &Desk,
    address: Option<IpAddr>,
) -> Result<Option<Decision>, Refusal> {
    let budget = desk.limiter.anonymous(address).await;
    within_budget(budget.as_ref()).map(|()| budget)
}

/// # Errors
/// [`Refusal::RateLimited`].
pub(crate) fn within_budget(budget: Option<&Decision>) -> Result<(), Refusal> {
    match budget.filter(|budget| budget.wait.is_some()) {
        Some(budget) => Err(Refusal::RateLimited { budget: budget.clone().into() }),
        None => Ok(()),
    }
}

/// # Errors
/// What has ended, or that it is not good from there.
fn is_good(presented: &Presented, address: Option<IpAddr>, now_ms: u64) -> Result<(), Refusal> {
    let Presented { key, until_ms, .. } = presented;
    let name = || key.name.clone();
    if key.revoked_at_ms > 0 {
        return Err(Refusal::KeyRevoked { key: name() });
    }
    if key.settings.expires_at_ms > 0 && key.settings.expires_at_ms <= now_ms {
        return Err(Refusal::KeyExpired { key: name() });
    }
    if until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
        return Err(Refusal::KeyRotated { key: name() });
    }
    if !key.settings.admits(address) {
        return Err(Refusal::AddressRefused { key: name(), address });
    }
    Ok(())
}

/// The key that a call shows.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    own.or_else(|| bearer(headers)).filter(|key| !key.is_empty() && key.len() <= api_key::MOST)
}

/// What stands behind "Bearer".
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

/// The caller's own name for a call, if it is harmless, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let is_harmless = |id: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(is_plain)
    };
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    match given.filter(is_harmless) {
        Some(given) => given.to_owned(),
        None => base32::encode(&rand::random::<[u8; 15]>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_in_either_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(shown(&headers), None);
        headers.insert("authorization", "bearer  abc ".parse().unwrap());
        assert_eq!(shown(&headers), Some("abc"));
        headers.insert("x-api-key", "own".parse().unwrap());
        assert_eq!(shown(&headers), Some("own"));
    }

    #[test]
    fn a_name_for_a_call_is_taken_over_if_it_is_harmless() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "a-b.c_9".parse().unwrap());
        assert_eq!(request_id(&headers), "a-b.c_9");
        headers.insert("x-request-id", "a b".parse().unwrap());
        assert_eq!(request_id(&headers).len(), 24);
    }
}
