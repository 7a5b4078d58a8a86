//! Why a call is refused, and what callers are told: every status code is chosen here.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use wcdn_proto::{Position, Region};

use crate::{
    log::LogError,
    pins, preloads,
    store::{StoreError, log::Refused, pins::Spared},
};

/// Who says so, in `ErrorInfo`.
const DOMAIN: &str = "wcdn.dev";

/// What callers are told to wait.
const RETRY: Duration = Duration::from_secs(1);

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field, such as `ids[3]`.
    pub(crate) field: String,
    /// What is wrong with it: the value and the remedy.
    pub(crate) problem: String,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $({ $($field:ident: $type:ty),* })? => $code:ident, $reason:literal,)*) => {
        /// Why a call is refused.
        #[derive(Debug)]
        pub(crate) enum Refusal {
            $($(#[$doc])* $name $({ $($field: $type),* })?,)*
        }

        impl Refusal {
            /// The stable reasons; `docs/errors.md` lists them for callers.
            #[cfg(test)]
            pub(crate) const ALL: &[(&str, Code)] = &[$(($reason, Code::$code),)*];

            /// The stable reason, in `ErrorInfo`.
            pub(crate) fn reason(&self) -> &'static str {
                match self { $(Self::$name { .. } => $reason,)* }
            }

            fn code(&self) -> Code {
                match self { $(Self::$name { .. } => Code::$code,)* }
            }
        }
    };
}

refusals! {
    /// There is no API key.
    KeyMissing => Unauthenticated, "API_KEY_MISSING",
    /// It was copied badly.
    KeyDamaged => Unauthenticated, "API_KEY_DAMAGED",
    /// It is none of ours.
    KeyUnknown => Unauthenticated, "API_KEY_UNKNOWN",
    /// Neither the cluster's token nor a client certificate.
    EdgeUnknown => Unauthenticated, "EDGE_UNKNOWN",
    /// The request makes no sense.
    Invalid { violations: Vec<Violation> } => InvalidArgument, "INVALID_REQUEST",
    /// The idempotency token is of another request.
    TokenReused { change: String } => FailedPrecondition, "IDEMPOTENCY_TOKEN_REUSED",
    /// The pool to replace is not the present one.
    PoolChanged { revision: u64 } => Aborted, "ORIGINS_CHANGED",
    /// The list of operators cannot be had, or must not be followed.
    List { problem: String } => FailedPrecondition, "OPERATORS_REFUSED",
    /// There is no such change, or it is older than the log.
    NoChange { id: String } => NotFound, "CHANGE_UNKNOWN",
    /// The log does not reach back so far, or is another one.
    LogTruncated { after: Position, oldest: Position } => OutOfRange, "LOG_TRUNCATED",
    /// There is no room for more of it now.
    Full { what: &'static str } => ResourceExhausted, "OVERLOADED",
    /// More ids would be withheld than may be.
    BlocksFull { most: usize } => ResourceExhausted, "TOO_MANY_BLOCKS",
    /// More blobs would be pinned than may be.
    PinsFull { most: usize } => ResourceExhausted, "TOO_MANY_PINS",
    /// What should be purged is pinned.
    Pinned { spared: Spared } => FailedPrecondition, "PINNED",
    /// There is no such preload, or it is forgotten.
    NoPreload { id: String } => NotFound, "PRELOAD_UNKNOWN",
    /// No node of this region could do it; of any, if none is named.
    NoNodes { region: Option<Region> } => FailedPrecondition, "NO_NODES",
    /// An edge claims more than the log holds, and has not proven it.
    Unproven { applied: Position, head: Position } => FailedPrecondition, "POSITION_UNPROVEN",
    /// A later start of a node of this name has a session.
    NameTaken { node: String } => AlreadyExists, "NODE_NAME_TAKEN",
    /// The node has another session by now.
    Superseded => Aborted, "SESSION_SUPERSEDED",
    /// A new log began: nodes learn of it when they open a session again.
    EpochRaised => Aborted, "EPOCH_RAISED",
    /// The caller's deadline, as far as it was told.
    Deadline => DeadlineExceeded, "DEADLINE",
    /// The reader of a stream took nothing for too long, or is gone.
    Stalled => Cancelled, "STREAM_STALLED",
    /// The process leaves.
    Draining => Unavailable, "DRAINING",
    /// The store failed; whether a change was written is not known.
    StoreFailed => Unavailable, "STORE_FAILED",
}

impl Refusal {
    /// One violation.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let violation = Violation { field: field.into(), problem: problem.into() };
        Self::Invalid { violations: vec![violation] }
    }

    fn message(&self) -> String {
        match self {
            Self::KeyMissing => "an API key is needed: send it as \"x-api-key\", or as \
                \"authorization: Bearer …\"; `wcdn-control-plane create-key NAME` makes one"
                .into(),
            Self::KeyDamaged => "the API key is damaged: digits are missing or changed; copy it \
                again"
                .into(),
            Self::KeyUnknown => "the API key is unknown to this control plane; \
                `wcdn-control-plane create-key NAME` makes one"
                .into(),
            Self::EdgeUnknown => {
                "edges must show the token that follows from the cluster's key, as \
                \"authorization: Bearer …\", or a client certificate; is cluster.key_file the same \
                on both sides?"
                    .into()
            }
            Self::Invalid { violations } => told(violations),
            Self::TokenReused { change } => format!(
                "the idempotency token was used for another request, which became {change}; choose \
                 a new one"
            ),
            Self::PoolChanged { revision } => {
                format!("the origin pool has revision {revision} by now; read it, and set it again")
            }
            Self::List { problem } => format!("the origins stay as they are: {problem}"),
            Self::NoChange { id } => {
                format!("there is no change {id:?}, or it is older than the log")
            }
            Self::LogTruncated { after, oldest } => format!(
                "the log no longer has what follows {}:{}; it begins after {}:{}",
                after.epoch, after.seq, oldest.epoch, oldest.seq
            ),
            Self::Full { what } => format!("there are too many {what}; try again"),
            Self::BlocksFull { most } => {
                format!("more than {most} ids would be withheld (limits.max_blocks)")
            }
            Self::PinsFull { most } => {
                format!("more than {most} blobs would be pinned (limits.max_pins)")
            }
            Self::Pinned { spared } => pinned(spared),
            Self::NoPreload { id } => format!(
                "there is no preload {id:?} here: it is kept for an hour, by the control plane that was \
                 asked for it, until that stops"
            ),
            Self::NoNodes { region: Some(region) } => {
                format!("no node of region {region} has a session with this control plane")
            }
            Self::NoNodes { region: None } => {
                "no node has a session with this control plane".into()
            }
            Self::Unproven { applied, head } => format!(
                "the node claims to have applied {}:{}, but the log ends at {}:{}, and no frame that \
                 was signed here proves more; is this the node's control plane, and its store whole?",
                applied.epoch, applied.seq, head.epoch, head.seq
            ),
            Self::NameTaken { node } => {
                format!("a later start of node {node:?} has a session; is its name used twice?")
            }
            Self::Superseded => "the node has opened another session".into(),
            Self::EpochRaised => "a new log began; open the session again".into(),
            Self::Deadline => "the deadline has passed".into(),
            Self::Stalled => "the stream was not read".into(),
            Self::Draining => "the control plane stops; ask another one, or again".into(),
            Self::StoreFailed => "the store failed; a change may have been written all the same: \
                the same request under the same idempotency token is safe"
                .into(),
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::with_error_info(self.reason(), DOMAIN, HashMap::new());
        match self {
            Self::Invalid { violations } => {
                for Violation { field, problem } in violations {
                    details.add_bad_request_violation(field, problem);
                }
            }
            Self::Full { .. } | Self::Draining | Self::StoreFailed | Self::EpochRaised => {
                details.set_retry_info(Some(RETRY));
            }
            _ => {}
        }
        details
    }
}

fn pinned(Spared { some, count }: &Spared) -> String {
    let mut named: Vec<String> = some.iter().map(ToString::to_string).collect();
    let others = count.saturating_sub(named.len() as u64);
    if others > 0 {
        named.push(format!("and {others} more"));
    }
    format!(
        "nothing was purged, since {count} of the blobs are pinned: {}; unpin them, or purge with force: \
         then the pins stay, and their bytes are fetched anew",
        named.join(", ")
    )
}

/// The first few; all are in the details.
fn told(violations: &[Violation]) -> String {
    let mut told: Vec<String> = violations
        .iter()
        .take(3)
        .map(|Violation { field, problem }| format!("{field} {problem}"))
        .collect();
    if violations.len() > 3 {
        told.push(format!("and {} more", violations.len() - 3));
    }
    told.join("; ")
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::with_error_details(refusal.code(), refusal.message(), refusal.details())
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Full { what: "changes waiting to be written" },
            LogError::Closed => Self::Draining,
            // The log has told of it.
            LogError::Store(_) => Self::StoreFailed,
            LogError::Refused(Refused::BlocksFull { most }) => Self::BlocksFull { most },
            LogError::Refused(Refused::PinsFull { most }) => Self::PinsFull { most },
            LogError::Refused(Refused::Pinned(spared)) => Self::Pinned { spared },
            LogError::Refused(Refused::TokenReused { change }) => Self::TokenReused { change },
            LogError::Refused(Refused::PoolChanged { revision }) => Self::PoolChanged { revision },
        }
    }
}

impl From<preloads::Refused> for Refusal {
    fn from(refused: preloads::Refused) -> Self {
        match refused {
            preloads::Refused::NoNodes(region) => Self::NoNodes { region },
            preloads::Refused::Full => Self::Full { what: "preloads" },
        }
    }
}

impl From<pins::Wrong> for Refusal {
    fn from(wrong: pins::Wrong) -> Self {
        match wrong {
            pins::Wrong::Id(n) => {
                Self::invalid(format!("report.pins.states[{n}].id"), "must have 32 bytes")
            }
            pins::Wrong::TooMany => {
                Self::invalid("report.pins", "tells of more blobs than limits.max_pins")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "store cannot be read");
        Self::StoreFailed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_to_callers() {
        let reference = include_str!("../../../docs/errors.md");
        for (reason, code) in Refusal::ALL {
            let code = format!("{code:?}");
            let row = format!("| `{reason}` | {code} |");
            assert!(reference.contains(&row), "docs/errors.md lacks {row}");
        }
    }

    #[test]
    fn a_status_tells_reason_fields_and_when_to_try_again() {
        let status = Status::from(Refusal::invalid("ids[3]", "is \"x\"; a blob id has 43 digits"));
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_REQUEST");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "ids[3]");
        let busy = Status::from(Refusal::Full { what: "sessions" }).get_error_details();
        assert_eq!(busy.retry_info().unwrap().retry_delay, Some(RETRY));
    }
}
