//! The bodies that are served: the same bytes for a size and a number, each with its true blob id.

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
    numbered(Encoding::PUBLIC, size, 0)
}

/// One of many bodies of a size, named as on a network of this many shards.
pub(crate) fn numbered(encoding: Encoding, size: usize, number: u64) -> Body {
    let bytes = bytes(size, number);
    let id = blob_id(encoding, std::slice::from_ref(&bytes)).expect("small enough");
    Body { id, bytes }
}

/// Bytes that do not repeat, others for each number.
pub(crate) fn bytes(size: usize, number: u64) -> Bytes {
    let seed = number.wrapping_mul(0x5851_F42D_4C95_7F2D);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ size as u64 ^ seed;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..size).map(next).collect()
}
