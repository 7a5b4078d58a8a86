//! Fills that no viewer waits for: of what is pinned or preloaded. They come behind those of viewers.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};
use wcdn_proto::BlobId;

use super::{Fills, Had, Ready, Want, error::FillError};
use crate::{
    cache::entry::{Entry, Key, Part},
    edge::{clients::Payer, response::Source},
    metrics::ShedReason,
};

/// Fetches ahead of viewers. Clones share its places.
#[derive(Debug, Clone)]
pub struct Ahead {
    fills: Fills,
    /// An account like that of any client, so that no more is asked of origins than for one.
    payer: Payer,
    places: Arc<Semaphore>,
    most: usize,
}

/// What was fetched.
#[derive(Debug)]
pub enum Fetched {
    /// The blob, and where it came from.
    Whole(Arc<Entry>, Source),
    /// It can be had in slices only.
    Large {
        /// Bytes of the blob.
        total: u64,
    },
}

/// Longer than any fill takes that is not given up for standing still.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How long whoever finds no room waits before it looks again.
const PAUSE: Duration = Duration::from_millis(50);

impl Ahead {
    /// So many at once, at the cost of `payer`.
    pub(crate) fn new(fills: Fills, payer: Payer, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self { fills, payer, places, most }
    }

    /// How many are fetched at once.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The largest blob that is held as a whole.
    pub fn whole(&self) -> u64 {
        self.fills.whole()
    }

    /// Fetches a blob, once there is room beside what viewers ask for.
    ///
    /// # Errors
    /// As of [`Fills::have`]; where no fill can be begun for want of room, it waits.
    ///
    /// # Cancel safety
    /// The fill is given up, unless somebody else reads it or little is left.
    pub async fn fetch(&self, id: BlobId) -> Result<Fetched, Arc<FillError>> {
        let _place = self.places.acquire().await;
        let key = Key { id, part: Part::Whole };
        loop {
            while !self.payer.may_charge_behind() || !self.fills.has_room_behind() {
                sleep(PAUSE).await;
            }
            let had = self.fills.have(key, None, &self.payer, Want::Whole, PATIENCE).await;
            return match had {
                Ok(Had::Hit(entry)) => Ok(Fetched::Whole(entry, Source::Memory)),
                Ok(Had::Filled { ready: Ready::Entry(entry, source), .. }) => {
                    Ok(Fetched::Whole(entry, source))
                }
                Ok(Had::Filled { ready: Ready::Large { total, .. }, .. }) => {
                    Ok(Fetched::Large { total })
                }
                // The whole was waited for.
                Ok(Had::Filled { ready: Ready::Streaming(_), .. }) => {
                    Err(Arc::new(FillError::Abandoned))
                }
                Err(error) if is_for_want_of_room(&error) => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => Err(error),
            };
        }
    }
}

/// Whether a fill was not begun at all.
fn is_for_want_of_room(error: &FillError) -> bool {
    matches!(
        error,
        FillError::Shed(ShedReason::Fills | ShedReason::Misses) | FillError::Throttled { .. }
    )
}
