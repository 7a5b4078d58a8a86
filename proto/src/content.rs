//! What can be asked for by a name that follows from its bytes.

use std::{fmt, str::FromStr};

use crate::{BlobId, InvalidBlobId, InvalidPatchId, QuiltPatchId};

/// Ids that may be withheld at once, on the control plane and on every edge.
pub const MAX_BLOCKS: usize = 1 << 20;

/// Blobs that may be pinned at once, on the control plane and on every edge.
pub const MAX_PINS: usize = 100_000;

/// A blob, or one file of a quilt.
///
/// As text, what [`BlobId`] or [`QuiltPatchId`] print: 43 or 50 characters. As bytes, 32 for a blob;
/// 37 for a file, as Walrus encodes patch ids: the quilt's id, a version, and two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentId {
    /// A blob.
    Blob(BlobId),
    /// A file of a quilt.
    Patch(QuiltPatchId),
}

/// Text or bytes that name nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContentId {
    /// Of the length of a blob id, or of none.
    #[error(transparent)]
    Blob(#[from] InvalidBlobId),
    /// Of the length of a patch id.
    #[error(transparent)]
    Patch(#[from] InvalidPatchId),
}

impl ContentId {
    /// The blob that holds it: itself, or the quilt.
    pub const fn blob(&self) -> BlobId {
        match self {
            Self::Blob(id) => *id,
            Self::Patch(id) => id.quilt(),
        }
    }

    /// 32 or 37 bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Blob(id) => id.as_bytes().to_vec(),
            Self::Patch(id) => id.to_bytes().to_vec(),
        }
    }
}

impl FromStr for ContentId {
    type Err = InvalidContentId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == QuiltPatchId::TEXT_LEN {
            Ok(Self::Patch(text.parse()?))
        } else {
            Ok(Self::Blob(text.parse()?))
        }
    }
}

impl TryFrom<&[u8]> for ContentId {
    type Error = InvalidContentId;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        if bytes.len() == QuiltPatchId::BYTES {
            Ok(Self::Patch(bytes.try_into()?))
        } else {
            Ok(Self::Blob(bytes.try_into()?))
        }
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(id) => id.fmt(f),
            Self::Patch(id) => id.fmt(f),
        }
    }
}
