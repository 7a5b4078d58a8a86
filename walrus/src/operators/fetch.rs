//! The list of public operators, from where it is published.

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};

use super::{InvalidOperators, MAX_OPERATORS_DOCUMENT, Operators};
use crate::HttpClient;

/// Why a list cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OperatorsError {
    /// It has no URL that can be asked.
    #[error("{url:?} is no URL of a list: write it like https://example.com/operators.json")]
    Url {
        /// What was given instead.
        url: String,
    },
    /// Nobody answers there.
    #[error("cannot be reached")]
    Connect {
        /// What happened.
        #[source]
        cause: hyper_util::client::legacy::Error,
    },
    /// There is something else. Redirections are not followed.
    #[error("is answered with {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The body broke off, or has no end.
    #[error("breaks off, or has more than {MAX_OPERATORS_DOCUMENT} bytes")]
    Body,
    /// It is no list.
    #[error(transparent)]
    Invalid(#[from] InvalidOperators),
}

impl Operators {
    /// Reads a list from its `http` or `https` URL.
    ///
    /// # Errors
    /// [`OperatorsError`].
    pub async fn fetch(http: &HttpClient, url: &str) -> Result<Self, OperatorsError> {
        let wrong = || OperatorsError::Url { url: url.chars().take(200).collect() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let is_plain = !uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !(is_web && has_host && is_plain) {
            return Err(wrong());
        }
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri;
        let response =
            http.send(request).await.map_err(|cause| OperatorsError::Connect { cause })?;
        if response.status() != StatusCode::OK {
            return Err(OperatorsError::Status { status: response.status() });
        }
        let body = Limited::new(response.into_body(), MAX_OPERATORS_DOCUMENT).collect().await;
        Ok(Self::parse(&body.map_err(|_| OperatorsError::Body)?.to_bytes())?)
    }
}
