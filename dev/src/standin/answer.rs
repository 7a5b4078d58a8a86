//! Errors as the daemons of Walrus say them.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

/// An error in the form of AIP-193.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aip {
    pub(super) status: StatusCode,
    pub(super) word: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

impl Aip {
    pub(super) const BLOB_NOT_FOUND: Self = Self {
        status: StatusCode::NOT_FOUND,
        word: "NOT_FOUND",
        reason: "BLOB_NOT_FOUND",
        message: "the requested blob ID does not exist on Walrus, ensure that it was entered correctly",
    };
    pub(super) const PATCH_NOT_FOUND: Self = Self {
        status: StatusCode::NOT_FOUND,
        word: "NOT_FOUND",
        reason: "QUILT_PATCH_NOT_FOUND",
        message: "the requested quilt patch does not exist on Walrus",
    };
    pub(super) const TOO_LARGE: Self = Self {
        status: StatusCode::FORBIDDEN,
        word: "SIZE_EXCEEDED",
        reason: "BLOB_TOO_LARGE",
        message: "the blob is larger than the maximum size that this aggregator serves",
    };
    pub(super) const FORBIDDEN: Self = Self {
        status: StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
        word: "UNAVAILABLE_FOR_LEGAL_REASONS",
        reason: "FORBIDDEN_BLOB",
        message: "the requested blob is blocked",
    };
    pub(super) const UNAVAILABLE: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        word: "UNAVAILABLE",
        reason: "BLOB_UNAVAILABLE",
        message: "the requested blob is temporarily unavailable",
    };
    pub(super) const INVALID_CHECK: Self = Self {
        status: StatusCode::BAD_REQUEST,
        word: "INVALID_ARGUMENT",
        reason: "INVALID_CONSISTENCY_CHECK",
        message: "cannot set both strict and skip consistency check options",
    };
    const RANGE: Self = Self {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        word: "RANGE_NOT_SATISFIABLE",
        reason: "INVALID_BYTE_RANGE",
        message: "invalid byte range parameters",
    };

    /// The form with a message of its own.
    pub(super) fn saying(self, message: &str) -> Response {
        let Self { status, word, reason, .. } = self;
        let body = json!({"error": {
            "status": word,
            "code": status.as_u16(),
            "message": message,
            "details": [{
                "@type": "ErrorInfo",
                "reason": reason,
                "domain": "daemon.walrus.space",
                "metadata": {},
            }],
        }});
        json_response(status, &body)
    }
}

impl IntoResponse for Aip {
    fn into_response(self) -> Response {
        self.saying(self.message)
    }
}

/// 416 for a `Range` that aggregators do not serve.
pub(super) fn range_not_satisfiable(why: &str) -> Response {
    Aip::RANGE.saying(&format!("invalid byte range parameters: {why}"))
}

/// 400 for a byte range in the query that lies outside.
pub(super) fn invalid_byte_range(why: &str) -> Response {
    let kind = Aip { status: StatusCode::BAD_REQUEST, word: "INVALID_ARGUMENT", ..Aip::RANGE };
    kind.saying(&format!("invalid byte range parameters: {why}"))
}

/// 400 for a request that a publisher does not understand.
pub(super) fn malformed(reason: &'static str, why: &str) -> Response {
    Aip { status: StatusCode::BAD_REQUEST, word: "INVALID_ARGUMENT", reason, message: "" }
        .saying(why)
}

/// 500, whose cause the real daemons hide.
pub(super) fn internal() -> Response {
    let body = json!({"error": {
        "status": "INTERNAL",
        "code": 500,
        "message": "an internal error has occurred, please report it",
        "details": [
            {"@type": "ErrorInfo", "reason": "INTERNAL_ERROR", "domain": "global", "metadata": {}},
            {"@type": "DebugInfo", "stackEntries": [], "detail": "TraceID: 0"},
        ],
    }});
    json_response(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// 429, in plain text and without `Retry-After`.
pub(super) fn too_many(who: &str) -> Response {
    let text = format!("the {who} is receiving too many requests; please try again later");
    (StatusCode::TOO_MANY_REQUESTS, text).into_response()
}

pub(super) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
