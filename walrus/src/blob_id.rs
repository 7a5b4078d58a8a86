//! The id of a blob, computed from its bytes.

use bytes::Bytes;
use wcdn_proto::BlobId;

use crate::{BlobTooLarge, Encoding, SliverHashes};

/// Computes the id of the blob that `slices`, which follow each other, make up.
///
/// The id commits to every symbol of the extended matrix, not to the bytes alone: however small
/// the blob, it takes up to three million hashes at 1000 shards, a quarter of a second of a core.
/// Memory beyond the input: half of the blob's size, and a few megabytes.
///
/// # Errors
/// [`BlobTooLarge`].
pub fn blob_id(encoding: Encoding, slices: &[Bytes]) -> Result<BlobId, BlobTooLarge> {
    Ok(SliverHashes::compute(encoding, slices)?.blob_id())
}
