//! What an event removed goes from Redis, too: that frees its memory, nothing hangs on it.

use bytes::Bytes;
use redis::Cmd;
use wcdn_proto::BlobId;

use super::{Redis, read, record::MAX_RECORD};
use crate::metrics::redis::Operation;

impl Redis {
    /// Drops a blob: its record, without which its slices are never read. Whether there was one;
    /// `None` if Redis does not answer.
    pub async fn remove(&self, id: &BlobId) -> Option<bool> {
        let mut command = Cmd::new();
        command.arg("UNLINK").arg(self.shared.place(id).record());
        self.ask(Operation::Remove, id, &command).await
    }

    /// Whether Redis still gives a record that an event removed; `None` if it does not answer.
    pub async fn still_holds(&self, id: &BlobId) -> Option<bool> {
        let command = read(self.shared.place(id).record(), MAX_RECORD);
        let value: Bytes = self.ask(Operation::ReadBack, id, &command).await?;
        let attested = self.shared.attestor.open(id, &value);
        let token = attested.ok().map(|attested| attested.record.token);
        Some(token.is_some_and(|token| self.shared.log.removed.covers(id, token)))
    }
}
