//! What becomes true everywhere, once it is in the log.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    BlobId, ContentId, InvalidBlobId, InvalidContentId, InvalidKey, KeyState, Position,
    pb::event::v1::{self as event, event::Change as Wire},
};

/// One event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub position: Position,
    /// What it changes.
    pub change: Change,
}

/// What an event changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What was fetched before is not served after.
    Purge(Purge),
    /// Withheld until unblocked.
    Block(Vec<ContentId>),
    /// No longer withheld.
    Unblock(Vec<ContentId>),
    /// The origin pool is the one of this revision.
    Origins {
        /// Of the pool.
        revision: u64,
    },
    /// Nothing.
    Barrier,
    /// Kept ready in every region until unpinned.
    Pin(Vec<BlobId>),
    /// Kept no longer than others.
    Unpin(Vec<BlobId>),
    /// An API key is made, changed or ended.
    Key(KeyState),
    /// Something that this program is too old to know.
    Unknown {
        /// Whether it may go on as if nothing had happened.
        is_ignorable: bool,
    },
}

/// What a purge removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// These blobs, and every file cut out of one of them.
    Ids(Vec<BlobId>),
    /// Everything.
    All,
}

/// Consecutive events of one epoch, as a frame holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The place of the first; the others follow it.
    pub first: Position,
    /// When they were committed, by the issuer's clock: Unix time in milliseconds.
    pub committed_at_ms: u64,
    /// At least one.
    pub changes: Vec<Change>,
}

/// Why bytes are not [`Events`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvents {
    /// They are no message of that kind.
    #[error("not a frame body")]
    Encoding(#[from] prost::DecodeError),
    /// There is no event.
    #[error("a frame must hold an event")]
    Empty,
    /// The events would have no numbers.
    #[error("seq {first_seq} with {count} events is out of range")]
    Seq {
        /// Of the first event.
        first_seq: u64,
        /// Events.
        count: usize,
    },
    /// A purge names something that is no blob.
    #[error(transparent)]
    Blob(#[from] InvalidBlobId),
    /// A block names something that is no content.
    #[error(transparent)]
    Content(#[from] InvalidContentId),
    /// What is changed is no key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// A change names nothing, or everything and something.
    #[error("a change must name at least one id, or everything")]
    Selector,
}

impl Events {
    /// The place of the last.
    ///
    /// # Panics
    /// If there is no event.
    pub fn last(&self) -> Position {
        let more = self.changes.len().checked_sub(1).expect("there is an event") as u64;
        Position { seq: self.first.seq + more, ..self.first }
    }

    /// Each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Position, &Change)> {
        (0..)
            .zip(&self.changes)
            .map(|(n, change)| (Position { seq: self.first.seq + n, ..self.first }, change))
    }

    /// The bytes of a `wcdn.event.v1.FrameBody`.
    pub fn encode(&self) -> Vec<u8> {
        let body = event::FrameBody {
            epoch: self.first.epoch,
            first_seq: self.first.seq,
            committed_at_ms: self.committed_at_ms,
            events: self.changes.iter().map(Change::to_wire).collect(),
        };
        body.encode_to_vec()
    }

    /// Reads the bytes of a `wcdn.event.v1.FrameBody`.
    ///
    /// # Errors
    /// [`InvalidEvents`]. An event that makes no sense is none of them: a newer control plane may mean
    /// something by it, so it is [`Change::Unknown`], and the others in the frame hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEvents> {
        let body = event::FrameBody::decode(bytes)?;
        let (first_seq, count) = (body.first_seq, body.events.len());
        if count == 0 {
            return Err(InvalidEvents::Empty);
        }
        if first_seq == 0 || first_seq.checked_add(count as u64).is_none() {
            return Err(InvalidEvents::Seq { first_seq, count });
        }
        Ok(Self {
            first: Position { epoch: body.epoch, seq: first_seq },
            committed_at_ms: body.committed_at_ms,
            changes: body.events.into_iter().map(Change::understood).collect(),
        })
    }
}

impl Change {
    /// As one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Purge(_) => "purge",
            Self::Block(_) => "block",
            Self::Unblock(_) => "unblock",
            Self::Origins { .. } => "origins",
            Self::Barrier => "barrier",
            Self::Pin(_) => "pin",
            Self::Unpin(_) => "unpin",
            Self::Key(_) => "key",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether it is of everything.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Purge(Purge::All))
    }

    /// The ids that it names, as texts.
    pub fn ids(&self) -> Vec<String> {
        fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
            ids.iter().map(ToString::to_string).collect()
        }
        match self {
            Self::Purge(Purge::Ids(ids)) | Self::Pin(ids) | Self::Unpin(ids) => texts(ids),
            Self::Block(ids) | Self::Unblock(ids) => texts(ids),
            Self::Purge(Purge::All)
            | Self::Origins { .. }
            | Self::Barrier
            | Self::Key(_)
            | Self::Unknown { .. } => Vec::new(),
        }
    }

    /// As it travels.
    pub fn to_wire(&self) -> event::Event {
        let contents = |ids: &[ContentId]| ids.iter().map(|id| id.to_vec().into()).collect();
        let blobs = |ids: &[BlobId]| ids.iter().map(|id| id.as_bytes().to_vec().into()).collect();
        let change = match self {
            Self::Purge(Purge::All) => Some(Wire::Purge(event::Purge { ids: vec![], all: true })),
            Self::Purge(Purge::Ids(ids)) => {
                Some(Wire::Purge(event::Purge { ids: blobs(ids), all: false }))
            }
            Self::Block(ids) => Some(Wire::Block(event::Block { ids: contents(ids) })),
            Self::Unblock(ids) => Some(Wire::Unblock(event::Unblock { ids: contents(ids) })),
            Self::Origins { revision } => {
                Some(Wire::Origins(event::Origins { revision: *revision }))
            }
            Self::Barrier => Some(Wire::Barrier(event::Barrier {})),
            Self::Pin(ids) => Some(Wire::Pin(event::Pin { ids: blobs(ids) })),
            Self::Unpin(ids) => Some(Wire::Unpin(event::Unpin { ids: blobs(ids) })),
            Self::Key(key) => Some(Wire::Key(key.to_wire())),
            Self::Unknown { .. } => None,
        };
        let ignorable = match self {
            Self::Purge(_) | Self::Block(_) | Self::Unblock(_) => false,
            Self::Origins { .. } | Self::Barrier | Self::Pin(_) | Self::Unpin(_) | Self::Key(_) => {
                true
            }
            Self::Unknown { is_ignorable } => *is_ignorable,
        };
        event::Event { change, ignorable }
    }

    fn understood(wire: event::Event) -> Self {
        let is_ignorable = wire.ignorable;
        Self::from_wire(wire).unwrap_or(Self::Unknown { is_ignorable })
    }

    /// # Errors
    /// [`InvalidEvents`], if it names nothing or something that does not exist.
    pub fn from_wire(wire: event::Event) -> Result<Self, InvalidEvents> {
        let Some(change) = wire.change else {
            return Ok(Self::Unknown { is_ignorable: wire.ignorable });
        };
        Ok(match change {
            Wire::Purge(purge) if purge.all == purge.ids.is_empty() => match purge.all {
                true => Self::Purge(Purge::All),
                false => Self::Purge(Purge::Ids(some(&purge.ids)?)),
            },
            Wire::Purge(_) => return Err(InvalidEvents::Selector),
            Wire::Block(block) => Self::Block(some(&block.ids)?),
            Wire::Unblock(unblock) => Self::Unblock(some(&unblock.ids)?),
            Wire::Origins(origins) => Self::Origins { revision: origins.revision },
            Wire::Barrier(_) => Self::Barrier,
            Wire::Pin(pin) => Self::Pin(some(&pin.ids)?),
            Wire::Unpin(unpin) => Self::Unpin(some(&unpin.ids)?),
            Wire::Key(key) => Self::Key(KeyState::from_wire(&key)?),
        })
    }
}

/// At least one id.
fn some<'a, T>(ids: &'a [Bytes]) -> Result<Vec<T>, InvalidEvents>
where
    T: TryFrom<&'a [u8], Error: Into<InvalidEvents>>,
{
    if ids.is_empty() {
        return Err(InvalidEvents::Selector);
    }
    ids.iter().map(|id| T::try_from(id).map_err(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KeySecret;

    fn blob() -> impl Strategy<Value = BlobId> {
        any::<[u8; 32]>().prop_map(BlobId::from_bytes)
    }

    fn content() -> impl Strategy<Value = ContentId> {
        (blob(), any::<Option<(u16, u16)>>()).prop_map(|(blob, columns)| {
            columns
                .and_then(|(start, end)| crate::QuiltPatchId::new(blob, start, end).ok())
                .map_or(ContentId::Blob(blob), ContentId::Patch)
        })
    }

    fn key() -> impl Strategy<Value = KeyState> {
        let secret = any::<([u8; 32], u64)>();
        let secret = secret.prop_map(|(hash, until_ms)| KeySecret { hash, until_ms });
        let secrets = proptest::collection::vec(secret, 0..3);
        let parts = ("[0-9a-hjkmnp-tv-z]{10}", secrets, any::<u32>());
        parts.prop_map(|(id, secrets, per_minute)| KeyState {
            id: id.parse().unwrap(),
            secrets,
            per_minute,
        })
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            proptest::collection::vec(blob(), 1..4).prop_map(|ids| Change::Purge(Purge::Ids(ids))),
            Just(Change::Purge(Purge::All)),
            proptest::collection::vec(content(), 1..4).prop_map(Change::Block),
            proptest::collection::vec(content(), 1..4).prop_map(Change::Unblock),
            any::<u64>().prop_map(|revision| Change::Origins { revision }),
            Just(Change::Barrier),
            proptest::collection::vec(blob(), 1..4).prop_map(Change::Pin),
            proptest::collection::vec(blob(), 1..4).prop_map(Change::Unpin),
            key().prop_map(Change::Key),
            any::<bool>().prop_map(|is_ignorable| Change::Unknown { is_ignorable }),
        ]
    }

    proptest! {
        #[test]
        fn encode_then_decode_gives_the_same_events(
            epoch: u64,
            seq in 1..u64::MAX - 10,
            committed_at_ms: u64,
            changes in proptest::collection::vec(change(), 1..6),
        ) {
            let events = Events { first: Position { epoch, seq }, committed_at_ms, changes };
            prop_assert_eq!(Events::decode(&events.encode()).unwrap(), events);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            if let Ok(events) = Events::decode(&bytes) {
                prop_assert!(!events.changes.is_empty());
                prop_assert!(events.last() >= events.first);
            }
        }
    }

    #[test]
    fn a_change_of_a_newer_version_is_unknown_and_says_whether_it_may_be_ignored() {
        for is_ignorable in [true, false] {
            let known = event::Event { change: None, ignorable: is_ignorable };
            let mut newer = known.encode_to_vec();
            // Field 9, three bytes: a change that this version does not have.
            newer.extend_from_slice(&[9 << 3 | 2, 3, 7, 7, 7]);
            let wire = event::Event::decode(&newer[..]).unwrap();
            assert_eq!(Change::from_wire(wire).unwrap(), Change::Unknown { is_ignorable });
        }
    }

    #[test]
    fn an_event_that_makes_no_sense_is_unknown_and_spares_the_others_of_its_frame() {
        let purge = |ids: Vec<Bytes>, all, ignorable| event::Event {
            change: Some(Wire::Purge(event::Purge { ids, all })),
            ignorable,
        };
        let body = event::FrameBody {
            epoch: 1,
            first_seq: 4,
            committed_at_ms: 0,
            events: vec![
                purge(vec![vec![7; 40].into()], false, false),
                purge(vec![], false, true),
                purge(vec![], true, false),
            ],
        };
        let expected = [
            Change::Unknown { is_ignorable: false },
            Change::Unknown { is_ignorable: true },
            Change::Purge(Purge::All),
        ];
        assert_eq!(Events::decode(&body.encode_to_vec()).unwrap().changes, expected);
    }

    #[test]
    fn a_purge_names_ids_or_everything_and_never_both_or_neither() {
        for (ids, all) in [(vec![], false), (vec![vec![7; 32].into()], true)] {
            let wire = event::Event {
                change: Some(Wire::Purge(event::Purge { ids, all })),
                ignorable: false,
            };
            assert!(matches!(Change::from_wire(wire), Err(InvalidEvents::Selector)));
        }
    }
}
