//! Why a call is refused, and what callers are told, whichever way they came.

use std::{net::IpAddr, time::Duration};

use tonic::Code;
use wcdn_proto::{Position, Region, Scope};

use crate::{
    limits::{Decision, whole_seconds},
    log::LogError,
    pins, preloads,
    store::{StoreError, keys::KeyRefused, log::Refused, pins::Spared},
};

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

            /// The stable reason.
            pub(crate) fn reason(&self) -> &'static str {
                match self { $(Self::$name { .. } => $reason,)* }
            }

            /// What kind of failure it is, as gRPC tells them apart.
            pub(crate) fn code(&self) -> Code {
                match self { $(Self::$name { .. } => Code::$code,)* }
            }
        }
    };
}

refusals! {
    /// There is no such call.
    NoCall { name: String } => Unimplemented, "CALL_UNKNOWN",
    /// There is no API key.
    KeyMissing => Unauthenticated, "API_KEY_MISSING",
    /// It was copied badly.
    KeyDamaged => Unauthenticated, "API_KEY_DAMAGED",
    /// It is none of ours.
    KeyUnknown => Unauthenticated, "API_KEY_UNKNOWN",
    /// It was ended.
    KeyRevoked { key: String } => Unauthenticated, "API_KEY_REVOKED",
    /// Its time is over.
    KeyExpired { key: String } => Unauthenticated, "API_KEY_EXPIRED",
    /// It has another text by now.
    KeyRotated { key: String } => Unauthenticated, "API_KEY_ROTATED",
    /// Too many keys that are none came from this address.
    TooManyFailures { wait: Duration } => ResourceExhausted, "TOO_MANY_FAILURES",
    /// More than a minute's worth was asked for.
    RateLimited { budget: Box<Decision> } => ResourceExhausted, "RATE_LIMITED",
    /// It is good from other addresses only.
    AddressRefused { key: String, address: Option<IpAddr> } => PermissionDenied, "ADDRESS_NOT_ALLOWED",
    /// It has none of the scopes that admit.
    ScopeMissing { key: String, any_of: Vec<Scope> } => PermissionDenied, "SCOPE_MISSING",
    /// It is restricted to vaults.
    VaultsOnly { key: String } => PermissionDenied, "KEY_LIMITED_TO_VAULTS",
    /// A key would give what it does not have.
    BeyondCaller { what: String } => PermissionDenied, "BEYOND_CALLER",
    /// There is no such hook.
    NoHook => NotFound, "HOOK_UNKNOWN",
    /// There is a hook of this name.
    HookNameTaken { name: String } => AlreadyExists, "HOOK_NAME_TAKEN",
    /// A call through a hook is not from whom it should be.
    HookNotSigned { problem: String } => Unauthenticated, "HOOK_NOT_SIGNED",
    /// The hook may not purge what is pinned.
    HookMayNotForce { hook: String } => PermissionDenied, "HOOK_MAY_NOT_FORCE",
    /// There is no such key.
    NoKey { key: String } => NotFound, "KEY_UNKNOWN",
    /// There is a key of this name, or was.
    KeyNameTaken { name: String } => AlreadyExists, "KEY_NAME_TAKEN",
    /// The key has ended.
    KeyEnded { key: String } => FailedPrecondition, "KEY_ENDED",
    /// The key to change is another one by now.
    KeyChanged { revision: u64 } => Aborted, "KEY_CHANGED",
    /// The key has as many texts as it may have.
    KeyTexts { key: String } => ResourceExhausted, "KEY_TOO_OFTEN_ROTATED",
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
    /// The blob is not pinned.
    NotPinned { id: String } => NotFound, "NOT_PINNED",
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

    /// For people: what is wrong, and the remedy.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::NoCall { name } => format!("there is no call {name:?}"),
            Self::KeyMissing => "an API key is needed: send it as \"x-api-key\", or as \
                \"authorization: Bearer …\"; `wcdn-control-plane create-key NAME` makes one"
                .into(),
            Self::KeyDamaged => "the API key is damaged: digits are missing or changed; copy it \
                again"
                .into(),
            Self::KeyUnknown => "the API key is unknown to this control plane; \
                `wcdn-control-plane create-key NAME` makes one"
                .into(),
            Self::KeyRevoked { key } => format!("the API key {key:?} was revoked; use another one"),
            Self::KeyExpired { key } => format!("the API key {key:?} has expired; use another one"),
            Self::KeyRotated { key } => {
                format!("the API key {key:?} was rotated; use the text that it was given then")
            }
            Self::TooManyFailures { wait } => format!(
                "too many API keys that are none came from this address; try again in {} s",
                wait.as_secs().max(1)
            ),
            Self::RateLimited { budget } => format!(
                "more was asked for than {} requests a minute; try again in {} s",
                budget.quota,
                whole_seconds(budget.wait.unwrap_or_default()).max(1)
            ),
            Self::AddressRefused { key, address } => {
                let address = address.map_or("an unknown address".to_owned(), |it| it.to_string());
                format!("the API key {key:?} is not good from {address}; see its networks")
            }
            Self::ScopeMissing { key, any_of } => {
                let names: Vec<&str> = any_of.iter().map(|scope| scope.as_str()).collect();
                let names = names.join(" or ");
                format!(
                    "the API key {key:?} lacks the scope {names}; whoever has keys:admin can add it"
                )
            }
            Self::VaultsOnly { key } => {
                format!(
                    "the API key {key:?} is restricted to vaults, and this touches more than them"
                )
            }
            Self::BeyondCaller { what } => {
                format!(
                    "the caller's key lacks {what}; no key gives, or takes over, what it does not have"
                )
            }
            Self::NoHook => "there is no such hook; `wcdn hooks` lists them".into(),
            Self::HookNameTaken { name } => {
                format!("there is a hook {name:?} already; choose another name")
            }
            Self::HookNotSigned { problem } => format!("the call is not believed: {problem}"),
            Self::HookMayNotForce { hook } => format!(
                "the hook {hook:?} may not purge what is pinned; leave \"force\" out, or make a hook that may"
            ),
            Self::NoKey { key } => format!("there is no key {key:?}; name its id or its name"),
            Self::KeyNameTaken { name } => format!(
                "there is a key {name:?}, or was: changes and the audit log name it; choose another name"
            ),
            Self::KeyEnded { key } => format!("the key {key:?} was revoked; make another one"),
            Self::KeyChanged { revision } => {
                format!("the key has revision {revision} by now; read it, and change it again")
            }
            Self::KeyTexts { key } => format!(
                "the key {key:?} has as many texts as may be good at once; wait for one to end, or rotate it \
                 without grace"
            ),
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
                format!(
                    "there is no change {id:?}, or it is older than the log, or the log lacks it since a \
                     standby was promoted or a copy restored: then make it again"
                )
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
            Self::NotPinned { id } => format!("{id} is not pinned"),
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

    /// After how long the same may succeed; none if it would not.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyFailures { wait } => Some(*wait),
            Self::RateLimited { budget } => budget.wait,
            Self::Full { .. } | Self::Draining | Self::StoreFailed | Self::EpochRaised => {
                Some(RETRY)
            }
            _ => None,
        }
    }

    /// The fields that are wrong.
    pub(crate) fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid { violations } => violations,
            _ => &[],
        }
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
            LogError::Refused(Refused::Key(refused)) => refused.into(),
        }
    }
}

impl From<KeyRefused> for Refusal {
    fn from(refused: KeyRefused) -> Self {
        match refused {
            KeyRefused::NameTaken(name) => Self::KeyNameTaken { name },
            KeyRefused::Unknown(key) => Self::NoKey { key },
            KeyRefused::Revoked(key) => Self::KeyEnded { key },
            KeyRefused::Changed { revision } => Self::KeyChanged { revision },
            KeyRefused::Texts(key) => Self::KeyTexts { key },
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
        let reference = include_str!("../../docs/errors.md");
        for (reason, code) in Refusal::ALL {
            let code = format!("{code:?}");
            let row = format!("| `{reason}` | {code} |");
            assert!(reference.contains(&row), "docs/errors.md lacks {row}");
        }
    }
}
