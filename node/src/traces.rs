//! Spans of requests, where traces are built in (feature `otlp`): without it a hit costs none.

use http::{Request, StatusCode};
use tracing::Span;

/// The span of a request, whose fills are its children.
pub(crate) fn request<B>(request: &Request<B>, node: &str) -> Span {
    if cfg!(feature = "otlp") {
        tracing::info_span!(
            "edge_request",
            node,
            method = %request.method(),
            path = request.uri().path(),
            status = tracing::field::Empty,
            source = tracing::field::Empty,
        )
    } else {
        Span::none()
    }
}

/// Notes in the span of the current request what came of it.
pub(crate) fn answered(status: StatusCode, source: &'static str) {
    if cfg!(feature = "otlp") {
        let span = Span::current();
        span.record("status", status.as_u16());
        span.record("source", source);
    }
}
