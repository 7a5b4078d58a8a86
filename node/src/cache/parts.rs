//! Which parts of a blob are kept on their own, so that all go when the blob goes.

use std::collections::HashMap;

use parking_lot::Mutex;
use wcdn_proto::BlobId;

use super::entry::{Key, Part};

/// Files of quilts and slices of large blobs, by blob. What memory evicted meanwhile may be among
/// them until the next clearing out.
#[derive(Debug, Default)]
pub(super) struct Parts {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    parts: HashMap<BlobId, Vec<Part>, foldhash::fast::RandomState>,
    count: usize,
    /// How many there may be before those are cleared out that memory evicted.
    limit: usize,
}

/// Fewer are never cleared out.
const FEW: usize = 1024;

impl Parts {
    /// Notes a part; `is_kept` tells of others whether they still are.
    pub(super) fn add(&self, key: &Key, is_kept: impl Fn(&Key) -> bool) {
        if matches!(key.part, Part::Whole | Part::Probe | Part::Beginning) {
            return;
        }
        let mut table = self.table.lock();
        let Table { parts, count, limit } = &mut *table;
        let of_blob = parts.entry(key.id).or_default();
        if of_blob.contains(&key.part) {
            return;
        }
        of_blob.push(key.part);
        *count += 1;
        if *count > (*limit).max(FEW) {
            parts.retain(|id, parts| {
                parts.retain(|part| *part == key.part || is_kept(&Key { id: *id, part: *part }));
                !parts.is_empty()
            });
            *count = parts.values().map(Vec::len).sum();
            *limit = *count * 2;
        }
    }

    /// Every part of a blob that may be kept; those that are noted are forgotten.
    pub(super) fn take(&self, id: &BlobId) -> impl Iterator<Item = Key> + use<> {
        let mut table = self.table.lock();
        let noted = table.parts.remove(id).unwrap_or_default();
        table.count -= noted.len();
        keys(*id, noted)
    }

    /// Every part of a blob that may be kept.
    pub(super) fn of(&self, id: &BlobId) -> impl Iterator<Item = Key> + use<> {
        let noted = self.table.lock().parts.get(id).cloned().unwrap_or_default();
        keys(*id, noted)
    }
}

/// The parts that are not noted, since each blob has but one, and those that are.
fn keys(id: BlobId, noted: Vec<Part>) -> impl Iterator<Item = Key> {
    let always = [Part::Whole, Part::Probe, Part::Beginning];
    always.into_iter().chain(noted).map(move |part| Key { id, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(blob: u8, slice: u32) -> Key {
        Key { id: BlobId::from_bytes([blob; 32]), part: Part::Slice(slice) }
    }

    #[test]
    fn a_blob_has_the_parts_that_were_kept_of_it() {
        let parts = Parts::default();
        for slice in [1, 2, 2, 5] {
            parts.add(&key(1, slice), |_| true);
        }
        parts.add(&key(2, 9), |_| true);
        let taken: Vec<_> = parts.take(&key(1, 0).id).collect();
        assert_eq!(taken.len(), 6);
        assert!([1, 2, 5].iter().all(|slice| taken.contains(&key(1, *slice))));
        assert_eq!(parts.take(&key(1, 0).id).count(), 3, "once");
        assert_eq!(parts.take(&key(2, 0).id).count(), 4);
    }

    #[test]
    fn parts_that_memory_evicted_are_not_remembered_for_ever() {
        let parts = Parts::default();
        for slice in 0..100_000 {
            parts.add(&key(1, slice), |key| matches!(key.part, Part::Slice(n) if n + 100 > slice));
        }
        assert!(parts.take(&key(1, 0).id).count() <= FEW + 3);
    }
}
