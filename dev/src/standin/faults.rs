//! How a daemon can be made to misbehave, and what it was asked.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, task::Poll, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State, rejection::JsonRejection},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use wcdn_walrus::{BlobId, QuiltPatchId};

use super::{
    Daemon,
    answer::{Aip, internal, too_many},
    socket::{Cut, Ending},
};

/// The faults of one daemon; all of them together, if several are set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Wait so long before the head.
    pub latency_ms: u64,
    /// The share of requests that wait; all of them if not given.
    pub latency_share: Option<f64>,
    /// Answer errors with this probability; 1 if only a status is given.
    pub error_rate: Option<f64>,
    /// The status of those errors; 500 if only a rate is given.
    pub status: Option<u16>,
    /// Flip a bit in every body.
    pub corrupt: bool,
    /// Close the connection after so many bytes of a body.
    pub truncate_at: Option<usize>,
    /// Reset the connection after so many bytes of a body; fewer may arrive.
    pub reset_at: Option<usize>,
    /// Send nothing more after so many bytes of a body, and keep the connection.
    pub stall_at: Option<usize>,
    /// Make every body longer by so many bytes, and say so.
    pub extra_bytes: usize,
    /// Answer 200 with a page.
    pub html: bool,
    /// Close every connection without an answer.
    pub refuse: bool,
    /// Refuse blobs beyond so many bytes.
    pub max_body: Option<usize>,
}

/// What a daemon was asked for: blobs only, not `/_stats`, `/_faults` or `/status`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    requests: u64,
    /// By the text form, as ids have no other in JSON.
    by_blob: BTreeMap<String, u64>,
}

/// Marks a response that is not to be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused;

pub(super) fn routes() -> Router<Arc<Daemon>> {
    let faults = get(shown).put(set).delete(cleared);
    Router::new().route("/_faults", faults).route("/_stats", get(stats))
}

async fn shown(State(daemon): State<Arc<Daemon>>) -> Json<Faults> {
    Json(daemon.faults.lock().clone())
}

/// Takes JSON whatever its `Content-Type`: curl's default is a form's.
async fn set(State(daemon): State<Arc<Daemon>>, body: Bytes) -> Response {
    match Json::<Faults>::from_bytes(&body) {
        Ok(Json(faults)) if faults.has_proper_shares() => {
            *daemon.faults.lock() = faults.clone();
            Json(faults).into_response()
        }
        Ok(_) => (StatusCode::BAD_REQUEST, "error_rate and latency_share lie between 0 and 1\n")
            .into_response(),
        Err(rejection) => (StatusCode::BAD_REQUEST, told(&rejection)).into_response(),
    }
}

fn told(rejection: &JsonRejection) -> String {
    let cause = std::error::Error::source(rejection).map(ToString::to_string);
    format!("{}\n", cause.unwrap_or_else(|| rejection.to_string()))
}

async fn cleared(State(daemon): State<Arc<Daemon>>) -> Json<Faults> {
    *daemon.faults.lock() = Faults::default();
    Json(Faults::default())
}

async fn stats(State(daemon): State<Arc<Daemon>>) -> Json<Stats> {
    Json(daemon.stats.lock().clone())
}

/// Counts a request, and lets it misbehave as it should.
pub(super) async fn before(
    State(daemon): State<Arc<Daemon>>,
    request: Request,
    next: Next,
) -> Response {
    daemon.stats.lock().count(request.uri().path());
    let faults = daemon.faults.lock().clone();
    if rand::random::<f64>() < faults.latency_share.unwrap_or(1.0) {
        tokio::time::sleep(Duration::from_millis(faults.latency_ms)).await;
    }
    if faults.refuse {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Refused);
        return response;
    }
    let who = if request.method() == Method::PUT { "publisher" } else { "aggregator" };
    if let Some(error) = faults.error(who) {
        return error;
    }
    if faults.html {
        let page = "<!doctype html><title>Welcome</title><h1>It works!</h1>\n";
        return ([(header::CONTENT_TYPE, "text/html")], page).into_response();
    }
    let cut = request.extensions().get::<Cut>().cloned();
    let response = next.run(request).await;
    if faults.damage() && who == "aggregator" && response.status().is_success() {
        faults.spoil(response, cut.unwrap_or_default()).await
    } else {
        response
    }
}

impl Faults {
    fn has_proper_shares(&self) -> bool {
        let shares = [self.error_rate, self.latency_share];
        shares.into_iter().flatten().all(|share| (0.0..=1.0).contains(&share))
    }

    fn error(&self, who: &str) -> Option<Response> {
        let rate = self.error_rate.unwrap_or(if self.status.is_some() { 1.0 } else { 0.0 });
        if rand::random::<f64>() >= rate {
            return None;
        }
        Some(match self.status.unwrap_or(500) {
            404 => Aip::BLOB_NOT_FOUND.into_response(),
            403 => Aip::TOO_LARGE.into_response(),
            429 => too_many(who),
            451 => Aip::FORBIDDEN.into_response(),
            500 => internal(),
            503 => Aip::UNAVAILABLE.into_response(),
            other => StatusCode::from_u16(other).unwrap_or(StatusCode::BAD_GATEWAY).into_response(),
        })
    }

    fn damage(&self) -> bool {
        self.corrupt
            || self.extra_bytes > 0
            || self.truncate_at.is_some()
            || self.reset_at.is_some()
            || self.stall_at.is_some()
    }

    /// Damages a body, and the length that is said of it.
    async fn spoil(&self, response: Response, cut: Cut) -> Response {
        let (mut head, body) = response.into_parts();
        let mut bytes = match body.collect().await {
            Ok(body) => BytesMut::from(body.to_bytes()),
            Err(_) => return internal(),
        };
        if self.corrupt {
            let middle = bytes.len() / 2;
            bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
        }
        bytes.resize(bytes.len() + self.extra_bytes, b'!');
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let bytes = bytes.freeze();
        let beginning = |at| stream::iter([Ok::<_, Infallible>(bytes.slice(..at))]);
        let broken = match (self.truncate_at, self.reset_at) {
            (Some(at), _) => Some((at, Ending::Closed)),
            (None, at) => at.map(|at| (at, Ending::Reset)),
        };
        let body = match (broken, self.stall_at) {
            (Some((at, ending)), _) if at < bytes.len() => {
                let end = stream::poll_fn(move |_| {
                    cut.behind_this(ending);
                    Poll::Pending
                });
                Body::from_stream(beginning(at).chain(end))
            }
            (_, Some(at)) if at < bytes.len() => {
                Body::from_stream(beginning(at).chain(stream::pending()))
            }
            _ => Body::from(bytes),
        };
        Response::from_parts(head, body)
    }
}

impl Stats {
    fn count(&mut self, path: &str) {
        self.requests += 1;
        // A patch counts for the quilt it is in; an object is known by its blob only once found.
        let quilt = |part: &str| Some(part.parse::<QuiltPatchId>().ok()?.quilt());
        let blob =
            path.split('/').find_map(|part| part.parse::<BlobId>().ok().or_else(|| quilt(part)));
        if let Some(blob) = blob {
            *self.by_blob.entry(blob.to_string()).or_default() += 1;
        }
    }
}

/// Sends the response, or closes the connection where it is marked so.
pub(super) fn unless_refused(
    response: Result<Response, Infallible>,
) -> Result<Response, std::io::Error> {
    let Ok(response) = response;
    match response.extensions().get::<Refused>() {
        Some(Refused) => Err(std::io::ErrorKind::ConnectionAborted.into()),
        None => Ok(response),
    }
}
