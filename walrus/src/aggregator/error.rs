//! Every answer of an aggregator that is not the blob.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::http::{dns::Unresolved, error_text, outage::Outage};

/// Why an aggregator did not answer with the blob. Statuses and reasons as of version 1.56.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// No connection, or it broke before a head came.
    #[error("cannot be reached")]
    Connect {
        /// What happened.
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    /// Nobody says where it is.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// 400: it does not understand the request.
    #[error("refuses the request: {message}")]
    BadRequest {
        /// Its words.
        message: String,
    },
    /// 403 `BLOB_TOO_LARGE`: larger than this one serves; another may.
    #[error("serves no blob as large as this")]
    TooLarge,
    /// 404 `BLOB_NOT_FOUND`: not certified, expired, deleted, or not yet seen.
    #[error("has no such blob")]
    BlobNotFound,
    /// 404 `QUILT_PATCH_NOT_FOUND`: the quilt has no such file.
    #[error("has no such file in the quilt")]
    PatchNotFound,
    /// 404 `OBJECT_ID_RESOLUTION_FAILED`: no such Sui object.
    #[error("has no such object")]
    ObjectNotFound,
    /// 404 without a reason: the path is unknown, so this is no aggregator, or an old one.
    #[error("does not know the path; is it an aggregator?")]
    UnknownPath,
    /// 416: the range lies outside the blob.
    #[error("says that the range lies outside the blob")]
    RangeNotSatisfiable,
    /// 429: shedding load.
    #[error("is receiving too many requests")]
    TooManyRequests {
        /// When to come back, if it says so.
        retry_after: Option<Duration>,
    },
    /// 451: withheld for legal reasons.
    #[error("withholds the blob for legal reasons")]
    Blocked,
    /// 500: an error of its own; also blobs that were encoded inconsistently.
    #[error("fails ({reason})")]
    Internal {
        /// Its word for it.
        reason: String,
    },
    /// 503: storage nodes do not give enough; transient.
    #[error("cannot read the blob now")]
    Unavailable {
        /// When to come back, if it says so.
        retry_after: Option<Duration>,
    },
    /// 502, 504, 520 to 530: a proxy in front of it fails.
    #[error("a proxy before it answers {status}")]
    Gateway {
        /// The status.
        status: StatusCode,
    },
    /// A status that aggregators do not use.
    #[error("answers {status}")]
    Unexpected {
        /// The status.
        status: StatusCode,
    },
    /// A success whose head makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidAnswer),
}

/// A success that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// It does not say how long the body is.
    #[error("does not say how long the blob is")]
    LengthUnknown,
    /// The whole was sent where a range was asked for.
    #[error("ignores the range")]
    IgnoredRange,
    /// `Content-Range` is missing, malformed, or of another range.
    #[error("answers with another range than asked for ({0:?})")]
    ContentRange(String),
    /// `Content-Length` and `Content-Range` contradict each other.
    #[error("says two different lengths")]
    Contradiction,
    /// It is a page for people.
    #[error("answers with a page")]
    Page,
    /// The body has fewer or more bytes than announced.
    #[error("sends another number of bytes than it announces")]
    Short,
    /// The `ETag` of an object is no blob id.
    #[error("does not say which blob the object holds")]
    Etag,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the connection broke after {received} of {length} bytes")]
    Broken {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        length: u64,
        /// What happened.
        #[source]
        cause: hyper::Error,
    },
    /// The body ended early.
    #[error("the body ended after {received} of {length} bytes")]
    Short {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        length: u64,
    },
    /// More came than was announced.
    #[error("the body is longer than the {length} bytes announced")]
    Long {
        /// Bytes that were announced.
        length: u64,
    },
}

/// The part of an AIP-193 error that tells errors apart.
#[derive(Debug, Default, Deserialize)]
struct Aip193 {
    error: AipError,
}

#[derive(Debug, Default, Deserialize)]
struct AipError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<AipDetail>,
}

#[derive(Debug, Default, Deserialize)]
struct AipDetail {
    #[serde(default)]
    reason: String,
}

impl AggregatorError {
    pub(super) fn from_send(cause: hyper_util::client::legacy::Error) -> Self {
        match Unresolved::among(&cause) {
            Some(unresolved) => Self::Unresolved(unresolved.clone()),
            None => Self::Connect { cause },
        }
    }

    /// Reads an answer that is no success.
    pub(super) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self::from_parts(head.status, &head.headers, &error_text(body).await)
    }

    pub(super) fn from_parts(status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let (reason, message) = reason(body);
        match (status.as_u16(), reason.as_str()) {
            (400, _) => Self::BadRequest { message },
            (403, "BLOB_TOO_LARGE") => Self::TooLarge,
            (404, "BLOB_NOT_FOUND") => Self::BlobNotFound,
            (404, "QUILT_PATCH_NOT_FOUND") => Self::PatchNotFound,
            (404, "OBJECT_ID_RESOLUTION_FAILED") => Self::ObjectNotFound,
            (404, _) => Self::UnknownPath,
            (416, _) => Self::RangeNotSatisfiable,
            (429, _) => Self::TooManyRequests { retry_after: retry_after(headers) },
            (451, _) => Self::Blocked,
            (500, _) => Self::Internal { reason },
            (503, _) => Self::Unavailable { retry_after: retry_after(headers) },
            (502 | 504 | 520..=530, _) => Self::Gateway { status },
            _ => Self::Unexpected { status },
        }
    }

    /// Whether it says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::BlobNotFound | Self::PatchNotFound | Self::ObjectNotFound)
    }

    /// Whether it withholds the blob.
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked)
    }

    /// Whether the answer speaks against the aggregator, rather than about the blob or the
    /// request.
    pub fn is_fault_of_origin(&self) -> bool {
        !matches!(
            self,
            Self::BadRequest { .. }
                | Self::TooLarge
                | Self::BlobNotFound
                | Self::PatchNotFound
                | Self::ObjectNotFound
                | Self::RangeNotSatisfiable
                | Self::Blocked
        )
    }

    /// Why it could not be asked at all, if that is what happened.
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Self::Connect { cause } => Some(Outage::of(cause)),
            Self::Unresolved(_) => Some(Outage::Name),
            _ => None,
        }
    }

    /// Whether it could not be asked at all.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Unresolved(_))
    }

    /// When it wishes to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::Unavailable { retry_after } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// Reason and message of an error's body: of JSON as AIP-193 has it, or the text as it is.
fn reason(body: &str) -> (String, String) {
    match serde_json::from_str::<Aip193>(body) {
        Ok(Aip193 { error }) => {
            let reason = error.details.into_iter().map(|detail| detail.reason);
            (
                reason.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default(),
                error.message,
            )
        }
        Err(_) => (String::new(), body.chars().take(200).collect()),
    }
}

/// Seconds; the date form is not used by anything that stands before an aggregator.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
