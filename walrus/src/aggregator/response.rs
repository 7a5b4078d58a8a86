//! A blob, or a part of one, as it arrives from an aggregator.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{AggregatorError, BodyError, InvalidAnswer};

/// A response whose head made sense, and whose body is still to be read.
#[derive(Debug)]
pub struct BlobResponse {
    total: u64,
    length: u64,
    received: u64,
    body: Incoming,
}

impl BlobResponse {
    pub(super) fn whole(response: Response<Incoming>) -> Result<Self, AggregatorError> {
        let length = content_length(response.headers()).ok_or(InvalidAnswer::LengthUnknown)?;
        Ok(Self { total: length, length, received: 0, body: response.into_body() })
    }

    pub(super) fn part(
        response: Response<Incoming>,
        asked: &RangeInclusive<u64>,
    ) -> Result<Self, AggregatorError> {
        let text = response.headers().get(header::CONTENT_RANGE);
        let text = text.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let other = || InvalidAnswer::ContentRange(text.chars().take(80).collect());
        let (range, total) = content_range(text).ok_or_else(other)?;
        if range.start != *asked.start() || range.end != asked.end().saturating_add(1) {
            return Err(other().into());
        }
        let length = range.end - range.start;
        if content_length(response.headers()).is_some_and(|said| said != length) {
            return Err(InvalidAnswer::Contradiction.into());
        }
        Ok(Self { total, length, received: 0, body: response.into_body() })
    }

    /// Bytes of the whole blob, as the aggregator says.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next piece of the body; `None` once all of it has come.
    ///
    /// # Errors
    /// [`BodyError`] when the body ends early or runs over.
    ///
    /// # Cancel safety
    /// Cancel safe: no byte is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Self { length, .. } = *self;
        while let Some(frame) = self.body.frame().await {
            let received = self.received;
            let frame = frame.map_err(|cause| BodyError::Broken { received, length, cause })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.received = self.received.saturating_add(data.len() as u64);
            if self.received > length {
                return Err(BodyError::Long { length });
            }
            return Ok(Some(data));
        }
        match self.received == length {
            true => Ok(None),
            false => Err(BodyError::Short { received: self.received, length }),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `bytes A-B/total`, with A ≤ B < total.
pub(super) fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first..last + 1, total))
}
