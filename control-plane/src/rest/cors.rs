//! Which pages of other origins may ask, and read the answer.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use wcdn_daemon::origins::Origins;

/// What pages of other origins may do.
#[derive(Debug, Clone)]
pub(crate) struct Cors {
    origins: Origins,
    credentials: bool,
}

/// Headers that a page may send, beyond the few that it always may.
const ASKED: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, \
    last-event-id, x-api-key, x-request-id";

/// Headers that a page may read, beyond the few that it always may.
const EXPOSED: &str =
    "allow, etag, location, ratelimit, ratelimit-policy, retry-after, x-request-id";

impl Cors {
    pub(crate) fn new(config: &crate::config::Cors) -> Self {
        Self { origins: config.origins.clone(), credentials: config.credentials }
    }

    /// What a request of this origin is allowed by; none if it comes from no page, or from one that may
    /// not.
    pub(super) fn asked(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.origins.allow(origin)
    }

    /// The answer to "may I?", good for a day.
    pub(super) fn preflight(&self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"),
            (ACCESS_CONTROL_ALLOW_HEADERS, ASKED),
            (ACCESS_CONTROL_MAX_AGE, "86400"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// Lets a page read the response, if it may.
    pub(super) fn allow(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.depend() {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else {
            headers.remove(ACCESS_CONTROL_ALLOW_METHODS);
            headers.remove(ACCESS_CONTROL_ALLOW_HEADERS);
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Whether a request only asks whether another one may be made.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
