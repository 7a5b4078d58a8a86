//! Why a fill gave nothing, told so that the viewer's answer and the operator's log follow from it.

use std::{fmt, time::Duration};

use wcdn_proto::OriginName;

use crate::metrics::ShedReason;

/// Why a fill ended without the bytes.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Origins agree that there is no such blob.
    #[error("no origin has the blob")]
    NotFound,
    /// Origins agree that the blob is withheld for legal reasons.
    #[error("origins withhold the blob for legal reasons")]
    Blocked,
    /// There was no room to begin or to check.
    #[error("no room: {0:?}")]
    Shed(ShedReason),
    /// The client has begun too many fills.
    #[error("this address asks for too much that is not in the cache")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Every origin that might have served failed.
    #[error("no origin served the blob: {tried}")]
    Exhausted {
        /// Who was asked, and what came of it.
        tried: Tried,
        /// What the failures have in common.
        kind: Exhaustion,
    },
    /// The bytes that viewers were being sent turned out not to be the blob.
    #[error("the bytes received are not the blob: {tried}")]
    Corrupt {
        /// Who was asked, and what came of it.
        tried: Tried,
    },
    /// No answer came in the time a viewer is kept waiting.
    #[error("no answer within {waited:?}: {tried}")]
    Slow {
        /// How long the viewer waited.
        waited: Duration,
        /// Who had been asked by then.
        tried: Tried,
    },
    /// The blob is too large to be checked, and nothing is served unchecked.
    #[error("the blob has {total} bytes, more than can be verified")]
    Unverifiable {
        /// Bytes of the blob.
        total: u64,
    },
    /// An event removed the bytes while they were fetched, again and again.
    #[error("the blob was purged while it was fetched")]
    Overtaken,
    /// The control plane blocked the id while the response was sent.
    #[error("the id was blocked meanwhile")]
    Withheld,
    /// Nobody reads it any more, or the node stops.
    #[error("the fill was given up")]
    Abandoned,
}

/// What the failures of all origins have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhaustion {
    /// They are there, but have no room; the longest `Retry-After` they gave.
    Busy(Option<Duration>),
    /// They did not answer in time.
    TimedOut,
    /// Anything else.
    Broken,
}

/// Who was asked, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Tried(Vec<(OriginName, String)>);

impl Tried {
    /// Adds a failure.
    pub fn push(&mut self, origin: OriginName, error: &dyn fmt::Display) {
        self.0.push((origin, error.to_string()));
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none was asked");
        }
        self.0.iter().enumerate().try_for_each(|(n, (origin, error))| {
            write!(f, "{}{origin}: {error}", if n == 0 { "" } else { "; " })
        })
    }
}
