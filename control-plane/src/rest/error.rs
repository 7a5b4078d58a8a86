//! Why a request is refused, as HTTP tells it: every status is chosen here.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use tonic::Code;
use utoipa::ToSchema;

use crate::refusal::{Refusal, Violation};

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The call says so.
    Refused(Refusal),
    /// Nothing is at this path.
    NoPath,
    /// Something is, but it is not asked for so.
    Method,
    /// The body is no JSON.
    MediaType,
    /// The body is larger than it may be.
    TooLarge {
        /// Bytes.
        most: usize,
    },
    /// The body did not come.
    Broken,
    /// A header is needed by which nothing is overwritten unseen.
    PreconditionMissing,
    /// It is another revision by now.
    PreconditionFailed {
        /// What is told.
        message: String,
    },
    /// It took too long.
    Overdue,
}

/// Codes that only HTTP has, with their status; `docs/errors.md` lists them for callers.
pub(super) const OWN: [(&str, StatusCode); 8] = [
    ("PATH_UNKNOWN", StatusCode::NOT_FOUND),
    ("METHOD_NOT_ALLOWED", StatusCode::METHOD_NOT_ALLOWED),
    ("MEDIA_TYPE_UNSUPPORTED", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ("BODY_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE),
    ("BODY_BROKEN", StatusCode::BAD_REQUEST),
    ("PRECONDITION_REQUIRED", StatusCode::PRECONDITION_REQUIRED),
    ("PRECONDITION_FAILED", StatusCode::PRECONDITION_FAILED),
    ("DEADLINE", StatusCode::GATEWAY_TIMEOUT),
];

/// A problem as it is told (RFC 9457), with what every error of WCDN has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(rename = "type", example = "/docs/errors#SCOPE_MISSING")]
    kind: String,
    /// The name of the status.
    title: String,
    status: u16,
    /// What is wrong, and the remedy.
    detail: String,
    /// The path that was asked for.
    instance: String,
    error: ErrorBody,
}

/// What every error of WCDN has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    /// Stable.
    #[schema(example = "SCOPE_MISSING")]
    code: String,
    /// For people.
    message: String,
    /// By which the request is found in logs.
    request_id: String,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldProblem>,
}

/// A field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
struct FieldProblem {
    #[schema(example = "ids[3]")]
    field: String,
    /// The value, and the remedy.
    problem: String,
}

/// The status of a refusal.
pub(super) fn status(reason: &str, code: Code) -> StatusCode {
    match (reason, code) {
        ("ORIGINS_CHANGED" | "KEY_CHANGED", _) => StatusCode::PRECONDITION_FAILED,
        ("RATE_LIMITED" | "TOO_MANY_FAILURES", _) => StatusCode::TOO_MANY_REQUESTS,
        ("OVERLOADED", _) => StatusCode::SERVICE_UNAVAILABLE,
        ("LOG_TRUNCATED", _) => StatusCode::GONE,
        (_, Code::Unauthenticated) => StatusCode::UNAUTHORIZED,
        (_, Code::PermissionDenied) => StatusCode::FORBIDDEN,
        (_, Code::InvalidArgument) => StatusCode::BAD_REQUEST,
        (_, Code::NotFound | Code::Unimplemented) => StatusCode::NOT_FOUND,
        (_, Code::Unavailable | Code::Cancelled) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Code::DeadlineExceeded) => StatusCode::GATEWAY_TIMEOUT,
        // What cannot be done as things are.
        _ => StatusCode::CONFLICT,
    }
}

impl Problem {
    /// Its stable code, and its status.
    pub(super) fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Refused(refusal) => {
                let reason = refusal.reason();
                (reason, status(reason, refusal.code()))
            }
            Self::NoPath => OWN[0],
            Self::Method => OWN[1],
            Self::MediaType => OWN[2],
            Self::TooLarge { .. } => OWN[3],
            Self::Broken => OWN[4],
            Self::PreconditionMissing => OWN[5],
            Self::PreconditionFailed { .. } => OWN[6],
            Self::Overdue => OWN[7],
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.message(),
            Self::NoPath => "nothing is at this path; /docs shows what there is".into(),
            Self::Method => "this path does not take this method; see the header Allow".into(),
            Self::MediaType => "the body must be JSON: send content-type: application/json".into(),
            Self::TooLarge { most } => format!("the body is too large; the most is {most} bytes"),
            Self::Broken => "the body broke off".into(),
            Self::PreconditionMissing => {
                "send the header If-Match with the ETag of what you read, so that \
                nothing is overwritten unseen; \"*\" overwrites whatever is there"
                    .into()
            }
            Self::PreconditionFailed { message } => message.clone(),
            Self::Overdue => "it took too long; try again".into(),
        }
    }

    /// As it is told.
    pub(super) fn document(&self, instance: &str, request_id: &str) -> ProblemDocument {
        let (code, status) = self.code();
        let message = self.message();
        let violations = match self {
            Self::Refused(refusal) => refusal.violations(),
            _ => &[],
        };
        let field = |Violation { field, problem }: &Violation| FieldProblem {
            field: field.clone(),
            problem: problem.clone(),
        };
        ProblemDocument {
            kind: format!("/docs/errors#{code}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: message.clone(),
            instance: instance.to_owned(),
            error: ErrorBody {
                code: code.to_owned(),
                message,
                request_id: request_id.to_owned(),
                fields: violations.iter().map(field).collect(),
            },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// [`visit`](super::visit) makes the body, which tells the request's name.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, status) = self.code();
        let mut response = status.into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
