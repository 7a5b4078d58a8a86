//! What is pinned stays in the region's Redis: its time begins anew each time it is looked at, and what
//! is gone is written again.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Pipeline};
use wcdn_proto::BlobId;

use super::{Redis, Shared};
use crate::{
    cache::entry::{Entry, SLICE},
    metrics::redis::Operation,
};

/// How long what is pinned is kept after it was looked at last, at least.
const PINNED_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What became of a blob that is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// It was there.
    Renewed,
    /// It was not, and is again.
    Written,
    /// It is none that Redis is given.
    Unfit,
    /// Redis does not answer, or refuses.
    Failed,
}

impl Redis {
    /// Sees to it that a pinned blob stays.
    pub async fn keep(&self, id: &BlobId, entry: &Arc<Entry>) -> Stay {
        if !self.shared.is_fit(id, entry) {
            return Stay::Unfit;
        }
        let is_there = match self.record(id).await {
            Some(record) if record.digest == entry.record().digest => {
                self.renew(id, record.length).await
            }
            _ => false,
        };
        if is_there {
            return Stay::Renewed;
        }
        let is_open = self.shared.lanes.lock().is_open(id);
        if is_open && self.write(id, entry).await { Stay::Written } else { Stay::Failed }
    }

    /// Begins its time anew; `false` if some of it is gone.
    async fn renew(&self, id: &BlobId, length: u64) -> bool {
        let (place, ttl) = (self.shared.place(id), self.shared.ttl(id));
        let slices = usize::try_from(length.div_ceil(SLICE as u64)).unwrap_or(usize::MAX);
        let mut commands = Pipeline::with_capacity(1 + slices);
        let keys = (0..slices).map(|n| place.slice(n)).chain([place.record()]);
        for key in keys {
            let mut expire = Cmd::new();
            expire.arg("EXPIRE").arg(key).arg(ttl);
            commands.add_command(expire);
        }
        let renewed: Option<Vec<bool>> = self.ask(Operation::Set, id, &commands).await;
        renewed.is_some_and(|renewed| renewed.into_iter().all(|is_there| is_there))
    }
}

impl Shared {
    /// How long a blob is kept, in seconds.
    pub(super) fn ttl(&self, id: &BlobId) -> u64 {
        let ttl = match self.log.pins.contains(id) {
            true => self.settings.ttl.max(PINNED_TTL),
            false => self.settings.ttl,
        };
        ttl.as_secs().max(1)
    }
}
