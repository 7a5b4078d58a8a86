//! Who gives the bytes of a body: an origin, or another node of the region.

use std::sync::Arc;

use wcdn_proto::BlobId;

use crate::{
    edge::response::Source,
    origin::{
        Origin,
        attempt::{self, AttemptError},
    },
    peer::{
        client::{self, Peer},
        error::PeerError,
    },
};

/// Who gives.
#[derive(Debug, Clone)]
pub(super) enum Giver {
    Origin(Arc<Origin>),
    Peer(Arc<Peer>),
}

/// A body that is being read.
pub(super) enum Download {
    Origin(attempt::Download),
    Peer(client::Download),
}

/// Why nothing (more) came.
#[derive(Debug)]
pub(super) enum GiveError {
    Origin(AttemptError),
    /// Noted already, as far as it befell the head.
    Peer(PeerError),
}

/// A download whose head has come, or who failed to give one and why.
pub(super) type Opened = Result<Download, (Giver, GiveError)>;

impl Giver {
    /// The bytes are not the blob.
    pub(super) fn lied(&self, id: &BlobId) {
        match self {
            Self::Origin(origin) => origin.lied(id),
            Self::Peer(peer) => peer.lied(id),
        }
    }

    /// The bytes and those of others together are not the blob.
    pub(super) fn suspected(&self) {
        match self {
            Self::Origin(origin) => origin.suspected(),
            Self::Peer(peer) => peer.suspected(),
        }
    }

    /// All came.
    pub(super) fn served(&self) {
        match self {
            Self::Origin(origin) => origin.served(),
            Self::Peer(peer) => peer.served(),
        }
    }

    /// The word for it.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Origin(_) => Source::Walrus,
            Self::Peer(_) => Source::Peer,
        }
    }

    /// The origin, if it is one.
    pub(super) fn origin(&self) -> Option<&Arc<Origin>> {
        match self {
            Self::Origin(origin) => Some(origin),
            Self::Peer(_) => None,
        }
    }
}

impl Download {
    /// Who gives it.
    pub(super) fn giver(&self) -> Giver {
        match self {
            Self::Origin(download) => Giver::Origin(Arc::clone(download.origin())),
            Self::Peer(download) => Giver::Peer(Arc::clone(download.peer())),
        }
    }

    /// Bytes of the whole blob, as whoever gives says.
    pub(super) fn total(&self) -> u64 {
        match self {
            Self::Origin(download) => download.total(),
            Self::Peer(download) => download.found().total,
        }
    }
}

impl From<attempt::Download> for Download {
    fn from(download: attempt::Download) -> Self {
        Self::Origin(download)
    }
}
