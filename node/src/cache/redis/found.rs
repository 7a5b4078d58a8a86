//! A blob that Redis has, slice by slice.

use bytes::Bytes;

use super::{
    Redis, read,
    record::{Attested, Place},
};
use crate::{
    cache::entry::SLICE,
    metrics::redis::{Operation, Result as Counted},
};

/// A blob found, slice by slice.
#[derive(Debug)]
pub struct Found {
    pub(super) redis: Redis,
    pub(super) place: Place,
    pub(super) attested: Attested,
    pub(super) first: Bytes,
}

impl Found {
    /// The facts of the blob.
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// Slice `n` of the body; `None` if it is gone, or not what the record says.
    pub async fn slice(&self, n: usize) -> Option<Bytes> {
        if n == 0 {
            return Some(self.first.clone());
        }
        let command = read(self.place.slice(n), SLICE);
        let slice: Bytes = self.redis.ask(Operation::Get, &self.place.id, &command).await?;
        if !self.attested.is_slice(n, &slice) {
            self.redis.shared.metrics.count(Operation::Get, Counted::Incomplete);
            return None;
        }
        Some(slice)
    }
}
