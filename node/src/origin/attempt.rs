//! One try at one origin, with its deadlines.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use wcdn_proto::BlobId;
use wcdn_walrus::{AggregatorError, BlobResponse, BodyError, InvalidAnswer};

use super::{
    Origin, Permit,
    meter::{Meter, Trickle},
    standing::Verdict,
};
use crate::{config::Fetch, metrics::origin::Outcome};

/// Why a try at an origin gave no (further) bytes.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// It answered something else than the blob, or could not be reached.
    #[error(transparent)]
    Refused(#[from] AggregatorError),
    /// It did not begin to answer.
    #[error("no answer for {0:?}")]
    Silent(Duration),
    /// It stopped sending.
    #[error("no byte for {0:?}")]
    Stalled(Duration),
    /// It sends, but hardly.
    #[error(transparent)]
    Trickling(#[from] Trickle),
    /// The body broke off.
    #[error(transparent)]
    Broken(#[from] BodyError),
    /// It says that the blob has another length than the bytes so far came with.
    #[error("says the blob has {says} bytes; it began with {began}")]
    OtherLength {
        /// The length said now.
        says: u64,
        /// The length said first.
        began: u64,
    },
    /// It says a length that no blob of this network can have.
    #[error("says the blob has {0} bytes, more than can be encoded")]
    ImpossibleLength(u64),
    /// Its bytes are not the blob.
    #[error("its bytes are not the blob")]
    Lied,
}

impl AttemptError {
    /// What it says about the origin.
    pub fn verdict(&self) -> Verdict {
        match self {
            _ if self.is_busy() => Verdict::Busy(self.retry_after()),
            _ if self.is_timeout() => Verdict::Outage,
            Self::Refused(error) if error.is_outage() => Verdict::Outage,
            Self::Refused(error) if !error.is_fault_of_origin() => Verdict::Answered,
            Self::Lied => Verdict::Lie,
            _ => Verdict::Fault,
        }
    }

    /// Whether it says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.is_not_found())
    }

    /// Whether it refuses the blob as too large.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused(AggregatorError::TooLarge))
    }

    /// Whether an origin that was to go on where another broke off contradicts that other, or
    /// cannot go on in the middle: it may still give the whole.
    pub fn contradicts_beginning(&self) -> bool {
        matches!(
            self,
            Self::OtherLength { .. }
                | Self::Refused(
                    AggregatorError::RangeNotSatisfiable
                        | AggregatorError::Invalid(
                            InvalidAnswer::IgnoredRange | InvalidAnswer::ContentRange(_)
                        )
                )
        )
    }

    /// When the origin wishes to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether waiting, rather than an answer, ended the try.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Stalled(_) | Self::Trickling(_))
    }

    /// Whether the origin is there but has no room for us now.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                AggregatorError::TooManyRequests { .. } | AggregatorError::Unavailable { .. }
            )
        )
    }

    /// The label to count it under.
    pub fn outcome(&self) -> Outcome {
        match self {
            _ if self.is_not_found() => Outcome::NotFound,
            Self::Refused(error) if error.is_outage() => Outcome::Unreachable,
            _ if self.is_busy() => Outcome::Busy,
            Self::Refused(_) => Outcome::Refused,
            _ if self.is_timeout() => Outcome::TimedOut,
            Self::Broken(_) | Self::OtherLength { .. } | Self::ImpossibleLength(_) => {
                Outcome::Broken
            }
            _ => Outcome::Lied,
        }
    }
}

/// A response being read, under the deadlines of [`Fetch`].
#[derive(Debug)]
pub struct Download {
    response: BlobResponse,
    permit: Permit,
    idle: Duration,
    meter: Meter,
}

impl Download {
    /// Asks for a blob, or for `range` of it. The permit is held until the body has ended.
    ///
    /// # Errors
    /// Those of the origin's answer, and [`AttemptError::Silent`] when there is none in time.
    pub async fn open(
        permit: Permit,
        id: &BlobId,
        range: Option<RangeInclusive<u64>>,
        fetch: &Fetch,
    ) -> Result<Self, AttemptError> {
        let aggregator = permit.origin().aggregator();
        let asked = Instant::now();
        let response = in_time(&permit, fetch, async {
            match range {
                None => aggregator.blob(id).await,
                Some(range) => aggregator.blob_range(id, range).await,
            }
        })
        .await?;
        permit.origin().began(response.total(), asked.elapsed());
        let meter = Meter::new(fetch);
        let idle = fetch.idle_timeout.duration();
        Ok(Self { response, permit, idle, meter })
    }

    /// Bytes of the whole blob, as this origin says.
    pub fn total(&self) -> u64 {
        self.response.total()
    }

    /// Who is asked.
    pub fn origin(&self) -> &Arc<Origin> {
        self.permit.origin()
    }

    /// The next piece of the body; `None` at its proper end.
    ///
    /// # Errors
    /// When the body stalls, trickles or breaks off.
    ///
    /// # Cancel safety
    /// Cancel safe: no byte is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AttemptError> {
        let piece = timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| AttemptError::Stalled(self.idle))??;
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.origin().received(bytes);
        self.meter.count(bytes, Instant::now())?;
        Ok(piece)
    }
}

/// Runs one request up to its response head under the head deadline.
///
/// # Errors
/// The request's own, and [`AttemptError::Silent`].
pub async fn in_time<T>(
    permit: &Permit,
    fetch: &Fetch,
    request: impl Future<Output = Result<T, AggregatorError>>,
) -> Result<T, AttemptError> {
    let head = fetch.head_timeout.duration();
    match timeout(head, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            permit.origin().kept_waiting(head);
            Err(AttemptError::Silent(head))
        }
    }
}
