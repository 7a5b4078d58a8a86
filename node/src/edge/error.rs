//! Every failure a viewer can be told, with its status, code and words; nowhere else.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::path::{Family, PathError};
use crate::{
    cache::{
        fill::error::{Exhaustion, FillError},
        negative::Absence,
    },
    quilt::QuiltServeError,
};

/// A failure as viewers see it: what goes wrong inside is in the log, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeError {
    code: Code,
    message: String,
    retry_after: Option<u64>,
    /// Bytes of the body, where a range lies outside it.
    length: Option<u64>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $aip:literal;)*) => {
        /// The stable codes of errors; `docs/errors.md` lists them for viewers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status it comes with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The word viewers match on.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The canonical status of AIP-193, which aggregators speak.
            const fn aip_status(self) -> &'static str {
                match self { $(Self::$name => $aip,)* }
            }
        }
    };
}

codes! {
    /// The path names no resource.
    UnknownPath = NOT_FOUND, "UNKNOWN_PATH", "NOT_FOUND";
    /// The request does not name one host.
    InvalidHost = BAD_REQUEST, "INVALID_HOST", "INVALID_ARGUMENT";
    /// An id in the path is malformed.
    InvalidId = BAD_REQUEST, "INVALID_ID", "INVALID_ARGUMENT";
    /// A file name in the path is malformed.
    InvalidIdentifier = BAD_REQUEST, "INVALID_IDENTIFIER", "INVALID_ARGUMENT";
    /// `start` or `length` of a byte range request are wrong.
    InvalidByteRange = BAD_REQUEST, "INVALID_BYTE_RANGE", "INVALID_ARGUMENT";
    /// No such blob.
    BlobNotFound = NOT_FOUND, "BLOB_NOT_FOUND", "NOT_FOUND";
    /// The quilt has no such file.
    PatchNotFound = NOT_FOUND, "QUILT_PATCH_NOT_FOUND", "NOT_FOUND";
    /// The blob is not a quilt.
    NotAQuilt = NOT_FOUND, "NOT_A_QUILT", "NOT_FOUND";
    /// Only GET, HEAD and OPTIONS are served.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "UNIMPLEMENTED";
    /// `If-Match` names another body.
    PreconditionFailed = PRECONDITION_FAILED, "PRECONDITION_FAILED", "FAILED_PRECONDITION";
    /// The range lies outside the body.
    RangeNotSatisfiable = RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", "OUT_OF_RANGE";
    /// Withheld for legal reasons.
    Blocked = UNAVAILABLE_FOR_LEGAL_REASONS, "FORBIDDEN_BLOB", "UNAVAILABLE_FOR_LEGAL_REASONS";
    /// A route of the aggregator that the edge does not have.
    NotOffered = NOT_IMPLEMENTED, "NOT_OFFERED", "UNIMPLEMENTED";
    /// The quilt is too large to be held and verified.
    QuiltTooLarge = NOT_IMPLEMENTED, "QUILT_TOO_LARGE", "UNIMPLEMENTED";
    /// The client does too much.
    RateLimited = TOO_MANY_REQUESTS, "RATE_LIMITED", "RESOURCE_EXHAUSTED";
    /// The edge has no room now.
    Overloaded = SERVICE_UNAVAILABLE, "OVERLOADED", "UNAVAILABLE";
    /// What was removed or is withheld is not known for certain.
    Unconfirmed = SERVICE_UNAVAILABLE, "UNCONFIRMED", "UNAVAILABLE";
    /// The origins have no room now.
    OriginsBusy = SERVICE_UNAVAILABLE, "ORIGINS_BUSY", "UNAVAILABLE";
    /// No origin answered in time.
    OriginsTimedOut = GATEWAY_TIMEOUT, "ORIGINS_TIMED_OUT", "DEADLINE_EXCEEDED";
    /// No origin served the blob.
    OriginsFailed = BAD_GATEWAY, "ORIGINS_FAILED", "UNAVAILABLE";
    /// The blob is too large to be verified, and nothing else is served.
    Unverifiable = BAD_GATEWAY, "UNVERIFIABLE", "FAILED_PRECONDITION";
}

/// After how many seconds an overloaded edge asks to be tried again.
const RETRY_AFTER: u64 = 1;

impl ServeError {
    /// A failure with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let busy = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            code,
            message: message.into(),
            retry_after: busy.then_some(RETRY_AFTER),
            length: None,
        }
    }

    /// A range outside a body of `length` bytes.
    pub fn unsatisfiable(length: u64) -> Self {
        let message = format!("the range lies outside the body, which has {length} bytes");
        Self { length: Some(length), ..Self::new(Code::RangeNotSatisfiable, message) }
    }

    /// The control plane withholds it.
    pub fn withheld() -> Self {
        Self::new(Code::Blocked, "withheld by the operator of this network")
    }

    /// Too little is known of what was removed or is withheld.
    pub fn unconfirmed() -> Self {
        let message =
            "the edge does not know for certain what was removed; it asks its control plane";
        Self::new(Code::Unconfirmed, message)
    }

    /// Too much of one client, which may try again after `wait`.
    pub fn limited(message: impl Into<String>, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let retry_after = Some(seconds.max(RETRY_AFTER));
        Self { retry_after, ..Self::new(Code::RateLimited, message) }
    }

    /// Bytes of the body that a range lies outside of.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Seconds after which to try again, as a header.
    pub fn retry_after(&self) -> Option<HeaderValue> {
        self.retry_after.map(HeaderValue::from)
    }

    /// The body, in the shape that clients of this family of paths expect.
    pub fn body(&self, family: Family, request_id: &str) -> Bytes {
        let Self { code, message, .. } = self;
        let json = match family {
            Family::Cdn => serde_json::json!({"error": {
                "code": code.as_str(), "message": message, "requestId": request_id,
            }}),
            Family::Aggregator => serde_json::json!({"error": {
                "status": code.aip_status(),
                "code": code.status().as_u16(),
                "message": message,
                "details": [{
                    "@type": "ErrorInfo",
                    "reason": code.as_str(),
                    "domain": "wcdn",
                    "metadata": {"requestId": request_id},
                }],
            }}),
        };
        let mut text = json.to_string();
        text.push('\n');
        text.into()
    }
}

impl From<&FillError> for ServeError {
    fn from(error: &FillError) -> Self {
        // What was tried names origins and their failures: origins are public, and the person who
        // reads this wants to know whom to ask.
        let message = error.to_string();
        match error {
            FillError::NotFound => Self::from(Absence::NotFound),
            FillError::Blocked => Self::from(Absence::Blocked),
            FillError::Withheld => Self::withheld(),
            FillError::Shed(_) | FillError::Abandoned | FillError::Overtaken => {
                Self::new(Code::Overloaded, "the edge has no room for this request now")
            }
            FillError::Throttled { retry_after } => Self::limited(message, *retry_after),
            FillError::Exhausted { kind: Exhaustion::Busy(after), .. } => {
                let mut error = Self::new(Code::OriginsBusy, message);
                error.retry_after = Some(after.map_or(RETRY_AFTER, |after| after.as_secs().max(1)));
                error
            }
            FillError::Exhausted { kind: Exhaustion::TimedOut, .. } | FillError::Slow { .. } => {
                Self::new(Code::OriginsTimedOut, message)
            }
            FillError::Exhausted { kind: Exhaustion::Broken, .. } | FillError::Corrupt { .. } => {
                Self::new(Code::OriginsFailed, message)
            }
            FillError::Unverifiable { .. } => Self::new(Code::Unverifiable, message),
        }
    }
}

impl From<Absence> for ServeError {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::NotFound => Self::new(
                Code::BlobNotFound,
                "Walrus has no such blob; one stored a moment ago may take some seconds to appear",
            ),
            Absence::Blocked => Self::new(Code::Blocked, "withheld for legal reasons"),
        }
    }
}

impl From<QuiltServeError> for ServeError {
    fn from(error: QuiltServeError) -> Self {
        match error {
            QuiltServeError::Fill(error) => Self::from(&*error),
            QuiltServeError::NoSuchPatch => {
                Self::new(Code::PatchNotFound, "the quilt has no such file")
            }
            QuiltServeError::NotAQuilt(cause) => {
                let mut message = "the blob is not a quilt".to_owned();
                write!(message, ": {cause}").expect("writing to a string succeeds");
                Self::new(Code::NotAQuilt, message)
            }
            QuiltServeError::TooLarge { total, most } => Self::new(
                Code::QuiltTooLarge,
                format!("the quilt has {total} bytes; this edge verifies quilts up to {most}"),
            ),
            QuiltServeError::NoRoom => {
                Self::new(Code::Overloaded, "the edge has no room for this file now")
            }
        }
    }
}

impl From<PathError> for ServeError {
    fn from(error: PathError) -> Self {
        let message = error.to_string();
        match error {
            PathError::Unknown => Self::new(Code::UnknownPath, message),
            PathError::NotOffered => Self::new(Code::NotOffered, message),
            PathError::Identifier(_) => Self::new(Code::InvalidIdentifier, message),
            _ => Self::new(Code::InvalidId, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_reference_lists_every_code_with_its_status() {
        let reference = include_str!("../../../docs/errors.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
            assert!(reference.contains(&row), "docs/errors.md lacks {row}");
        }
    }

    #[test]
    fn each_family_gets_the_shape_its_clients_parse() {
        let error = ServeError::from(Absence::NotFound);
        let parse = |family| -> serde_json::Value {
            serde_json::from_slice(&error.body(family, "r-1")).unwrap()
        };
        let ours = parse(Family::Cdn);
        assert_eq!(ours["error"]["code"], "BLOB_NOT_FOUND");
        assert_eq!(ours["error"]["requestId"], "r-1");
        let theirs = parse(Family::Aggregator);
        assert_eq!(theirs["error"]["code"], 404);
        assert_eq!(theirs["error"]["status"], "NOT_FOUND");
        assert_eq!(theirs["error"]["details"][0]["reason"], "BLOB_NOT_FOUND");
        assert_eq!(theirs["error"]["details"][0]["metadata"]["requestId"], "r-1");
    }

    #[test]
    fn busy_answers_say_when_to_come_back() {
        let shed = ServeError::from(&FillError::Abandoned);
        assert_eq!(shed.retry_after().unwrap(), "1");
        assert_eq!(ServeError::from(Absence::Blocked).retry_after(), None);
    }
}
