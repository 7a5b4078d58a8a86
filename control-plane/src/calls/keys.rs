//! API keys: made, looked at, changed and ended.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use wcdn_proto::{Scopes, pb::admin::v1 as admin};

use super::{
    changes::{append, note_refused},
    parse, queries,
};
use crate::{
    api_key::ApiKey,
    auth::{Caller, Key, KeyChange, NewKey, Settings},
    change::Asked,
    desk::Desk,
    refusal::Refusal,
    store::now_ms,
};

/// Vaults and networks of one key.
const MAX_VAULTS: usize = 100;
const MAX_NETWORKS: usize = 100;

/// The most that a key may be given.
const MAX_PER_MINUTE: u32 = 10_000_000;

/// The longest that a text may be good beside its successor.
const MAX_GRACE: Duration = Duration::from_secs(90 * 86_400);

/// Longer and nobody wants it rotated.
const MAX_AHEAD: Duration = Duration::from_secs(366 * 86_400);

pub(crate) async fn create(
    desk: &Desk,
    caller: &Caller,
    request: admin::CreateKeyRequest,
) -> Result<admin::CreateKeyResponse, Refusal> {
    let name = parse::name(request.name)?;
    let settings = settings(request.settings)?;
    within(desk, caller, &settings)?;
    let made = ApiKey::generate();
    let id = made.id().parse().expect("a new key has an id");
    let text = desk.keys.text(made.expose());
    let new = NewKey { id, name: name.clone(), text, settings };
    let change = change(desk, caller, KeyChange::Create(new.into())).await?;
    let key = Some(named(desk, &name).await?.to_wire());
    Ok(admin::CreateKeyResponse { key, text: made.expose().to_owned(), change: Some(change) })
}

pub(crate) async fn list(
    desk: &Desk,
    _: &Caller,
    request: admin::ListKeysRequest,
) -> Result<admin::ListKeysResponse, Refusal> {
    let (after, size) = queries::page(request.page_size, &request.page_token)?;
    let after = String::from_utf8(after);
    let after = after.map_err(|_| Refusal::invalid("page_token", "is none of this list"))?;
    let ended_ms = if request.ended { 0 } else { now_ms() };
    let mut keys = desk.store.list_keys(&after, ended_ms, size + 1).await?;
    let has_more = keys.len() > size as usize;
    keys.truncate(size as usize);
    let last = keys.last().filter(|_| has_more);
    let next = last.map(|last| queries::page_token(last.id.as_str().as_bytes()));
    let keys = keys.into_iter().map(|key| told(desk, key)).collect();
    Ok(admin::ListKeysResponse { keys, next_page_token: next.unwrap_or_default() })
}

pub(crate) async fn get(
    desk: &Desk,
    _: &Caller,
    request: admin::GetKeyRequest,
) -> Result<admin::GetKeyResponse, Refusal> {
    let key = named(desk, &request.key).await?;
    Ok(admin::GetKeyResponse { key: Some(told(desk, key)) })
}

pub(crate) async fn update(
    desk: &Desk,
    caller: &Caller,
    request: admin::UpdateKeyRequest,
) -> Result<admin::UpdateKeyResponse, Refusal> {
    let settings = settings(request.settings)?;
    within(desk, caller, &settings)?;
    let key = named(desk, &request.key).await?;
    within(desk, caller, &key.settings)?;
    let revision = request.revision;
    let update = KeyChange::Update { id: key.id.clone(), revision, settings };
    let change = change(desk, caller, update).await?;
    let key = told(desk, named(desk, key.id.as_str()).await?);
    Ok(admin::UpdateKeyResponse { key: Some(key), change: Some(change) })
}

pub(crate) async fn rotate(
    desk: &Desk,
    caller: &Caller,
    request: admin::RotateKeyRequest,
) -> Result<admin::RotateKeyResponse, Refusal> {
    let key = named(desk, &request.key).await?;
    within(desk, caller, &key.settings)?;
    let until_ms = end_of_grace(desk, &request)?;
    let made = ApiKey::renew(&key.id);
    let text = desk.keys.text(made.expose());
    let rotate = KeyChange::Rotate { id: key.id.clone(), text, until_ms };
    let change = change(desk, caller, rotate).await?;
    let key = Some(told(desk, named(desk, key.id.as_str()).await?));
    Ok(admin::RotateKeyResponse { key, text: made.expose().to_owned(), change: Some(change) })
}

pub(crate) async fn revoke(
    desk: &Desk,
    caller: &Caller,
    request: admin::RevokeKeyRequest,
) -> Result<admin::RevokeKeyResponse, Refusal> {
    let reason = parse::text("reason", request.reason)?;
    let key = named(desk, &request.key).await?;
    // Whoever may change keys may end any: that gives nobody more.
    let change = change(desk, caller, KeyChange::Revoke { id: key.id.clone(), reason }).await?;
    let key = told(desk, named(desk, key.id.as_str()).await?);
    Ok(admin::RevokeKeyResponse { key: Some(key), change: Some(change) })
}

pub(crate) fn caller(
    desk: &Desk,
    caller: &Caller,
    _: admin::GetCallerRequest,
) -> Result<admin::GetCallerResponse, Refusal> {
    let address = caller.address.map(|address| address.to_string()).unwrap_or_default();
    let key = Some(told(desk, Key::clone(&caller.key)));
    Ok(admin::GetCallerResponse { key, address })
}

async fn change(desk: &Desk, caller: &Caller, change: KeyChange) -> Result<admin::Change, Refusal> {
    append(desk, Asked::Key(change), caller, None).await
}

async fn named(desk: &Desk, id_or_name: &str) -> Result<Key, Refusal> {
    let unknown = || Refusal::NoKey { key: id_or_name.chars().take(100).collect() };
    desk.store.in_time(desk.store.key(id_or_name)).await?.ok_or_else(unknown)
}

/// With its last use, if that is not written down yet.
fn told(desk: &Desk, key: Key) -> admin::ApiKey {
    let last = desk.keys.uses.last(&key.id);
    let mut told = key.to_wire();
    if let Some(last) = last.filter(|last| last.at_ms > told.used_at_ms) {
        told.used_at_ms = last.at_ms;
        told.used_from = last.address.map(|it| it.to_string()).unwrap_or_default();
    }
    told
}

/// Nobody gives more than they have, or takes over a key that may do more.
fn within(desk: &Desk, caller: &Caller, settings: &Settings) -> Result<(), Refusal> {
    let own = &caller.key.settings;
    let beyond = |what: &str| {
        let refusal = Refusal::BeyondCaller { what: what.to_owned() };
        note_refused(desk, "key.change", caller.author(), &refusal);
        Err(refusal)
    };
    if let Some(scope) = own.scopes.lacks(settings.scopes) {
        return beyond(&format!("the scope {scope}"));
    }
    let is_within = |network| own.networks.iter().any(|own| own.contains(network));
    let everywhere = settings.networks.is_empty() || !settings.networks.iter().all(is_within);
    if !own.networks.is_empty() && everywhere {
        return beyond("a network outside of its own");
    }
    let outlasts = settings.expires_at_ms == 0 || settings.expires_at_ms > own.expires_at_ms;
    if own.expires_at_ms > 0 && outlasts {
        return beyond("a time after its own end");
    }
    Ok(())
}

/// Until when the text before a rotation is good.
fn end_of_grace(desk: &Desk, request: &admin::RotateKeyRequest) -> Result<u64, Refusal> {
    let grace = request.grace_ms.map_or(desk.key_grace, Duration::from_millis);
    let now_ms = now_ms();
    if grace > MAX_GRACE {
        let most = MAX_GRACE.as_millis();
        let problem = format!("is {}; the most is {most}, 90 days", grace.as_millis());
        return Err(Refusal::invalid("grace_ms", problem));
    }
    let from = if request.at_ms == 0 { now_ms } else { request.at_ms };
    let latest = now_ms.saturating_add(millis(MAX_AHEAD));
    if from < now_ms.saturating_sub(60_000) || from > latest {
        let problem = format!("is {from}; give a time from now ({now_ms}) to a year ahead");
        return Err(Refusal::invalid("at_ms", problem));
    }
    Ok(from.saturating_add(millis(grace)))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a key may do, of a request.
fn settings(given: Option<admin::KeySettings>) -> Result<Settings, Refusal> {
    let given = given.ok_or_else(|| Refusal::invalid("settings", "is missing"))?;
    let mut scopes = Scopes::NONE;
    for (n, name) in given.scopes.iter().enumerate() {
        let wrong = |error| Refusal::invalid(format!("scopes[{n}]"), format!("{error}"));
        scopes.add(name).map_err(wrong)?;
    }
    if scopes.is_empty() {
        let problem = "is empty: name at least one scope, such as cache:purge, or * for all";
        return Err(Refusal::invalid("scopes", problem));
    }
    if given.per_minute > MAX_PER_MINUTE {
        let problem = format!("is {}; the most is {MAX_PER_MINUTE}", given.per_minute);
        return Err(Refusal::invalid("per_minute", problem));
    }
    if given.expires_at_ms > 0 && given.expires_at_ms <= now_ms() {
        let problem = format!("is {}, which is past", given.expires_at_ms);
        return Err(Refusal::invalid("expires_at_ms", problem));
    }
    Ok(Settings {
        scopes,
        vaults: vaults(given.vaults)?,
        networks: networks(&given.networks)?,
        per_minute: given.per_minute,
        expires_at_ms: given.expires_at_ms,
    })
}

fn vaults(names: Vec<String>) -> Result<Vec<String>, Refusal> {
    at_most("vaults", names.len(), MAX_VAULTS)?;
    let mut vaults = BTreeSet::new();
    for (n, name) in names.into_iter().enumerate() {
        let field = format!("vaults[{n}]");
        let name = parse::text(&field, name)?;
        if name.is_empty() {
            return Err(Refusal::invalid(field, "is empty: name a vault"));
        }
        vaults.insert(name);
    }
    Ok(vaults.into_iter().collect())
}

/// An address alone stands for itself.
fn networks(texts: &[String]) -> Result<Vec<IpNet>, Refusal> {
    at_most("networks", texts.len(), MAX_NETWORKS)?;
    let network = |(n, text): (usize, &String)| {
        let shown: String = text.chars().take(60).collect();
        let problem = format!("is {shown:?}; write 10.0.0.0/8, 2001:db8::/32 or one address");
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = parsed.map_err(|_| Refusal::invalid(format!("networks[{n}]"), problem))?;
        Ok(network.trunc())
    };
    texts.iter().enumerate().map(network).collect()
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count <= most {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("has {count} entries; the most is {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(given: admin::KeySettings) -> String {
        let Err(Refusal::Invalid { violations }) = settings(Some(given)) else {
            panic!("accepted")
        };
        format!("{} {}", violations[0].field, violations[0].problem)
    }

    fn given() -> admin::KeySettings {
        let scopes = vec!["cache:purge".to_owned()];
        admin::KeySettings { scopes, ..admin::KeySettings::default() }
    }

    #[test]
    fn settings_that_make_no_sense_are_told_with_the_field_and_the_remedy() {
        let none = admin::KeySettings { scopes: vec![], ..given() };
        assert!(wrong(none).starts_with("scopes is empty"));
        let scopes = vec!["cache:read".to_owned(), "cache:eat".to_owned()];
        let unknown = wrong(admin::KeySettings { scopes, ..given() });
        assert!(unknown.starts_with("scopes[1] is \"cache:eat\""), "{unknown}");
        let networks = vec!["10.0.0.0/33".to_owned()];
        let network = wrong(admin::KeySettings { networks, ..given() });
        assert!(network.starts_with("networks[0] is \"10.0.0.0/33\""), "{network}");
        let past = wrong(admin::KeySettings { expires_at_ms: 1, ..given() });
        assert!(past.contains("which is past"), "{past}");
    }

    #[test]
    fn networks_are_kept_as_networks() {
        let networks = ["10.1.2.3/8", "192.0.2.7", "2001:db8::1/32"].map(str::to_owned).to_vec();
        let settings = settings(Some(admin::KeySettings { networks, ..given() })).unwrap();
        let told: Vec<_> = settings.networks.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    }
}
