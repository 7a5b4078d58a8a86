//! One question to an origin, and what came of it.

use std::time::Duration;

use wcdn_proto::BlobId;

use super::fault::{Fault, FaultKind};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Whether it says of a blob that does not exist that it does not.
    Absent,
    /// Whether it gives the first byte of one that does.
    Read,
    /// Whether the bytes of a whole blob are the blob.
    Verify,
    /// Whether anybody answers.
    Alive,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probe {
    /// When it was asked: Unix time in milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) asked: Asked,
    /// Until the answer, or until it was given up.
    pub(crate) took: Duration,
    pub(crate) outcome: Result<(), Fault>,
    /// The blob whose bytes were looked at, if any were. Not stored.
    pub(crate) about: Option<BlobId>,
}

impl Asked {
    const ALL: [Self; 4] = [Self::Absent, Self::Read, Self::Verify, Self::Alive];

    /// As it is stored and told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Read => "read",
            Self::Verify => "verify",
            Self::Alive => "alive",
        }
    }

    /// Reads what [`as_str`](Self::as_str) says.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asked| asked.as_str() == text)
    }
}

impl Probe {
    /// Whether it was answered as it should; none if that says nothing about the origin.
    pub(crate) fn is_good(&self) -> Option<bool> {
        match &self.outcome {
            Ok(()) => Some(true),
            Err(fault) => fault.kind.weight().map(|_| false),
        }
    }

    /// As it is stored and told: `ok`, or the kind of fault.
    pub(crate) fn result(&self) -> &'static str {
        self.outcome.as_ref().map_or_else(|fault| fault.kind.as_str(), |()| OK)
    }

    /// What failed, for people; empty if nothing did.
    pub(crate) fn reason(&self) -> &str {
        self.outcome.as_ref().map_or_else(|fault| fault.reason.as_str(), |()| "")
    }

    /// Whether it could not be had at all: which may be the fault of who asks.
    pub(crate) fn is_outage(&self) -> bool {
        self.outcome.as_ref().is_err_and(|fault| fault.kind.is_outage())
    }
}

const OK: &str = "ok";

/// Reads result and reason as they are stored.
pub(crate) fn read_outcome(result: &str, reason: String) -> Option<Result<(), Fault>> {
    match result {
        OK => Some(Ok(())),
        kind => FaultKind::read(kind).map(|kind| Err(Fault { kind, reason })),
    }
}
