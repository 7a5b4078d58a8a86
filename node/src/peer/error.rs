//! Why a peer gave no (further) bytes.

use std::time::Duration;

use super::{
    link::LinkError,
    wire::{Odd, Refusal},
};
use crate::{
    cache::negative::Absence,
    origin::{meter::Trickle, standing::Verdict},
};

/// Why a peer gave no (further) bytes.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no connection to it.
    #[error("it cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// As many requests as may be are under way.
    #[error("{0} requests to it are under way, which is the limit")]
    Full(usize),
    /// It said nothing, not even that it has no answer.
    #[error("no answer for {0:?}")]
    Silent(Duration),
    /// It answered that it does not give the blob.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its answer makes no sense.
    #[error("its answer makes no sense")]
    Odd(#[from] Odd),
    /// The connection broke, or it broke off the body.
    #[error("it broke off")]
    Lost(#[source] hyper::Error),
    /// It stopped sending.
    #[error("no byte for {0:?}")]
    Stalled(Duration),
    /// It sends, but hardly.
    #[error(transparent)]
    Trickling(#[from] Trickle),
    /// The body is longer or shorter than was said, or the blob is not as long as was known.
    #[error("it has another length")]
    Length,
    /// Its bytes are older than was asked for, or than those of this body that are here.
    #[error("its bytes are too old")]
    Older,
}

impl From<LinkError> for PeerError {
    fn from(error: LinkError) -> Self {
        Self::Unreachable(error.into())
    }
}

impl PeerError {
    /// What it says about the peer; nothing if it was not asked.
    pub fn verdict(&self) -> Option<Verdict> {
        Some(match self {
            Self::Full(_) => return None,
            Self::Unreachable(_)
            | Self::Silent(_)
            | Self::Stalled(_)
            | Self::Trickling(_)
            | Self::Refused(Refusal::Slow) => Verdict::Outage,
            Self::Lost(error) if is_of_connection(error) => Verdict::Outage,
            Self::Refused(Refusal::Busy(after)) => Verdict::Busy(*after),
            Self::Refused(Refusal::Failed) | Self::Lost(_) | Self::Odd(_) | Self::Length => {
                Verdict::Fault
            }
            Self::Refused(_) | Self::Older => Verdict::Answered,
        })
    }

    /// The label to count it under.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Full(_) => "full",
            Self::Silent(_) => "silent",
            Self::Refused(Refusal::Malformed) => "not_understood",
            Self::Refused(Refusal::Absent { absence: Absence::Blocked, .. }) => "blocked",
            Self::Refused(Refusal::Absent { absence: Absence::NotFound, .. }) => "not_found",
            Self::Refused(Refusal::Behind) | Self::Older => "behind",
            Self::Refused(Refusal::Large { .. }) => "large",
            Self::Refused(Refusal::Withheld) => "withheld",
            Self::Refused(Refusal::Failed) => "failed",
            Self::Refused(Refusal::Busy(_)) => "busy",
            Self::Refused(Refusal::Slow) => "slow",
            Self::Odd(_) | Self::Length => "odd",
            Self::Lost(_) => "broken",
            Self::Stalled(_) | Self::Trickling(_) => "stalled",
        }
    }
}

/// Whether the connection broke, rather than the peer one body off.
fn is_of_connection(error: &hyper::Error) -> bool {
    error.is_timeout()
        || error.is_closed()
        || error.is_canceled()
        || has_cause::<std::io::Error>(error)
}

fn has_cause<E: std::error::Error + 'static>(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}
