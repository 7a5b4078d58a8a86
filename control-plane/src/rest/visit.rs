//! What every request passes on its way in, and every response on its way out.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, Method,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use tokio::time::timeout;

use super::{cors, error::Problem, serve::Peer};
use crate::{
    auth::{self, Caller, Operation},
    desk::Desk,
    limits::{Decision, whole_seconds},
    refusal::Refusal,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A request, as far as all of them are alike.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) request_id: String,
    pub(super) address: Option<IpAddr>,
    /// What is left to whoever asks, once that is known.
    budget: OnceLock<Decision>,
}

/// Where a handler finds out who asks.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) desk: Arc<Desk>,
    pub(super) head: Parts,
    visit: Arc<Visit>,
}

impl Door {
    /// Who asks, if they may ask for this.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn admit(&self, operation: Operation) -> Result<Caller, Problem> {
        let address = self.visit.address;
        let caller = auth::admit(&self.desk, &self.head.headers, address, operation).await?;
        if let Some(budget) = &caller.budget {
            drop(self.visit.budget.set(budget.clone()));
        }
        // The same name in the answer and in the audit log.
        Ok(Caller { request_id: self.visit.request_id.clone(), ..caller })
    }

    /// Lets anybody in, as often as an address may.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub(super) async fn anybody(&self) -> Result<(), Problem> {
        if let Some(budget) = auth::anonymous(&self.desk, self.visit.address).await? {
            drop(self.visit.budget.set(budget));
        }
        Ok(())
    }

    /// From where the request comes.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.visit.address
    }
}

impl FromRequestParts<Arc<Desk>> for Door {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let visit: &Arc<Visit> = head.extensions.get().expect("every request is attended");
        let visit = Arc::clone(visit);
        Ok(Self { desk: Arc::clone(desk), head: head.clone(), visit })
    }
}

/// Attends a request to its end.
pub(super) async fn attend(
    State(desk): State<Arc<Desk>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visit = Arc::new(Visit {
        request_id: auth::request_id(request.headers()),
        address: address(&desk, &request),
        budget: OnceLock::new(),
    });
    // The audit log finds it there.
    let name = HeaderValue::try_from(&visit.request_id).expect("it is visible ASCII");
    request.headers_mut().insert(X_REQUEST_ID, name.clone());
    request.extensions_mut().insert(Arc::clone(&visit));
    let path = request.uri().path().to_owned();
    let origin = desk.cors.asked(request.headers());
    let is_preflight = cors::is_preflight(&request);
    let is_head = request.method() == Method::HEAD;
    let answered = if is_preflight {
        desk.cors.preflight()
    } else {
        let patience = desk.limits.call_timeout.duration();
        timeout(patience, next.run(request))
            .await
            .unwrap_or_else(|_| Problem::Overdue.into_response())
    };
    let mut response = told(&desk, answered, &visit, &path, is_head);
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, name);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(budget) = visit.budget.get() {
        budget.tell(headers);
    }
    desk.cors.allow(origin, headers);
    response
}

/// A refusal gets its body; whatever else there is stays as it is.
fn told(desk: &Desk, mut answered: Response, visit: &Visit, path: &str, is_head: bool) -> Response {
    let Some(problem) = answered.extensions_mut().remove::<Arc<Problem>>() else {
        return answered;
    };
    let (code, status) = problem.code();
    desk.metrics.refused(code);
    let document = problem.document(path, &visit.request_id);
    let mut response = (status, Json(document)).into_response();
    let headers = response.headers_mut();
    // What the router said besides, such as Allow.
    for (name, value) in answered.headers() {
        headers.entry(name).or_insert(value.clone());
    }
    headers.insert(CONTENT_TYPE, PROBLEM);
    if status == http::StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"wcdn\"");
        headers.insert(WWW_AUTHENTICATE, scheme);
    }
    if let Problem::Refused(refusal) = &*problem {
        if let Some(wait) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, whole_seconds(wait).max(1).into());
        }
        if let Refusal::RateLimited { budget } = refusal {
            drop(visit.budget.set(Decision::clone(budget)));
        }
    }
    if is_head {
        *response.body_mut() = axum::body::Body::empty();
    }
    response
}

/// From where a request comes, by the word of a trusted proxy if one brings it.
fn address(desk: &Desk, request: &Request) -> Option<IpAddr> {
    let Peer(peer) = *request.extensions().get::<Peer>()?;
    let is_proxy = desk.proxies.trust(peer);
    Some(if is_proxy { desk.proxies.client(peer, request.headers()) } else { peer })
}
