//! What a request does that missed: it joins, waits, and begins anew where an event overtook the fill.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Fills, Joined, Reader, Ready, Shared, Wish, error::FillError};
use crate::{
    cache::entry::{Entry, Key},
    edge::clients::Payer,
    peer::wire::Ask,
};

/// How much of a fill is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Enough to begin a response.
    Beginning,
    /// All of it.
    Whole,
}

/// A key that was missed, and can be answered now.
#[derive(Debug)]
pub enum Had {
    /// It has arrived in the meantime.
    Hit(Arc<Entry>),
    /// It was waited for.
    Filled {
        /// What there is.
        ready: Ready,
        /// The share in the fill.
        reader: Reader,
        /// Whether somebody else had begun it.
        collapsed: bool,
    },
}

/// How often one request begins anew because its blob was purged while it waited: a blob that is
/// purged without end cannot be served.
const MAX_OVERTAKEN: usize = 8;

impl Fills {
    /// Joins, and waits until there is something to answer with: once more where an event overtook
    /// the fill, for nothing that begins after a removal may come from what was fetched before it.
    ///
    /// # Errors
    /// As of [`Self::join`] and [`Reader::ready`].
    pub async fn have(
        &self,
        key: Key,
        total: Option<u64>,
        payer: &Payer,
        want: Want,
        patience: Duration,
    ) -> Result<Had, Arc<FillError>> {
        self.have_as(&Wish::of_viewer(key, total), payer, want, patience).await
    }

    /// The same for a peer: no other peer is asked, and what is older than it may serve is fetched
    /// anew.
    ///
    /// # Errors
    /// As of [`Self::have`].
    pub(crate) async fn have_for_peer(
        &self,
        ask: &Ask,
        payer: &Payer,
    ) -> Result<Had, Arc<FillError>> {
        let Ask { key, total, least, patience, .. } = *ask;
        let wish = Wish { key, total, least, is_peers: true };
        self.have_as(&wish, payer, Want::Beginning, patience).await
    }

    async fn have_as(
        &self,
        wish: &Wish,
        payer: &Payer,
        want: Want,
        patience: Duration,
    ) -> Result<Had, Arc<FillError>> {
        let end = Instant::now() + patience;
        for _ in 0..MAX_OVERTAKEN {
            let (mut reader, collapsed) = match self.join_for(wish, payer).map_err(Arc::new)? {
                Joined::Reader { reader, collapsed } => (reader, collapsed),
                Joined::Hit(entry) if entry.record().token < wish.least => {
                    self.shared.cache.remove(&wish.key);
                    continue;
                }
                Joined::Hit(entry) => return Ok(Had::Hit(entry)),
            };
            let left = end.saturating_duration_since(Instant::now());
            let ready = match want {
                Want::Beginning => reader.ready(left).await,
                Want::Whole => reader.entry(left).await,
            };
            match ready {
                // A peer knows of an event that is on its way here.
                Ok(ready) if ready.token() < wish.least => self.shared.leave_of(reader),
                Ok(ready) => return Ok(Had::Filled { ready, reader, collapsed }),
                Err(error) if matches!(*error, FillError::Overtaken) => {
                    self.shared.leave_of(reader)
                }
                Err(error) => return Err(error),
            }
        }
        Err(Arc::new(FillError::Overtaken))
    }
}

impl Shared {
    /// Takes a fill that an event overtook out of the table, if whoever applied the event has not come
    /// to it yet: joining it again would be of no use.
    fn leave_of(&self, reader: Reader) {
        self.leave(&reader.fill);
    }
}
