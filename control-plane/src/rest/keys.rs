//! API keys.

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{ETAG, LOCATION},
};
use serde::Deserialize;
use utoipa::IntoParams;
use wcdn_proto::{Span, pb::admin::v1 as admin};

use super::{
    HOME,
    error::Problem,
    lists::changed,
    model::{
        Page,
        change::Changed,
        key::{Key, KeyPatch, MadeKey, Me, NewKey, Rotation, moment},
    },
    read::{self, Limit},
    visit::Door,
};
use crate::{auth::Operation, calls::keys, refusal::Refusal};

/// Which keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeysQuery {
    /// `next` of the page before.
    #[serde(default)]
    #[param(required = false)]
    cursor: String,
    /// Items of a page: 100 if it is left out, 1,000 at most.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    limit: Limit,
    /// Also those that are revoked or have expired.
    #[serde(default)]
    #[param(required = false)]
    ended: bool,
}

/// Every key
#[utoipa::path(get, path = "/keys", tag = "keys", operation_id = "listKeys", params(KeysQuery),
    responses((status = 200, body = Page<Key>)))]
pub(super) async fn list(door: Door) -> Result<Json<Page<Key>>, Problem> {
    let caller = door.admit(Operation::ListKeys).await?;
    let KeysQuery { cursor, limit, ended } = read::query(&door.head.uri)?;
    let request = admin::ListKeysRequest { page_size: limit.0, page_token: cursor, ended };
    let list = keys::list(&door.desk, &caller, request).await?;
    Ok(Json(Page::new(list.keys, list.next_page_token)))
}

/// Make a key
///
/// Its text is in the answer, and nowhere else.
#[utoipa::path(post, path = "/keys", tag = "keys", operation_id = "createKey",
    request_body = NewKey,
    responses((status = 201, body = MadeKey, headers(("location" = String), ("etag" = String)))))]
pub(super) async fn create(door: Door, body: Body) -> Result<Response, Problem> {
    let caller = door.admit(Operation::CreateKey).await?;
    let asked: NewKey = read::json(&door.head.headers, body, read::BODY).await?;
    let name = asked.name.clone();
    let settings = Some(asked.settings()?);
    let request = admin::CreateKeyRequest { name, settings };
    let made = keys::create(&door.desk, &caller, request).await?;
    let about = made.key.map(Key::from);
    let id = about.as_ref().map(|key| key.id().to_owned()).unwrap_or_default();
    let location = format!("{HOME}/keys/{id}");
    let tag = read::tag(about.as_ref().map_or(0, |key| key.revision));
    let told = MadeKey { id, key: made.text, about };
    Ok((StatusCode::CREATED, [(LOCATION, location), (ETAG, tag)], Json(told)).into_response())
}

/// One key
#[utoipa::path(get, path = "/keys/{id}", tag = "keys", operation_id = "getKey",
    params(("id" = String, Path, description = "its id or its name")),
    responses((status = 200, body = Key, headers(("etag" = String)))))]
pub(super) async fn get(door: Door, Path(key): Path<String>) -> Result<Response, Problem> {
    let caller = door.admit(Operation::GetKey).await?;
    let told = keys::get(&door.desk, &caller, admin::GetKeyRequest { key }).await?;
    Ok(tagged(told.key.unwrap_or_default()))
}

/// Change what a key may do
///
/// Fields that are left out stay as they are (RFC 7396).
#[utoipa::path(patch, path = "/keys/{id}", tag = "keys", operation_id = "updateKey",
    params(("id" = String, Path, description = "its id or its name"),
        ("If-Match" = String, Header, description = "the ETag of what is changed, or *")),
    request_body = KeyPatch,
    responses((status = 200, body = Key, headers(("etag" = String)))))]
pub(super) async fn update(
    door: Door,
    Path(key): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let caller = door.admit(Operation::UpdateKey).await?;
    let given = read::if_match(&door.head.headers)?;
    let patch: KeyPatch = read::json(&door.head.headers, body, read::BODY).await?;
    let request = admin::GetKeyRequest { key: key.clone() };
    let before = keys::get(&door.desk, &caller, request).await?.key.unwrap_or_default();
    let settings = Some(patch.settings(before.settings.unwrap_or_default())?);
    // Of what was read here: nothing that came between is overwritten.
    let revision = given.unwrap_or(before.revision);
    let request = admin::UpdateKeyRequest { key, revision, settings };
    let told = keys::update(&door.desk, &caller, request).await?;
    Ok(tagged(told.key.unwrap_or_default()))
}

/// End a key, everywhere and for good
#[utoipa::path(delete, path = "/keys/{id}", tag = "keys", operation_id = "revokeKey",
    params(("id" = String, Path, description = "its id or its name"), Reason),
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn revoke(door: Door, Path(key): Path<String>) -> Result<Response, Problem> {
    let caller = door.admit(Operation::RevokeKey).await?;
    let Reason { reason } = read::query(&door.head.uri)?;
    let request = admin::RevokeKeyRequest { key, reason };
    let told = keys::revoke(&door.desk, &caller, request).await?;
    Ok(changed(told.change))
}

/// Why a key is ended.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Reason {
    /// For people who read the audit log.
    #[serde(default)]
    #[param(required = false)]
    reason: String,
}

/// Give a key another text
///
/// The one before is good for some time more. The new one is in the answer, and nowhere else.
#[utoipa::path(post, path = "/keys/{id}/rotate", tag = "keys", operation_id = "rotateKey",
    params(("id" = String, Path, description = "its id or its name")),
    request_body(content = Option<Rotation>),
    responses((status = 200, body = MadeKey, headers(("etag" = String)))))]
pub(super) async fn rotate(
    door: Door,
    Path(key): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let caller = door.admit(Operation::RotateKey).await?;
    let Rotation { grace, at } = read::json_or_nothing(&door.head.headers, body).await?;
    let grace_ms = grace.map(|text| span("grace", &text)).transpose()?;
    let request = admin::RotateKeyRequest { key, grace_ms, at_ms: moment("at", at)? };
    let made = keys::rotate(&door.desk, &caller, request).await?;
    let about = made.key.map(Key::from);
    let id = about.as_ref().map(|key| key.id().to_owned()).unwrap_or_default();
    let tag = read::tag(about.as_ref().map_or(0, |key| key.revision));
    Ok(([(ETAG, tag)], Json(MadeKey { id, key: made.text, about })).into_response())
}

/// The key that this request carries
#[utoipa::path(get, path = "/me", tag = "keys", operation_id = "getCaller",
    responses((status = 200, body = Me)))]
pub(super) async fn me(door: Door) -> Result<Json<Me>, Problem> {
    let caller = door.admit(Operation::GetCaller).await?;
    let told = keys::caller(&door.desk, &caller, admin::GetCallerRequest {})?;
    let address = Some(told.address).filter(|address| !address.is_empty());
    Ok(Json(Me { key: told.key.map(Key::from), address }))
}

fn tagged(key: admin::ApiKey) -> Response {
    let key = Key::from(key);
    ([(ETAG, read::tag(key.revision))], Json(key)).into_response()
}

/// A length of time, in milliseconds.
fn span(field: &str, text: &str) -> Result<u64, Problem> {
    let shown: String = text.chars().take(40).collect();
    let wrong =
        |_| Refusal::invalid(field, format!("is {shown:?}; write a time such as 24h or 0s"));
    let span = text.parse::<Span>().map_err(wrong)?;
    Ok(u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX))
}
