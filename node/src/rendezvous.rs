//! Rendezvous hashing: who comes first for a blob, agreed upon without a word.

use wcdn_proto::BlobId;

/// How strongly a blob belongs to whoever bears this name; stable across nodes, versions and restarts.
///
/// Whoever has the highest number comes first. One more or one less among them moves only the blobs
/// that it takes or leaves (Thaler and Ravishankar, 1998).
pub fn affinity(id: &BlobId, name: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_bytes()).update(name.as_bytes());
    let mut score = [0; 8];
    hasher.finalize_xof().fill(&mut score);
    u64::from_le_bytes(score)
}

/// The most requests that one of `count` may have under way before others come first: a quarter more
/// than its share of all (consistent hashing with bounded loads, arXiv:1608.01350).
pub fn share(under_way: usize, count: usize) -> usize {
    (5 * (under_way + 1)).div_ceil(4 * count.max(1))
}
