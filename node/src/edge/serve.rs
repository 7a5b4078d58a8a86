//! One request, through the gates in their order.
//!
//! What can be answered from memory or from the URL alone is answered without a future of its own
//! ([`Answer::Ready`]); only what must wait is boxed.

use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::Instrument as _;
use wcdn_proto::ContentId;

use super::{
    Edge,
    body::{Body, Content, End},
    clients::Payer,
    connection::Connection,
    discard::discard,
    error::{Code, ServeError},
    find, gates,
    guard::{Guard, is_confirmed, may_ask},
    path::{Family, Target},
    range,
    respond::{Found, Reply, respond},
    response::{self, CacheResult},
    streams::Stream,
    validator::{self, Match},
};
use crate::{
    access_log::Pending,
    cache::{Lookup, entry::Key},
    events::Log,
    quilt::{self, Indexed},
    traces,
};

/// A request, as far as the answer depends on it.
pub(super) struct Asked {
    pub(super) headers: HeaderMap,
    pub(super) is_head: bool,
    /// The range of the aggregator's byte-range route.
    pub(super) byte_range: Option<Range<u64>>,
    /// Whether the request has a body, which nothing here wants.
    has_body: bool,
    family: Family,
    id: HeaderValue,
    pub(super) began: Instant,
    pub(super) connection: Arc<Connection>,
    /// The client, where a proxy says that the request is another's.
    forwarded: Option<Payer>,
    /// The request, over HTTP/2.
    pub(super) stream: Option<Arc<Stream>>,
    log: Option<Box<Pending>>,
}

impl Asked {
    /// Who pays for what it makes the edge fetch.
    pub(super) fn payer(&self) -> &Payer {
        self.forwarded.as_ref().unwrap_or(&self.connection.payer)
    }
}

/// A response, now or later.
#[allow(clippy::large_enum_variant, reason = "a box would cost every hit an allocation")]
pub(super) enum Answer {
    /// Now.
    Ready(Option<Response<Body>>),
    /// Once bytes have come.
    Waiting(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response<Body>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("polled once after it was ready")))
            }
            Self::Waiting(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

/// Answers a request.
pub(super) fn serve(
    edge: &Arc<Edge>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Answer {
    let span = traces::request(&request, edge.labels.node());
    match span.in_scope(|| begin(edge, connection, request)) {
        Answer::Waiting(response) if !span.is_none() => {
            Answer::Waiting(Box::pin(response.instrument(span)))
        }
        answer => answer,
    }
}

fn begin(edge: &Arc<Edge>, connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
    let began = Instant::now();
    let (mut head, unread) = request.into_parts();
    let id = connection.ids.of(&head.headers);
    let (client, forwarded) = gates::client(edge, connection, &head.headers);
    let log = Pending::begin(&edge.access_log, client, &head, &id, began);
    let mut asked = Asked {
        is_head: head.method == Method::HEAD,
        headers: std::mem::take(&mut head.headers),
        byte_range: None,
        has_body: !unread.is_end_stream(),
        family: Family::of(head.uri.path()),
        id,
        began,
        connection: Arc::clone(connection),
        forwarded,
        stream: None,
        log,
    };
    let admitted = gates::admit(edge, &mut asked);
    // Who does too much is not given the time for it.
    let is_read = asked.has_body && admitted.is_ok();
    let passed = admitted.and_then(|()| gates::pass(&mut asked, &head));
    if is_read {
        let edge = Arc::clone(edge);
        return Answer::Waiting(Box::pin(async move {
            discard(unread).await;
            let result = match passed {
                Ok(target) => eventually(&edge, &asked, target).await,
                Err(refusal) => *refusal,
            };
            finish(&edge, asked, result)
        }));
    }
    let target = match passed {
        Ok(target) => target,
        Err(refusal) => return Answer::Ready(Some(finish(edge, asked, *refusal))),
    };
    match quickly(edge, &asked, &target) {
        Some(result) => Answer::Ready(Some(finish(edge, asked, result))),
        None => {
            let edge = Arc::clone(edge);
            Answer::Waiting(Box::pin(async move {
                let result = slowly(&edge, &asked, target).await;
                finish(&edge, asked, result)
            }))
        }
    }
}

async fn eventually(edge: &Edge, asked: &Asked, target: Target) -> Result<Reply, ServeError> {
    match quickly(edge, asked, &target) {
        Some(result) => result,
        None => slowly(edge, asked, target).await,
    }
}

/// What can be answered without waiting.
fn quickly(edge: &Edge, asked: &Asked, target: &Target) -> Option<Result<Reply, ServeError>> {
    if let Target::Status = target {
        return Some(Ok(status().into()));
    }
    if let Err(error) = is_confirmed(&edge.log).and_then(|()| may_be_asked_for(&edge.log, target)) {
        return Some(Err(error));
    }
    match target {
        Target::Status => None,
        Target::Blob(id) => known(edge, asked, &find::blob_key(*id), ContentId::Blob(*id)),
        Target::ByteRange(id) => held(edge, asked, &find::blob_key(*id), ContentId::Blob(*id)),
        Target::Patch(id) => known(edge, asked, &quilt::key(*id), ContentId::Patch(*id)),
        Target::QuiltFile { quilt, identifier } => match edge.quilts.known(*quilt, identifier)? {
            Ok(id) => match may_ask(&edge.log, &ContentId::Patch(id)) {
                Ok(()) => known(edge, asked, &quilt::key(id), ContentId::Patch(id)),
                Err(error) => Some(Err(error)),
            },
            Err(error) => Some(Err(error.into())),
        },
        Target::Object(_) | Target::QuiltPatches(_) => None,
    }
}

/// Whether what a target names is withheld, as far as it names it: of others it is known once they
/// are resolved.
fn may_be_asked_for(log: &Log, target: &Target) -> Result<(), ServeError> {
    match target {
        Target::Blob(id) | Target::ByteRange(id) | Target::QuiltPatches(id) => {
            may_ask(log, &ContentId::Blob(*id))
        }
        Target::QuiltFile { quilt, .. } => may_ask(log, &ContentId::Blob(*quilt)),
        Target::Patch(id) => may_ask(log, &ContentId::Patch(*id)),
        Target::Object(_) | Target::Status => Ok(()),
    }
}

/// A body whose validator is in the URL: a viewer who has it needs none, wherever it is. But what
/// is withheld or gone is so for every viewer (RFC 9110 §13.2.1), and `If-Match` comes first
/// (§13.2.2).
fn known(
    edge: &Edge,
    asked: &Asked,
    key: &Key,
    content: ContentId,
) -> Option<Result<Reply, ServeError>> {
    let found = edge.cache.lookup(key);
    let headers = &asked.headers;
    if headers.contains_key(header::IF_NONE_MATCH)
        && !headers.contains_key(header::IF_MATCH)
        && !matches!(found, Lookup::Refused(_))
    {
        let etag = validator::etag(&content);
        if validator::if_none_match(headers, Some(&etag)) == Match::Listed {
            return Some(Ok(unchanged(&found, etag).into()));
        }
    }
    answered(edge, asked, found, content)
}

fn held(
    edge: &Edge,
    asked: &Asked,
    key: &Key,
    content: ContentId,
) -> Option<Result<Reply, ServeError>> {
    answered(edge, asked, edge.cache.lookup(key), content)
}

fn answered(
    edge: &Edge,
    asked: &Asked,
    found: Lookup,
    content: ContentId,
) -> Option<Result<Reply, ServeError>> {
    match found {
        Lookup::Hit(entry) => Some(respond(edge, asked, Found::hit(content, entry))),
        Lookup::Refused(absence) => Some(Err(absence.into())),
        Lookup::Miss => None,
    }
}

/// A 304 from the URL alone. That the viewer's copy lasts is said only where a checked one is here.
fn unchanged(found: &Lookup, etag: HeaderValue) -> Response<Body> {
    let verified = match found {
        Lookup::Hit(entry) => entry.record().level.is_verified(),
        Lookup::Refused(_) | Lookup::Miss => false,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response::validators(response.headers_mut(), Some(etag), verified);
    response
}

/// What must be fetched first. It takes its time, in which the log may have become uncertain.
async fn slowly(edge: &Edge, asked: &Asked, target: Target) -> Result<Reply, ServeError> {
    let reply = fetched(edge, asked, target).await?;
    is_confirmed(&edge.log)?;
    Ok(reply)
}

async fn fetched(edge: &Edge, asked: &Asked, target: Target) -> Result<Reply, ServeError> {
    match target {
        Target::Blob(id) | Target::ByteRange(id) => {
            respond(edge, asked, find::blob(edge, asked, id).await?)
        }
        Target::Patch(id) => respond(edge, asked, find::patch(edge, asked, id).await?),
        Target::QuiltFile { quilt, identifier } => {
            let id = edge.quilts.resolve(quilt, &identifier, asked.payer(), edge.patience).await?;
            may_ask(&edge.log, &ContentId::Patch(id))?;
            respond(edge, asked, find::patch(edge, asked, id).await?)
        }
        Target::Object(object) => {
            let id = edge
                .objects
                .resolve(object, asked.payer(), edge.patience)
                .await
                .map_err(|error| ServeError::from(&*error))?;
            may_ask(&edge.log, &ContentId::Blob(id))?;
            let mut found = find::blob(edge, asked, id).await?;
            found.facts.name_is_immutable = false;
            respond(edge, asked, found)
        }
        Target::QuiltPatches(quilt) => {
            let list = edge.quilts.list(quilt, asked.payer(), edge.patience).await?;
            let guard = Guard::new(&edge.log, ContentId::Blob(quilt))?;
            Ok(Reply { guard: Some(guard), ..listing(&list).into() })
        }
        Target::Status => Ok(status().into()),
    }
}

fn status() -> Response<Body> {
    let mut response = Response::new(Body::bytes("OK"));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    // Without it a cache may answer for an edge that is gone, for as long as it likes.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn listing(indexed: &Arc<Indexed>) -> Response<Body> {
    let bytes = indexed.listing();
    let length = bytes.len() as u64;
    let held = Content::Held(bytes, Arc::clone(indexed) as _);
    let mut response = Response::new(Body::new(held, length));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response::validators(response.headers_mut(), None, false);
    response
}

/// Makes an error a response, adds what every response has, and notes that it began.
fn finish(edge: &Edge, asked: Asked, result: Result<Reply, ServeError>) -> Response<Body> {
    let Reply { mut response, source, result, guard } =
        result.unwrap_or_else(|error| failure(&asked, &error).into());
    let elapsed = asked.began.elapsed();
    let status = response.status();
    edge.metrics.responded(source, status, elapsed.as_secs_f64());
    traces::answered(status, source.as_str());
    response::timing(response.headers_mut(), elapsed, source);
    if asked.is_head && !response.headers().contains_key(header::CONTENT_LENGTH) {
        response = only_head(response);
    }
    if asked.has_body && asked.stream.is_none() {
        // What is left of the body is not read, so it must not be taken for the next request.
        // Over HTTP/2 it cannot be.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    edge.cors.allow(response.headers_mut(), &asked.headers);
    response::request_id(response.headers_mut(), asked.id);
    if let Some(hsts) = edge.hsts.as_ref().filter(|_| asked.connection.is_encrypted) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    let cache = result.map(CacheResult::as_str);
    let log = asked.log.map(|log| log.answered(status, cache, source.as_str()));
    let (connection, stream) = (asked.connection, asked.stream);
    let content = guard.as_ref().map(|guard| *guard.content());
    match (&stream, content) {
        (None, content) => *connection.sending.lock() = content,
        (Some(stream), Some(content)) => stream.sends(content),
        (Some(_), None) => {}
    }
    let metrics = Arc::clone(&edge.metrics);
    let end = End { metrics, connection, stream, guard, log, sent: 0 };
    response.map(|body| body.when_ended(end))
}

/// The head that a GET would get. A 304 has no length, whatever the method.
fn only_head(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if head.status != StatusCode::NOT_MODIFIED && head.status != StatusCode::NO_CONTENT {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.length()));
    }
    Response::from_parts(head, Body::empty())
}

fn failure(asked: &Asked, error: &ServeError) -> Response<Body> {
    let text = error.body(asked.family, asked.id.to_str().unwrap_or_default());
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    match error.code() {
        Code::MethodNotAllowed => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        }
        Code::RangeNotSatisfiable => {
            let length = error.length().unwrap_or_default();
            headers.insert(header::CONTENT_RANGE, range::unsatisfied(length));
        }
        _ => {}
    }
    let mut response = Response::new(Body::bytes(text));
    *response.status_mut() = error.code().status();
    *response.headers_mut() = headers;
    response
}
