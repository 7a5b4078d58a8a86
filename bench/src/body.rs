//! The bodies that are served: the same bytes for a size, each with its true blob id.

use bytes::Bytes;
use wcdn_walrus::{BlobId, Encoding, blob_id};

/// A body and its name.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) id: BlobId,
    pub(crate) bytes: Bytes,
}

/// The body of a size.
pub(crate) fn of(size: usize) -> Body {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ size as u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    let bytes: Bytes = (0..size).map(next).collect();
    let id = blob_id(Encoding::PUBLIC, std::slice::from_ref(&bytes)).expect("small enough");
    Body { id, bytes }
}
