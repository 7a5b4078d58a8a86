//! One node as the control plane sees it.

use std::time::Duration;

use tokio::time::Instant;
use wcdn_proto::{NodeId, Position, Region};

use super::{Windows, heads::Heads};

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
    /// How long the head counts as confirmed there; zero if it has not said.
    pub(crate) lease: Duration,
}

/// A node of an earlier run of the control plane.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) who: Registered,
    pub(crate) applied: Position,
    /// Since when it is lost, if it is.
    pub(crate) lost_ago: Option<Duration>,
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
    /// The largest number of any session that it had.
    pub(super) latest_session: u64,
    /// When it last was known to lack nothing.
    confirmed: Instant,
    /// When it was last heard, or its session ended.
    pub(super) heard: Instant,
    /// Since when it is gone, if it is.
    pub(super) lost: Option<Instant>,
}

impl Registered {
    /// A node that confirms, and has not said yet who it is besides.
    pub(crate) fn unnamed(node: NodeId, region: Region, strict: bool, lease: Duration) -> Self {
        let (version, edge_url) = (String::new(), String::new());
        Self { node, region, incarnation: 0, version, edge_url, strict, lease }
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
        let Known { who, applied, lost_ago } = known;
        let lost = lost_ago.map(|ago| now.checked_sub(ago).unwrap_or(now));
        let (session, latest_session) = (None, 0);
        Self { who, applied, session, latest_session, confirmed: now, heard: now, lost }
    }

    pub(super) fn registered(
        who: Registered,
        applied: Position,
        session: u64,
        heads: &Heads,
        now: Instant,
    ) -> Self {
        let confirmed = heads.lacked_since(applied).map_or(now, |lacked| lacked.min(now));
        let (latest_session, session) = (session, Some(session));
        Self { who, applied, session, latest_session, confirmed, heard: now, lost: None }
    }

    /// It was heard, and has applied this much: it lacked nothing until then, or until there was
    /// something to lack.
    pub(super) fn confirm(&mut self, applied: Position, heard: Instant, heads: &Heads) {
        self.heard = self.heard.max(heard);
        self.applied = self.applied.max(applied);
        let until = heads.lacked_since(applied).map_or(heard, |lacked| lacked.min(heard));
        self.confirmed = self.confirmed.max(until);
    }

    /// A session is watched by keep-alives, so a node that has one is heard now without a word.
    fn confirmed_ago(&self, heads: &Heads, now: Instant) -> Duration {
        let heard = if self.session.is_some() { now } else { self.heard };
        let until = heads.lacked_since(self.applied).map_or(heard, |lacked| lacked.min(heard));
        now.saturating_duration_since(until.max(self.confirmed))
    }

    pub(super) fn state(&self, heads: &Heads, windows: Windows, now: Instant) -> State {
        // Its own clock may run one part in a hundred slower than ours.
        let lease = windows.lease.max(self.who.lease) * 101 / 100;
        if self.lost.is_some() {
            State::Lost
        } else if self.confirmed_ago(heads, now) < lease {
            State::Live
        } else if self.who.strict {
            State::Fenced
        } else {
            State::Unconfirmed
        }
    }

    pub(super) fn standing(&self, heads: &Heads, windows: Windows, now: Instant) -> Standing {
        Standing {
            who: self.who.clone(),
            applied: self.applied,
            state: self.state(heads, windows, now),
            confirmed_ago: self.confirmed_ago(heads, now),
            has_session: self.session.is_some(),
        }
    }
}
