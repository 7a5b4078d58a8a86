//! A client of an aggregator: the HTTP daemon that reads blobs from the storage nodes.

mod error;
mod response;

use std::ops::RangeInclusive;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::{Response, body::Incoming};
use wcdn_proto::{BlobId, ObjectId};

pub use self::{
    error::{AggregatorError, BodyError, InvalidAnswer},
    response::BlobResponse,
};
use crate::{BaseUrl, HttpClient};

/// One aggregator. Cheap to clone.
///
/// No deadline but that of connecting: whoever asks knows how long it can wait.
#[derive(Debug, Clone)]
pub struct Aggregator {
    http: HttpClient,
    base: BaseUrl,
}

/// What a Sui object leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedObject {
    /// The blob it holds.
    pub blob: BlobId,
    /// The content type among its attributes.
    pub content_type: Option<String>,
}

impl Aggregator {
    /// The aggregator at this URL.
    pub fn new(http: HttpClient, base: BaseUrl) -> Self {
        Self { http, base }
    }

    /// Asks for a whole blob.
    ///
    /// # Errors
    /// [`AggregatorError`].
    pub async fn blob(&self, id: &BlobId) -> Result<BlobResponse, AggregatorError> {
        let response = self.get(&format!("/v1/blobs/{id}"), None).await?;
        match response.status() {
            StatusCode::OK => BlobResponse::whole(response),
            _ => Err(AggregatorError::read(response).await),
        }
    }

    /// Asks for the bytes `range` of a blob.
    ///
    /// Aggregators know no other form: both ends given, the last one within the blob.
    ///
    /// # Errors
    /// [`AggregatorError`]; also when the whole is sent instead.
    pub async fn blob_range(
        &self,
        id: &BlobId,
        range: RangeInclusive<u64>,
    ) -> Result<BlobResponse, AggregatorError> {
        let response = self.get(&format!("/v1/blobs/{id}"), Some(&range)).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => BlobResponse::part(response, &range),
            StatusCode::OK => Err(InvalidAnswer::IgnoredRange.into()),
            _ => Err(AggregatorError::read(response).await),
        }
    }

    /// Asks whether there is a blob, by HEAD: the status of the answer. An aggregator reads the whole
    /// blob for that, so ask for one that does not exist.
    ///
    /// # Errors
    /// [`AggregatorError`], if there is no answer.
    pub async fn presence(&self, id: &BlobId) -> Result<StatusCode, AggregatorError> {
        let path = format!("/v1/blobs/{id}");
        Ok(self.send(Method::HEAD, &path, None).await?.status())
    }

    /// Asks for the first byte of a blob, the least that a read can cost. Who sends the whole instead,
    /// as old aggregators and some caches do, is let off after its head.
    ///
    /// # Errors
    /// [`AggregatorError`]; also when a page comes instead of a blob.
    pub async fn first_byte(&self, id: &BlobId) -> Result<(), AggregatorError> {
        let path = format!("/v1/blobs/{id}");
        let response = self.get(&path, Some(&(0..=0))).await?;
        let media = response.headers().get(header::CONTENT_TYPE);
        if media.is_some_and(|media| media.as_bytes().starts_with(b"text/html")) {
            return Err(InvalidAnswer::Page.into());
        }
        match response.status() {
            StatusCode::OK => BlobResponse::whole(response).map(drop),
            StatusCode::PARTIAL_CONTENT => {
                let mut part = BlobResponse::part(response, &(0..=0))?;
                while part.chunk().await.map_err(|_| InvalidAnswer::Short)?.is_some() {}
                Ok(())
            }
            _ => Err(AggregatorError::read(response).await),
        }
    }

    /// Asks which blob a Sui object holds.
    ///
    /// # Errors
    /// [`AggregatorError`].
    pub async fn resolve_object(
        &self,
        object: &ObjectId,
    ) -> Result<ResolvedObject, AggregatorError> {
        let path = format!("/v1/blobs/by-object-id/{object}");
        // The first byte is the least that can be asked for; an empty blob has none.
        let mut response = self.get(&path, Some(&(0..=0))).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            response = self.get(&path, None).await?;
        }
        if !response.status().is_success() {
            return Err(AggregatorError::read(response).await);
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = text(header::ETAG).unwrap_or_default();
        let blob = etag.trim_matches('"').parse().map_err(|_| InvalidAnswer::Etag)?;
        let content_type = text(header::CONTENT_TYPE).map(str::to_owned);
        Ok(ResolvedObject { blob, content_type })
    }

    /// Asks whether it is alive.
    ///
    /// # Errors
    /// [`AggregatorError`].
    pub async fn status(&self) -> Result<(), AggregatorError> {
        let response = self.get("/status", None).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(AggregatorError::read(response).await),
        }
    }

    async fn get(
        &self,
        path: &str,
        range: Option<&RangeInclusive<u64>>,
    ) -> Result<Response<Incoming>, AggregatorError> {
        self.send(Method::GET, path, range).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        range: Option<&RangeInclusive<u64>>,
    ) -> Result<Response<Incoming>, AggregatorError> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        *request.uri_mut() = self.base.join(path);
        if let Some(range) = range {
            let value = format!("bytes={}-{}", range.start(), range.end());
            let value = HeaderValue::try_from(value).expect("digits are visible ASCII");
            request.headers_mut().insert(header::RANGE, value);
        }
        self.http.send(request).await.map_err(AggregatorError::from_send)
    }
}

#[cfg(test)]
mod tests;
