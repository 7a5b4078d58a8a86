//! What an edge's brain is given, told, and says.

use std::net::SocketAddr;

use wcdn_proto::{NodeId, Position, Region};

use crate::{
    frame::{Frame, IssuerKeys},
    member::Member,
    message::Message,
    ring::RingSize,
    seam::CaughtUp,
    time::Time,
};

/// Who an edge is, and where it begins.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Its name.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// Of this start: larger than any before.
    pub incarnation: u64,
    /// Whether it stops serving when it cannot confirm the head in time.
    pub is_strict: bool,
    /// How long the head counts as confirmed: issuers wait for as long before they say that the node
    /// has stopped.
    pub lease: Time,
    /// Whose frames it believes.
    pub keys: IssuerKeys,
    /// What is applied already: from disk, else [`Position::ORIGIN`].
    pub start: Position,
    /// How much it keeps for others.
    pub ring: RingSize,
    /// When it does what.
    pub timing: EdgeTiming,
}

/// When an edge does what.
#[derive(Debug, Clone)]
pub struct EdgeTiming {
    /// The least time between two acks. The first after a pause goes at once. 5 ms: at 10,000 events
    /// a second 200 acks tell of 50 each.
    pub ack_interval: Time,
    /// Between two digests to random members. 100 ms: at 1 % loss two rounds leave 1e-8 of holes, at
    /// 0.8 kB/s.
    pub digest_interval: Time,
    /// Between two polls of the head. 1 s: five in the lease's window of 5 s.
    pub poll_interval: Time,
    /// Until a poll without an answer is followed by one to the next issuer. 300 ms, above every
    /// round trip on land.
    pub poll_patience: Time,
    /// How old a hole is when issuers are asked for it. 50 ms: younger ones are mostly frames that
    /// were overtaken.
    pub want_patience: Time,
    /// Between two such questions. 100 ms.
    pub want_interval: Time,
    /// How old a hole is when the log is read. 300 ms: a resend or a neighbour has mended it before.
    pub hole_patience: Time,
    /// How long nobody confirmed the head when the log is read again and again, since datagrams may
    /// not come through. 3 s: three polls without an answer.
    pub blind_patience: Time,
    /// How many events may be missing before the log is read at once: 4,096.
    pub max_missing: u64,
}

impl Default for EdgeTiming {
    fn default() -> Self {
        Self {
            ack_interval: Time::from_millis(5),
            digest_interval: Time::from_millis(100),
            poll_interval: Time::from_secs(1),
            poll_patience: Time::from_millis(300),
            want_patience: Time::from_millis(50),
            want_interval: Time::from_millis(100),
            hole_patience: Time::from_millis(300),
            blind_patience: Time::from_secs(3),
            max_missing: 4_096,
        }
    }
}

/// What an edge is told.
#[derive(Debug)]
pub enum Input {
    /// A datagram of the cluster.
    Received {
        /// Who sent it.
        from: SocketAddr,
        /// What it holds.
        message: Message,
    },
    /// Who is known now, whole.
    Members(Vec<Member>),
    /// Membership says that there is this much; nobody has checked it.
    Hint(Position),
    /// The log was read as asked; `None` if it could not be.
    CaughtUp(Option<CaughtUp>),
    /// What the latest [`Action::Keep`] was about is kept.
    Kept,
    /// Time has passed.
    Tick,
}

/// What an edge does.
#[derive(Debug)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What it holds.
        message: Message,
    },
    /// Make these events true, at once.
    Apply(Frame),
    /// Keep what was blocked and unblocked by everything that was applied until now, and answer with
    /// [`Input::Kept`]; nothing waits for it. There is one at a time.
    Keep,
    /// Read the log, and answer once with [`Input::CaughtUp`]; nothing waits for it.
    CatchUp {
        /// The last position that is applied, be it kept or not.
        after: Position,
    },
}

/// What happened, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// Frames applied.
    pub applied: u64,
    /// Frames that were applied already.
    pub duplicates: u64,
    /// Frames that were malformed, or signed by nobody who is believed.
    pub refused: u64,
    /// Frames and leases of a lower epoch.
    pub outdated: u64,
    /// Datagrams of frames sent to others.
    pub repairs: u64,
    /// Times that the log was read.
    pub catch_ups: u64,
}
