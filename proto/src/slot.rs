//! Where an id stands in the table of removals, the same on every node.

use crate::BlobId;

/// Slots of the table of removals: 8 MiB of numbers, so that a hundred thousand removals leave nine
/// ids of ten alone.
pub const REMOVAL_SLOTS: u32 = 1 << 20;

/// The slot of an id. Ids are hashes, so their first bytes are as good as any hash of them; who makes
/// ids up to share the slot of another only has that one fetched again.
pub const fn removal_slot(id: &BlobId) -> u32 {
    let [a, b, c, ..] = *id.as_bytes();
    u32::from_le_bytes([a, b, c, 0]) % REMOVAL_SLOTS
}
