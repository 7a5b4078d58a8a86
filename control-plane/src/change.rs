//! What may be asked of the log, and what it became there.

use wcdn_gossip::frame;
use wcdn_proto::{
    BlobId, Change, ContentId, KeyState, Position, Purge,
    pb::{admin::v1 as admin, edge::v1::OriginPool},
};

use crate::{
    auth::{Author, KeyChange},
    base32,
};

/// A change that somebody asks for.
#[derive(Debug)]
pub(crate) struct Request {
    /// What.
    pub(crate) asked: Asked,
    /// Who asks.
    pub(crate) by: Author,
    /// By which the caller knows the change again.
    pub(crate) token: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Remove bytes, unless some of them are pinned.
    Purge(Purge),
    /// Remove bytes, pinned or not.
    ForcedPurge(Purge),
    /// Withhold ids.
    Block {
        /// Which.
        ids: Vec<ContentId>,
        /// For people.
        reason: String,
    },
    /// End that.
    Unblock(Vec<ContentId>),
    /// Keep blobs ready.
    Pin {
        /// Which.
        ids: Vec<BlobId>,
        /// For people.
        note: String,
    },
    /// End that.
    Unpin(Vec<BlobId>),
    /// Replace the origin pool of this revision.
    Origins(OriginPool),
    /// Make, change or end an API key.
    Key(KeyChange),
    /// Nothing; to prove that all hear.
    Barrier,
}

/// A change in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// By which its receipt is found.
    pub(crate) id: String,
    /// What was asked for, as one word.
    pub(crate) kind: String,
    /// Its first event.
    pub(crate) first: Position,
    /// Its last event.
    pub(crate) last: Position,
    /// Unix time in milliseconds.
    pub(crate) committed_at_ms: u64,
    /// Ids that it names; 0 for everything.
    pub(crate) ids: u64,
    /// The name of the API key.
    pub(crate) by: String,
}

impl Asked {
    /// As one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Purge(_) | Self::ForcedPurge(_) => "purge",
            Self::Block { .. } => "block",
            Self::Unblock(_) => "unblock",
            Self::Pin { .. } => "pin",
            Self::Unpin(_) => "unpin",
            Self::Origins(_) => "origins",
            Self::Key(change) => change.kind(),
            Self::Barrier => "barrier",
        }
    }

    /// Ids that it names.
    pub(crate) fn ids(&self) -> usize {
        match self {
            Self::Purge(purge) | Self::ForcedPurge(purge) => match purge {
                Purge::Ids(ids) => ids.len(),
                Purge::All => 0,
            },
            Self::Block { ids, .. } | Self::Unblock(ids) => ids.len(),
            Self::Pin { ids, .. } | Self::Unpin(ids) => ids.len(),
            Self::Origins(_) | Self::Key(_) | Self::Barrier => 0,
        }
    }

    /// Events that it becomes.
    pub(crate) fn events(&self) -> usize {
        self.ids().div_ceil(frame::MAX_IDS).max(1)
    }

    /// As events, none of them larger than a frame. What becomes of a key is known once it is done.
    pub(crate) fn changes(&self, key: Option<KeyState>) -> Vec<Change> {
        if let Some(key) = key {
            return vec![Change::Key(key)];
        }
        frame::split(match self {
            Self::Purge(purge) | Self::ForcedPurge(purge) => Change::Purge(purge.clone()),
            Self::Block { ids, .. } => Change::Block(ids.clone()),
            Self::Unblock(ids) => Change::Unblock(ids.clone()),
            Self::Pin { ids, .. } => Change::Pin(ids.clone()),
            Self::Unpin(ids) => Change::Unpin(ids.clone()),
            Self::Origins(pool) => Change::Origins { revision: pool.revision + 1 },
            Self::Key(_) | Self::Barrier => Change::Barrier,
        })
    }

    /// The same for the same request, so that one under a used token is known again.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        hash.update(self.kind().as_bytes());
        match self {
            Self::Purge(Purge::Ids(ids))
            | Self::ForcedPurge(Purge::Ids(ids))
            | Self::Pin { ids, .. }
            | Self::Unpin(ids) => ids.iter().for_each(|id| {
                hash.update(id.as_bytes());
            }),
            Self::Block { ids, .. } | Self::Unblock(ids) => ids.iter().for_each(|id| {
                hash.update(&id.to_vec());
            }),
            Self::Purge(Purge::All)
            | Self::ForcedPurge(Purge::All)
            | Self::Origins(_)
            | Self::Key(_)
            | Self::Barrier => {}
        }
        if matches!(self, Self::ForcedPurge(_)) {
            hash.update(b"force");
        }
        *hash.finalize().as_bytes()
    }

    /// The pool that replaces the one of the revision it names.
    pub(crate) fn next_pool(&self) -> Option<OriginPool> {
        let Self::Origins(pool) = self else { return None };
        Some(OriginPool { revision: pool.revision + 1, ..pool.clone() })
    }
}

impl Recorded {
    /// Its events.
    pub(crate) fn events(&self) -> u64 {
        self.last.seq - self.first.seq + 1
    }

    /// As it travels.
    pub(crate) fn to_wire(&self) -> admin::Change {
        admin::Change {
            id: self.id.clone(),
            kind: self.kind.clone(),
            first: Some(self.first.into()),
            last: Some(self.last.into()),
            committed_at_ms: self.committed_at_ms,
            ids: self.ids,
            by: self.by.clone(),
        }
    }
}

/// A name for a change: sorts by time, and cannot be guessed.
pub(crate) fn new_id(now_ms: u64) -> String {
    let mut bytes = rand::random::<[u8; 15]>();
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    format!("chg_{}", base32::encode(&bytes))
}

#[cfg(test)]
mod tests {
    use wcdn_proto::BlobId;

    use super::*;

    #[test]
    fn a_request_says_beforehand_how_many_events_it_becomes() {
        for count in [1_u8, 23, 24, 25, 48, 49, 255] {
            let ids = (0..count).map(|n| BlobId::from_bytes([n; 32])).collect();
            let asked = Asked::Purge(Purge::Ids(ids));
            assert_eq!(asked.events(), asked.changes(None).len());
        }
        let ids = vec![BlobId::from_bytes([1; 32]); 49];
        let pin = Asked::Pin { ids, note: String::new() };
        assert_eq!((pin.events(), pin.changes(None).len()), (3, 3));
        assert_eq!(Asked::Barrier.events(), Asked::Barrier.changes(None).len());
    }

    #[test]
    fn a_purge_by_force_is_another_request() {
        let purge = Purge::Ids(vec![BlobId::from_bytes([1; 32])]);
        let (spares, forces) = (Asked::Purge(purge.clone()), Asked::ForcedPurge(purge));
        assert_ne!(spares.digest(), forces.digest());
        assert_eq!(spares.changes(None), forces.changes(None));
    }

    #[test]
    fn names_of_changes_sort_by_time() {
        let (early, late) = (new_id(1_000), new_id(2_000));
        assert!(early < late);
        assert_eq!(early.len(), 28);
    }
}
