//! One node as the control plane sees it.

use std::time::Duration;

use tokio::time::Instant;
use wcdn_proto::{NodeId, Position, Region};

use super::Windows;

/// Who a node says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) node: NodeId,
    pub(crate) region: Region,
    /// Of this start of it: larger is newer.
    pub(crate) incarnation: u64,
    /// Of its program.
    pub(crate) version: String,
    /// Where viewers reach it.
    pub(crate) edge_url: String,
    /// Whether it stops serving when it cannot confirm the head.
    pub(crate) strict: bool,
}

/// A node of an earlier run of the control plane.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) who: Registered,
    pub(crate) applied: Position,
    pub(crate) is_lost: bool,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has confirmed the head within the lease.
    Live,
    /// It has not, and goes on serving.
    Unconfirmed,
    /// It has not, and has stopped.
    Fenced,
    /// It is gone.
    Lost,
}

/// A node, for those who ask.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) who: Registered,
    pub(crate) applied: Position,
    pub(crate) state: State,
    pub(crate) confirmed_ago: Duration,
    pub(crate) has_session: bool,
}

/// A node. The tracker alone writes it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) who: Registered,
    /// The furthest it ever told in this registration.
    pub(super) applied: Position,
    /// The number of its session.
    pub(super) session: Option<u64>,
    /// When it last was known to be at the head.
    pub(super) confirmed: Instant,
    /// When its last session ended.
    pub(super) left: Instant,
    pub(super) is_lost: bool,
}

impl Registered {
    /// A node that confirms, and has not said yet who it is besides.
    pub(crate) fn unnamed(node: NodeId, region: Region, strict: bool) -> Self {
        let (version, edge_url) = (String::new(), String::new());
        Self { node, region, incarnation: 0, version, edge_url, strict }
    }
}

impl State {
    /// As one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Unconfirmed => "unconfirmed",
            Self::Fenced => "fenced",
            Self::Lost => "lost",
        }
    }
}

impl Node {
    pub(super) fn known(known: Known, now: Instant) -> Self {
        let Known { who, applied, is_lost } = known;
        Self { who, applied, session: None, confirmed: now, left: now, is_lost }
    }

    pub(super) fn registered(
        who: Registered,
        applied: Position,
        session: u64,
        now: Instant,
    ) -> Self {
        let session = Some(session);
        Self { who, applied, session, confirmed: now, left: now, is_lost: false }
    }

    /// A session is watched by keep-alives, so a node that has one and is at the head needs to say
    /// nothing.
    fn confirmed_ago(&self, head: Position, now: Instant) -> Duration {
        let is_at_head = self.session.is_some() && self.applied >= head;
        if is_at_head { Duration::ZERO } else { now - self.confirmed }
    }

    pub(super) fn state(&self, head: Position, windows: Windows, now: Instant) -> State {
        if self.is_lost {
            State::Lost
        } else if self.confirmed_ago(head, now) < windows.lease {
            State::Live
        } else if self.who.strict {
            State::Fenced
        } else {
            State::Unconfirmed
        }
    }

    pub(super) fn standing(&self, head: Position, windows: Windows, now: Instant) -> Standing {
        Standing {
            who: self.who.clone(),
            applied: self.applied,
            state: self.state(head, windows, now),
            confirmed_ago: self.confirmed_ago(head, now),
            has_session: self.session.is_some(),
        }
    }
}
