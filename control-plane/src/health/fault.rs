//! What can be wrong with an answer, by who must do something about it.

use std::{error::Error, time::Duration};

use wcdn_walrus::{AggregatorError, Outage, PublisherError};

/// What was wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// For people.
    pub(crate) reason: String,
}

/// The kinds of what can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Its host has no address.
    Dns,
    /// It accepts no connection.
    Connect,
    /// It does not speak TLS, or shows a wrong certificate.
    Tls,
    /// The connection broke.
    Broken,
    /// No answer in time.
    Timeout,
    /// It has no room.
    Throttled,
    /// It answers an error.
    Error,
    /// It answers what makes no sense.
    Wrong,
    /// It does not have a blob that others have.
    Missing,
    /// Its bytes are not the blob.
    Lied,
    /// Nobody knows whether the answer is right.
    Unknown,
    /// It may not be asked.
    Skipped,
}

/// Characters of a reason.
const MAX_REASON: usize = 200;

impl FaultKind {
    const ALL: [Self; 12] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Broken,
        Self::Timeout,
        Self::Throttled,
        Self::Error,
        Self::Wrong,
        Self::Missing,
        Self::Lied,
        Self::Unknown,
        Self::Skipped,
    ];

    /// As it is stored, told and counted.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Error => "error",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
            Self::Lied => "lied",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }

    /// Reads what [`as_str`](Self::as_str) says.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How much it counts against the origin; none if it says nothing about it. Who has no room is
    /// there, and will have some.
    pub(crate) fn weight(self) -> Option<f64> {
        match self {
            Self::Unknown | Self::Skipped => None,
            Self::Throttled => Some(0.5),
            _ => Some(1.0),
        }
    }

    /// Whether it could not be had at all.
    pub(crate) fn is_outage(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls | Self::Broken | Self::Timeout)
    }
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        // Part of it may be what somebody out there said.
        let reason = reason.into().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        Self { kind, reason }
    }

    /// No answer in time.
    pub(crate) fn timeout(after: Duration) -> Self {
        Self::new(FaultKind::Timeout, format!("no answer within {after:?}"))
    }

    /// What an aggregator answered instead of a blob that it should have.
    pub(crate) fn of_read(error: &AggregatorError) -> Self {
        use AggregatorError as E;
        let kind = match (error.outage(), error) {
            (Some(outage), _) => of_outage(outage),
            (None, E::TooManyRequests { .. } | E::Unavailable { .. }) => FaultKind::Throttled,
            (None, E::BlobNotFound) => FaultKind::Missing,
            (None, E::Invalid(_) | E::UnknownPath) => FaultKind::Wrong,
            // Its operator's choice.
            (None, E::TooLarge | E::Blocked) => FaultKind::Unknown,
            (None, _) => FaultKind::Error,
        };
        Self::new(kind, told(error))
    }

    /// Why a publisher did not answer.
    pub(crate) fn of_publisher(error: &PublisherError) -> Self {
        let kind = error.outage().map_or(FaultKind::Error, of_outage);
        Self::new(kind, told(error))
    }

    /// The status by which a blob was answered that does not exist; none if it is the right one.
    pub(crate) fn of_presence(status: u16) -> Option<Self> {
        let kind = match status {
            404 => return None,
            200..=299 => FaultKind::Wrong,
            429 | 503 => FaultKind::Throttled,
            _ => FaultKind::Error,
        };
        Some(Self::new(kind, format!("answers {status} for a blob that does not exist, not 404")))
    }
}

fn of_outage(outage: Outage) -> FaultKind {
    match outage {
        Outage::Name => FaultKind::Dns,
        Outage::Connect => FaultKind::Connect,
        Outage::Tls => FaultKind::Tls,
        Outage::Broken => FaultKind::Broken,
        Outage::Private => FaultKind::Skipped,
    }
}

/// An error with its causes, on one line.
pub(crate) fn told(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let text = error.to_string();
        // Libraries like to repeat their causes.
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::read(kind.as_str()), Some(kind));
        }
        assert_eq!(FaultKind::read("ok"), None);
    }

    #[test]
    fn only_404_is_right_for_what_does_not_exist() {
        let kind = |status| Fault::of_presence(status).map(|fault| fault.kind);
        assert_eq!(kind(404), None);
        assert_eq!(kind(200), Some(FaultKind::Wrong));
        assert_eq!(kind(429), Some(FaultKind::Throttled));
        assert_eq!(kind(502), Some(FaultKind::Error));
    }
}
