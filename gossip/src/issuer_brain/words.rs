//! What an issuer's brain is given, told, and says.

use std::{net::SocketAddr, sync::Arc};

use wcdn_proto::{NodeId, Position, Region};

use crate::{
    frame::{Frame, IssuerKeys, SigningKey},
    member::Member,
    message::Message,
    ring::RingSize,
    time::Time,
};

/// Who an issuer is.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its name among the members.
    pub node: NodeId,
    /// Signs leases; frames come signed.
    pub key: Arc<SigningKey>,
    /// Whose frames it passes on: its own, and those of other issuers of the log.
    pub keys: IssuerKeys,
    /// How much it keeps to send again.
    pub ring: RingSize,
    /// When it does what.
    pub timing: IssuerTiming,
    /// The Unix time, in nanoseconds, at which its clock was zero: a node that says to have started
    /// long after now is not believed.
    pub clock_origin_ns: u64,
}

/// When an issuer does what.
#[derive(Debug, Clone)]
pub struct IssuerTiming {
    /// Until the second copy of what was published at a low rate. 5 ms: a burst of loss is mostly
    /// over by then, and two copies at 1 % loss are 1e-4.
    pub copy_delay: Time,
    /// The least time until frames are sent again. 20 ms, above a busy node's ack interval.
    pub min_resend: Time,
    /// The most, unless a round trip takes longer. 200 ms.
    pub max_resend: Time,
    /// The same, for a node whose round trip is not known: above every round trip on land. 300 ms.
    pub first_resend: Time,
    /// The most between two reminders to a node that has not confirmed the head. 100 ms: a partition that
    /// heals is noticed as fast, at 0.5 kB/s for each node that is away.
    pub reminder_interval: Time,
}

impl Default for IssuerTiming {
    fn default() -> Self {
        Self {
            copy_delay: Time::from_millis(5),
            min_resend: Time::from_millis(20),
            max_resend: Time::from_millis(200),
            first_resend: Time::from_millis(300),
            reminder_interval: Time::from_millis(100),
        }
    }
}

/// What an issuer is told.
#[derive(Debug)]
pub enum Input {
    /// These were committed: send them. Frames that were published before are sent again.
    Publish(Vec<Frame>),
    /// Others have committed these, and send them: nodes that do not confirm them are reminded, and sent
    /// what they then ask for. So whoever commits and dies before it sends is stood in for.
    Learn(Vec<Frame>),
    /// A datagram of the cluster.
    Received {
        /// Who sent it.
        from: SocketAddr,
        /// What it holds.
        message: Message,
    },
    /// Who is known now, whole.
    Members(Vec<Member>),
    /// The head of the log, read after [`Action::ReadHead`] asked for it.
    HeadRead {
        /// As asked.
        to: SocketAddr,
        /// As asked.
        nonce: u64,
        /// Of the log.
        head: Position,
    },
    /// A session reported.
    Heard(Heard),
    /// Time has passed.
    Tick,
}

/// What a session with a node tells.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its name.
    pub node: NodeId,
    /// Of this start of the node.
    pub incarnation: u64,
    /// Where it stands.
    pub region: Region,
    /// Whether it stops serving when it cannot confirm the head in time.
    pub is_strict: bool,
    /// Everything up to here is applied.
    pub applied: Position,
}

/// What an issuer does.
#[derive(Debug)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What it holds.
        message: Message,
    },
    /// Read the head of the log from the store, beginning now and not before, and answer with
    /// [`Input::HeadRead`]; if it cannot be read, not at all.
    ReadHead {
        /// Who asked.
        to: SocketAddr,
        /// Under what.
        nonce: u64,
    },
}

/// What happened, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IssuerCounts {
    /// Frames published.
    pub published: u64,
    /// Datagrams of frames sent for the first time, their second copies included.
    pub pushes: u64,
    /// Datagrams of frames sent again to nodes that did not confirm.
    pub resends: u64,
    /// Reminders sent.
    pub reminders: u64,
    /// Datagrams of frames sent to nodes that asked.
    pub repairs: u64,
    /// Frames that were malformed, or signed by nobody who is believed.
    pub refused: u64,
}

/// A node as an issuer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// Whether it stops serving when it cannot confirm the head in time.
    pub is_strict: bool,
    /// What it has applied, as it said last: a claim, maybe beyond what was ever committed.
    pub applied: Position,
    /// What it has confirmed: the highest claim that the log is known to reach, which is what counts
    /// in receipts.
    pub settled: Position,
    /// How long ago it said anything.
    pub heard_ago: Option<Time>,
    /// How long the head counts as confirmed there, as it told by a datagram; zero if it did not.
    pub lease: Time,
}
