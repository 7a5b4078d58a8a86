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

/// The most requests that one of this weight may have under way before others come first, where `all`
/// weights together have `under_way`: a quarter more than its share (consistent hashing with bounded
/// loads, arXiv:1608.01350).
pub fn share(under_way: usize, weight: u64, all: u64) -> u64 {
    let whole = (under_way as u64).saturating_add(1);
    5_u64.saturating_mul(whole).saturating_mul(weight).div_ceil(4_u64.saturating_mul(all).max(1))
}
