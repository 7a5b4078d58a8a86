//! What an aggregator answers.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use wcdn_walrus::{
    BlobId, ObjectId, QuiltPatchId,
    quilt::{self, QuiltIndex, Tags},
};

use super::{
    Daemon,
    answer::{Aip, internal, invalid_byte_range, json_response},
    range,
};

pub(super) fn routes() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/v1/blobs/{blob_id}", get(blob))
        .route("/v1/blobs/{blob_id}/byte-range", get(byte_range))
        .route("/v1/blobs/by-object-id/{object_id}", get(by_object))
        .route("/v1/blobs/by-quilt-patch-id/{quilt_patch_id}", get(by_patch))
        .route("/v1/blobs/by-quilt-id/{quilt_id}/{identifier}", get(by_name))
        .route("/v1/quilts/{quilt_id}/patches", get(patches))
}

/// A path parameter that parses as an id, with the daemon's words if it does not.
#[derive(Debug, Clone, Copy)]
struct Id<T>(T);

/// What a malformed id is called.
trait Named: std::str::FromStr {
    const NAME: &'static str;
}

impl Named for BlobId {
    const NAME: &'static str = "a blob ID";
}

impl Named for ObjectId {
    const NAME: &'static str = "an object ID";
}

impl Named for QuiltPatchId {
    const NAME: &'static str = "a quilt patch ID";
}

struct IdVisitor<T>(std::marker::PhantomData<T>);

/// The framework names parameter and value only for errors that come from within a visitor.
impl<T: Named> serde::de::Visitor<'_> for IdVisitor<T> {
    type Value = Id<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::NAME)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Id).map_err(|_| E::custom(format_args!("failed to parse {}", T::NAME)))
    }
}

impl<'de, T: Named> Deserialize<'de> for Id<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(IdVisitor(std::marker::PhantomData))
    }
}

/// The only parameters there are; any other is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checks {
    #[serde(default)]
    strict_consistency_check: bool,
    #[serde(default)]
    skip_consistency_check: bool,
}

impl Checks {
    fn agree(&self) -> Result<(), Aip> {
        match (self.strict_consistency_check, self.skip_consistency_check) {
            (true, true) => Err(Aip::INVALID_CHECK),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    start: u64,
    length: u64,
}

async fn blob(
    State(daemon): State<Arc<Daemon>>,
    Path(Id(id)): Path<Id<BlobId>>,
    Query(checks): Query<Checks>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match checks.agree().and_then(|()| daemon.read(&id)) {
        Ok(bytes) => read(&id, &bytes, &method, &headers),
        Err(refusal) => refusal.into_response(),
    }
}

async fn by_object(
    State(daemon): State<Arc<Daemon>>,
    Path(Id(object)): Path<Id<ObjectId>>,
    Query(checks): Query<Checks>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let id = daemon.store.of_object(&object);
    let found = checks.agree().and_then(|()| {
        let id = id.ok_or(Aip::BLOB_NOT_FOUND)?;
        Ok((id, daemon.read(&id)?))
    });
    match found {
        Ok((id, bytes)) => read(&id, &bytes, &method, &headers),
        Err(refusal) => refusal.into_response(),
    }
}

fn read(id: &BlobId, bytes: &Bytes, method: &Method, headers: &HeaderMap) -> Response {
    let range = match range::of(headers, bytes.len()) {
        Ok(range) => range,
        Err(refusal) => return *refusal,
    };
    let part = range.clone().map_or_else(|| bytes.clone(), |range| bytes.slice(range));
    let mut response = success(part, &id.to_string(), method, headers, None);
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
        insert(&mut response, header::CONTENT_RANGE, &value);
    }
    response
}

async fn byte_range(
    State(daemon): State<Arc<Daemon>>,
    Path(Id(id)): Path<Id<BlobId>>,
    Query(Window { start, length }): Query<Window>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let bytes = match daemon.read(&id) {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal.into_response(),
    };
    let end = start.checked_add(length).filter(|end| *end <= bytes.len() as u64 && length > 0);
    let window = end.and_then(|end| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
    match window {
        Some(window) => {
            let etag = format!("{id}-{start}-{length}");
            success(bytes.slice(window), &etag, &method, &headers, None)
        }
        None => invalid_byte_range(&format!(
            "requested {length} bytes from {start}, blob size is {}",
            bytes.len()
        )),
    }
}

async fn by_patch(
    State(daemon): State<Arc<Daemon>>,
    Path(Id(id)): Path<Id<QuiltPatchId>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match daemon.read(&id.quilt()) {
        Ok(quilt) => patch(&daemon, &id, quilt, &method, &headers),
        Err(refusal) => refusal.into_response(),
    }
}

async fn by_name(
    State(daemon): State<Arc<Daemon>>,
    Path((Id(quilt_id), identifier)): Path<(Id<BlobId>, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let quilt = match daemon.read(&quilt_id) {
        Ok(quilt) => quilt,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(index) = QuiltIndex::read(daemon.store.encoding(), std::slice::from_ref(&quilt)) else {
        return internal();
    };
    match index.find(&identifier) {
        Some(found) => patch(&daemon, &found.id(quilt_id), quilt, &method, &headers),
        None => Aip::PATCH_NOT_FOUND.into_response(),
    }
}

fn patch(
    daemon: &Daemon,
    id: &QuiltPatchId,
    quilt: Bytes,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let encoding = daemon.store.encoding();
    match quilt::read_patch(encoding, &[quilt], id.start(), id.end()) {
        Ok(patch) => {
            let etag = id.quilt().to_string();
            let mut response = success(patch.data, &etag, method, headers, Some(&patch.tags));
            insert(&mut response, X_QUILT_PATCH_IDENTIFIER, &patch.identifier);
            response
        }
        Err(_) => internal(),
    }
}

async fn patches(
    State(daemon): State<Arc<Daemon>>,
    Path(Id(quilt_id)): Path<Id<BlobId>>,
) -> Response {
    let quilt = match daemon.read(&quilt_id) {
        Ok(quilt) => quilt,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(index) = QuiltIndex::read(daemon.store.encoding(), &[quilt]) else {
        return internal();
    };
    let list = index.patches().iter().map(|patch| {
        let id = patch.id(quilt_id).to_string();
        serde_json::json!({"identifier": patch.identifier, "patch_id": id, "tags": patch.tags})
    });
    json_response(StatusCode::OK, &list.collect())
}

const X_QUILT_PATCH_IDENTIFIER: HeaderName = HeaderName::from_static("x-quilt-patch-identifier");

/// Tags and attributes that become headers.
const ALLOWED_TAGS: [&str; 7] = [
    "content-type",
    "authorization",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "link",
];

fn success(
    body: Bytes,
    etag: &str,
    method: &Method,
    asked: &HeaderMap,
    tags: Option<&Tags>,
) -> Response {
    let mut response = Response::new(Body::from(body));
    insert(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let caching = "public, max-age=86400, stale-while-revalidate=3600";
    insert(&mut response, header::CACHE_CONTROL, caching);
    insert(&mut response, header::ETAG, etag);
    // What the viewer accepts is what it gets, unless it has an asterisk; else what it sends.
    let accepted = asked.get(header::ACCEPT).filter(|value| !value.as_bytes().contains(&b'*'));
    let sent = asked.get(header::CONTENT_TYPE).filter(|_| method == Method::GET);
    if let Some(echo) = accepted.or(sent) {
        response.headers_mut().insert(header::CONTENT_TYPE, echo.clone());
    }
    let allowed = tags.into_iter().flatten().filter_map(|(name, value)| {
        let name = name.to_lowercase();
        ALLOWED_TAGS.contains(&name.as_str()).then(|| (name.parse().ok(), value))
    });
    for (name, value) in allowed {
        if let Some(name) = name.filter(|name| !response.headers().contains_key(name)) {
            insert(&mut response, name, value);
        }
    }
    response
}

/// Adds a header; a value that is none is left out, as the real daemons do.
fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

impl Daemon {
    /// A blob, if this aggregator serves it.
    fn read(&self, id: &BlobId) -> Result<Bytes, Aip> {
        let bytes = self.store.get(id).ok_or(Aip::BLOB_NOT_FOUND)?;
        let most = self.faults.lock().max_body.unwrap_or(usize::MAX);
        if bytes.len() > most { Err(Aip::TOO_LARGE) } else { Ok(bytes) }
    }
}
