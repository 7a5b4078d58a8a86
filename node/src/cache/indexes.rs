//! The indexes of quilts, each as valid as the quilt that it was read from.

use std::sync::Arc;

use wcdn_proto::BlobId;

use crate::quilt::Indexed;

/// Parsed indexes, by quilt.
#[derive(Debug)]
pub struct Indexes {
    entries: moka::sync::Cache<BlobId, Arc<Indexed>, foldhash::fast::RandomState>,
}

impl Indexes {
    /// None yet, and no more than so many bytes of them.
    pub(super) fn new(capacity: u64) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, indexed: &Arc<Indexed>| {
                u32::try_from(indexed.weight()).unwrap_or(u32::MAX)
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries }
    }

    /// That of a quilt, however old.
    pub fn get(&self, quilt: &BlobId) -> Option<Arc<Indexed>> {
        self.entries.get(quilt)
    }

    /// Keeps one.
    pub fn insert(&self, quilt: BlobId, indexed: Arc<Indexed>) {
        self.entries.insert(quilt, indexed);
    }

    /// Drops one.
    pub fn remove(&self, quilt: &BlobId) {
        self.entries.invalidate(quilt);
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
    }
}
