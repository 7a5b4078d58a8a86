//! What nodes tell each other, one message to a datagram.
//!
//! On the wire each is a `wcdn.gossip.v1.Message` of at most [`MAX_MESSAGE`] bytes. What is
//! malformed, too long, or of an unknown kind is refused whole.

use bytes::Bytes;
use prost::Message as _;
use wcdn_proto::{
    InvalidName, NodeId, Position, Region,
    pb::{
        event::v1 as event,
        gossip::v1::{self as gossip, message::Kind},
    },
};

use crate::{
    frame::MAX_FRAME,
    ranges::{Ranges, SeqRange},
    time::Time,
};

/// The most bytes of a message: with its seal it fits a datagram of 1,200.
pub const MAX_MESSAGE: usize = 1_150;

/// The most ranges that a message names; of more, the lowest are told first.
pub const MAX_TOLD: usize = 32;

/// The longest lease that a node may tell of: twice what its configuration allows. Whoever claims more
/// would be waited for without end.
const MAX_LEASE: Time = Time::from_secs(600);

/// The most bytes of a note.
pub const MAX_NOTE: usize = 1_100;

/// Bytes that a frame costs in a message beyond its own: a tag and a length.
const FRAME_COST: usize = 3;

/// Bytes of a message around its frames: two tags and two lengths.
const PUSH_COST: usize = 6;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Encoded frames; nobody has checked them.
    Push(Vec<Bytes>),
    /// What an edge tells issuers.
    Ack(Standing),
    /// What an edge tells a random member.
    Digest {
        /// By the sender.
        applied: Applied,
        /// Whether it answers a digest, and so is not answered with one.
        is_answer: bool,
    },
    /// Asks for frames.
    Want {
        /// Of the frames.
        epoch: u64,
        /// Which; at least one.
        missing: Vec<SeqRange>,
    },
    /// Asks for the head of the log, read after this arrived.
    Poll {
        /// Comes back in the answer.
        nonce: u64,
        /// As in an Ack.
        standing: Standing,
    },
    /// Answers a Poll.
    Lease(Lease),
    /// A reminder that there is this much; a hint.
    Head(Position),
    /// What one edge tells another beside events.
    Note(Bytes),
}

/// Who a node is, and what it has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub node: NodeId,
    /// Of this start of the node: larger is newer.
    pub incarnation: u64,
    /// Where it stands.
    pub region: Region,
    /// Whether it stops serving when it cannot confirm the head in time.
    pub is_strict: bool,
    /// How long the head counts as confirmed there; zero from a node that does not tell. In whole
    /// milliseconds on the wire.
    pub lease: Time,
    /// What it has applied.
    pub applied: Applied,
}

/// What a node has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Everything up to here.
    pub upto: Position,
    /// And these above it, in the same epoch, in order; the lowest if there are many.
    pub above: Vec<SeqRange>,
}

/// The head of the log, signed for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Of the poll.
    pub nonce: u64,
    /// Of the log, read after the poll arrived.
    pub head: Position,
    /// Ed25519.
    pub signature: Bytes,
    /// The first bytes of the public key.
    pub key_hint: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// They are no message at all.
    #[error("not a message")]
    Encoding(#[from] prost::DecodeError),
    /// They are more than a message may have.
    #[error("a message has at most {MAX_MESSAGE} bytes, not {length}")]
    Length {
        /// Bytes given.
        length: usize,
    },
    /// A field that must be there is not, or the kind is not known.
    #[error("{what} is missing, or of a newer version")]
    Missing {
        /// Its name.
        what: &'static str,
    },
    /// A name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Ranges are empty, out of order, overlapping, or too many.
    #[error("these are no ranges of seqs")]
    Ranges,
    /// A note is empty or longer than notes are.
    #[error("a note has 1 to {MAX_NOTE} bytes, not {length}")]
    Note {
        /// Bytes given.
        length: usize,
    },
    /// A frame in it is empty or longer than frames are.
    #[error("a frame has 1 to {MAX_FRAME} bytes, not {length}")]
    Frame {
        /// Bytes given.
        length: usize,
    },
}

impl Applied {
    /// Everything up to a position, and nothing else.
    pub fn upto(upto: Position) -> Self {
        Self { upto, above: Vec::new() }
    }

    /// Of an epoch, as much as a message tells.
    pub fn of(epoch: u64, ranges: &Ranges) -> Self {
        let upto = Position { epoch, seq: ranges.upto() };
        Self { upto, above: ranges.above().take(MAX_TOLD).collect() }
    }

    /// As a set, to look things up in.
    pub fn ranges(&self) -> Ranges {
        let mut ranges = Ranges::new(self.upto.seq);
        self.above.iter().for_each(|&range| ranges.insert(range));
        ranges
    }

    /// The highest position in it.
    pub fn highest(&self) -> Position {
        let seq = self.above.last().map_or(self.upto.seq, |range| range.last);
        Position { seq, ..self.upto }
    }
}

impl Message {
    /// The bytes of a `wcdn.gossip.v1.Message`.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self {
            Self::Push(frames) => Kind::Push(gossip::Push { frames: frames.clone() }),
            Self::Ack(standing) => Kind::Ack(standing.to_wire()),
            Self::Digest { applied, is_answer } => Kind::Digest(gossip::Digest {
                applied: Some(applied.to_wire()),
                answer: *is_answer,
            }),
            Self::Want { epoch, missing } => {
                Kind::Want(gossip::Want { epoch: *epoch, missing: to_wire(missing) })
            }
            Self::Poll { nonce, standing } => {
                Kind::Poll(gossip::Poll { nonce: *nonce, standing: Some(standing.to_wire()) })
            }
            Self::Lease(lease) => Kind::Lease(gossip::Lease {
                nonce: lease.nonce,
                head: Some(lease.head.into()),
                signature: lease.signature.clone(),
                key_hint: lease.key_hint.clone(),
            }),
            Self::Head(head) => Kind::Head(gossip::Head { head: Some((*head).into()) }),
            Self::Note(content) => Kind::Note(gossip::Note { content: content.clone() }),
        };
        gossip::Message { kind: Some(kind) }.encode_to_vec()
    }

    /// Reads the bytes of a `wcdn.gossip.v1.Message`.
    ///
    /// # Errors
    /// [`InvalidMessage`]
    pub fn decode(bytes: Bytes) -> Result<Self, InvalidMessage> {
        if bytes.len() > MAX_MESSAGE {
            return Err(InvalidMessage::Length { length: bytes.len() });
        }
        let kind = gossip::Message::decode(bytes)?.kind.ok_or(missing("the kind"))?;
        Ok(match kind {
            Kind::Push(push) => Self::Push(frames(push.frames)?),
            Kind::Ack(ack) => Self::Ack(Standing::from_wire(ack)?),
            Kind::Digest(digest) => Self::Digest {
                applied: Applied::from_wire(digest.applied)?,
                is_answer: digest.answer,
            },
            Kind::Want(want) if want.missing.is_empty() => return Err(missing("what is wanted")),
            Kind::Want(want) => Self::Want { epoch: want.epoch, missing: ranges(0, want.missing)? },
            Kind::Poll(poll) => Self::Poll {
                nonce: poll.nonce,
                standing: Standing::from_wire(poll.standing.ok_or(missing("the standing"))?)?,
            },
            Kind::Lease(lease) => Self::Lease(Lease {
                nonce: lease.nonce,
                head: from_wire(lease.head)?,
                signature: lease.signature,
                key_hint: lease.key_hint,
            }),
            Kind::Head(head) => Self::Head(from_wire(head.head)?),
            Kind::Note(gossip::Note { content }) => match content.len() {
                1..=MAX_NOTE => Self::Note(content),
                length => return Err(InvalidMessage::Note { length }),
            },
        })
    }
}

impl Standing {
    fn to_wire(&self) -> gossip::Ack {
        gossip::Ack {
            node: self.node.as_str().to_owned(),
            incarnation: self.incarnation,
            applied: Some(self.applied.to_wire()),
            region: self.region.as_str().to_owned(),
            strict: self.is_strict,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn from_wire(wire: gossip::Ack) -> Result<Self, InvalidMessage> {
        Ok(Self {
            node: wire.node.parse()?,
            incarnation: wire.incarnation,
            region: wire.region.parse()?,
            is_strict: wire.strict,
            lease: Time::from_millis(wire.lease_ms).min(MAX_LEASE),
            applied: Applied::from_wire(wire.applied)?,
        })
    }
}

impl Applied {
    fn to_wire(&self) -> gossip::Applied {
        gossip::Applied { upto: Some(self.upto.into()), above: to_wire(&self.above) }
    }

    fn from_wire(wire: Option<gossip::Applied>) -> Result<Self, InvalidMessage> {
        let wire = wire.ok_or(missing("what is applied"))?;
        let upto = from_wire(wire.upto)?;
        Ok(Self { upto, above: ranges(upto.seq, wire.above)? })
    }
}

/// Counts the datagrams that frames need, in the order in which [`pushes`] packs them.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Datagrams that may still be begun.
    left: usize,
    /// Bytes of the last one.
    room: usize,
}

impl Packing {
    /// Into at most this many datagrams.
    pub(crate) fn new(most: usize) -> Self {
        Self { left: most, room: 0 }
    }

    /// Whether one more frame of this length fits, which is then in it.
    pub(crate) fn add(&mut self, length: usize) -> bool {
        let cost = length + FRAME_COST;
        if cost > self.room {
            let Some(left) = self.left.checked_sub(1) else { return false };
            (self.left, self.room) = (left, MAX_MESSAGE - PUSH_COST);
        }
        self.room = self.room.saturating_sub(cost);
        true
    }
}

/// Puts frames into as few messages as hold them in this order.
pub fn pushes<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<Message> {
    let mut messages: Vec<Vec<Bytes>> = Vec::new();
    let mut room = 0;
    for frame in frames {
        let cost = frame.len() + FRAME_COST;
        if cost > room {
            messages.push(Vec::new());
            room = MAX_MESSAGE - PUSH_COST;
        }
        room = room.saturating_sub(cost);
        messages.last_mut().expect("one was pushed").push(frame.clone());
    }
    messages.into_iter().map(Message::Push).collect()
}

fn missing(what: &'static str) -> InvalidMessage {
    InvalidMessage::Missing { what }
}

fn from_wire(wire: Option<event::Position>) -> Result<Position, InvalidMessage> {
    wire.map(Position::from).ok_or(missing("a position"))
}

fn to_wire(ranges: &[SeqRange]) -> Vec<gossip::Range> {
    let wire = |&SeqRange { first, last }: &SeqRange| gossip::Range { first, last };
    ranges.iter().take(MAX_TOLD).map(wire).collect()
}

/// Ranges above `above` that are in order, apart from each other, and not too many.
fn ranges(above: u64, wire: Vec<gossip::Range>) -> Result<Vec<SeqRange>, InvalidMessage> {
    let mut end = above;
    let mut checked = |gossip::Range { first, last }| {
        let is_apart = first > end && last >= first && last < u64::MAX;
        end = last;
        is_apart.then_some(SeqRange { first, last }).ok_or(InvalidMessage::Ranges)
    };
    if wire.len() > MAX_TOLD {
        return Err(InvalidMessage::Ranges);
    }
    wire.into_iter().map(&mut checked).collect()
}

fn frames(wire: Vec<Bytes>) -> Result<Vec<Bytes>, InvalidMessage> {
    let odd = wire.iter().find(|frame| frame.is_empty() || frame.len() > MAX_FRAME);
    match odd {
        Some(frame) => Err(InvalidMessage::Frame { length: frame.len() }),
        None if wire.is_empty() => Err(missing("a frame")),
        None => Ok(wire),
    }
}

#[cfg(test)]
mod tests;
