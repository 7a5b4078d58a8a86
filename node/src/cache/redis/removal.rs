//! What an event removed goes from Redis, too: that frees its memory, nothing hangs on it.

use bytes::Bytes;
use redis::Cmd;
use wcdn_proto::BlobId;

use super::{Place, Redis, read, record::MAX_RECORD};
use crate::metrics::redis::Operation;

impl Redis {
    /// Drops a blob that an event removed: its record, without which its slices are never read. One
    /// that was fetched after the event stays, since this may come late. Whether there was one that it
    /// dropped; `None` if Redis does not answer.
    pub async fn remove(&self, id: &BlobId) -> Option<bool> {
        let place = self.shared.place(id);
        if !self.has_removed(place, Operation::Remove).await? {
            return Some(false);
        }
        let mut command = Cmd::new();
        command.arg("UNLINK").arg(place.record());
        self.ask(Operation::Remove, id, &command).await
    }

    /// Whether Redis still gives a record that an event removed; `None` if it does not answer.
    pub async fn still_holds(&self, id: &BlobId) -> Option<bool> {
        self.has_removed(self.shared.place(id), Operation::ReadBack).await
    }

    async fn has_removed(&self, place: Place, operation: Operation) -> Option<bool> {
        let id = &place.id;
        let value: Bytes = self.ask(operation, id, &read(place.record(), MAX_RECORD)).await?;
        let attested = self.shared.attestor.open(id, &value);
        let token = attested.ok().map(|attested| attested.record.token);
        Some(token.is_some_and(|token| self.shared.log.removed.covers(id, token)))
    }
}
