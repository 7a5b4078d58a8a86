//! Every answer of a publisher that is not "stored".

use http::StatusCode;
use serde::Deserialize;
use wcdn_proto::BlobId;

use crate::http::outage::Outage;

/// Why a publisher did not store something. Statuses and reasons as of version 1.56.
#[derive(Debug, thiserror::Error)]
pub enum PublisherError {
    /// No connection, or it broke before a head came.
    #[error("the publisher cannot be reached")]
    Connect {
        /// What happened.
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    /// Not sent: the form in which files go would give this one another name.
    #[error("{identifier:?} cannot name a file of a quilt: {rule}")]
    Identifier {
        /// The name, or its beginning.
        identifier: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// 400: malformed request, persistence or query.
    #[error("the publisher refuses the request ({reason}): {message}")]
    BadRequest {
        /// Its word for it; empty where it answers in plain text.
        reason: String,
        /// Its words.
        message: String,
    },
    /// 400 or 401: the token does not permit this.
    #[error("the publisher refuses the token ({reason})")]
    Token {
        /// Its word for it.
        reason: String,
    },
    /// 413: larger than the publisher takes.
    #[error("the publisher takes no body as large as this")]
    TooLarge,
    /// 429: shedding load; or a token used twice.
    #[error("the publisher is receiving too many requests")]
    TooManyRequests,
    /// 451: withheld for legal reasons.
    #[error("the publisher refuses the blob for legal reasons")]
    Blocked,
    /// 504: storage nodes confirmed too slowly; try again.
    #[error("too few storage nodes confirmed in time")]
    InsufficientConfirmations,
    /// 504: the token has expired.
    #[error("the publisher's token has expired")]
    TokenExpired,
    /// 500: an error of its own; also an empty wallet.
    #[error("the publisher fails ({reason})")]
    Internal {
        /// Its word for it.
        reason: String,
    },
    /// Any other status.
    #[error("the publisher answers {status}")]
    Unexpected {
        /// The status.
        status: StatusCode,
    },
    /// The blob is known to be encoded inconsistently.
    #[error("blob {blob} is marked invalid")]
    MarkedInvalid {
        /// The blob.
        blob: BlobId,
    },
    /// 200, and yet it failed.
    #[error("the publisher failed to {phase}: {message}")]
    Failed {
        /// What it was doing.
        phase: String,
        /// Its words.
        message: String,
    },
    /// 200, and what it says cannot be understood.
    #[error("the publisher's answer makes no sense: {why}")]
    Answer {
        /// What is wrong with it.
        why: &'static str,
    },
}

#[derive(Debug, Deserialize)]
struct Body {
    error: Inner,
}

#[derive(Debug, Deserialize)]
struct Inner {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    domain: String,
}

/// The domain of errors about tokens.
const AUTH: &str = "auth.publisher.walrus.space";

impl PublisherError {
    pub(super) fn from_send(cause: hyper_util::client::legacy::Error) -> Self {
        Self::Connect { cause }
    }

    pub(super) fn from_parts(status: StatusCode, body: &str) -> Self {
        let inner = serde_json::from_str::<Body>(body).map(|body| body.error);
        let (message, details) = match inner {
            Ok(inner) => (inner.message, inner.details),
            Err(_) => (body.chars().take(200).collect(), Vec::new()),
        };
        let detail = details.into_iter().find(|detail| !detail.reason.is_empty());
        let (reason, domain) =
            detail.map(|detail| (detail.reason, detail.domain)).unwrap_or_default();
        match (status.as_u16(), reason.as_str()) {
            (504, "EXPIRED_SIGNATURE") => Self::TokenExpired,
            (504, _) => Self::InsufficientConfirmations,
            (429, _) => Self::TooManyRequests,
            (400 | 401, _) if domain == AUTH => Self::Token { reason },
            (400, _) => Self::BadRequest { reason, message },
            (413, _) => Self::TooLarge,
            (451, _) => Self::Blocked,
            (500, _) => Self::Internal { reason },
            _ => Self::Unexpected { status },
        }
    }

    /// Why it could not be asked at all, if that is what happened.
    pub fn outage(&self) -> Option<Outage> {
        match self {
            Self::Connect { cause } => Some(Outage::of(cause)),
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub fn may_succeed_later(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::TooManyRequests
                | Self::InsufficientConfirmations
                | Self::Internal { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, reason: &str, domain: &str) -> PublisherError {
        let body = format!(
            r#"{{"error":{{"message":"words","details":[{{"@type":"ErrorInfo","reason":"{reason}","domain":"{domain}","metadata":{{}}}}]}}}}"#
        );
        PublisherError::from_parts(StatusCode::from_u16(status).unwrap(), &body)
    }

    #[test]
    fn every_row_of_the_status_tables_is_an_error_of_its_own() {
        use PublisherError as E;
        const WALRUS: &str = "daemon.walrus.space";
        for reason in ["MALFORMED_REQUEST", "INVALID_BLOB_PERSISTENCE"] {
            assert!(
                matches!(told(400, reason, WALRUS), E::BadRequest { reason: said, .. } if said == reason)
            );
        }
        assert!(matches!(told(451, "FORBIDDEN_BLOB", WALRUS), E::Blocked));
        assert!(matches!(
            told(504, "INSUFFICIENT_CONFIRMATIONS", WALRUS),
            E::InsufficientConfirmations
        ));
        assert!(matches!(told(500, "INTERNAL_ERROR", "global"), E::Internal { .. }));
        for (status, reason) in
            [(400, "INVALID_SIZE"), (400, "INVALID_TOKEN"), (401, "INVALID_SIGNATURE")]
        {
            assert!(matches!(told(status, reason, AUTH), E::Token { .. }), "{reason}");
        }
        assert!(matches!(told(504, "EXPIRED_SIGNATURE", AUTH), E::TokenExpired));
        assert!(matches!(told(429, "TOKEN_ALREADY_USED", AUTH), E::TooManyRequests));
        assert!(matches!(told(418, "", ""), E::Unexpected { .. }));
    }

    #[test]
    fn plain_text_is_understood() {
        let plain = |status, body| PublisherError::from_parts(status, body);
        assert!(matches!(
            plain(StatusCode::PAYLOAD_TOO_LARGE, "length limit exceeded"),
            PublisherError::TooLarge
        ));
        let busy = plain(StatusCode::TOO_MANY_REQUESTS, "the publisher is receiving too many");
        assert!(busy.may_succeed_later());
    }
}
