//! Ids that origins refused a moment ago.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_proto::{BlobId, Position};

/// Why there is nothing to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// No such blob: 404.
    NotFound,
    /// Refused for legal reasons: 451.
    Blocked,
}

/// A short memory of absences, so that a page with a dead link does not hammer the origins.
///
/// Short, because a blob appears seconds after it was asked for too early; bounded, because
/// anybody can ask for random ids.
#[derive(Debug)]
pub struct Negative {
    ttl: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    refusals: HashMap<BlobId, Refusal>,
    /// When those that have expired were looked for last.
    swept: Option<Instant>,
}

/// What origins said, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What they said.
    pub absence: Absence,
    /// The position that was known when they were asked.
    pub token: Position,
    said: Instant,
}

/// Ids remembered; beyond it the expired ones are dropped, then nothing is added.
const MAX_IDS: usize = 16_384;

/// Looking for those that have expired goes through all, so it is not done for each one more.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

impl Refusal {
    /// What was said so long ago.
    pub fn new(absence: Absence, token: Position, ago: Duration) -> Self {
        let now = Instant::now();
        Self { absence, token, said: now.checked_sub(ago).unwrap_or(now) }
    }

    /// How long ago it was said.
    pub fn age(&self) -> Duration {
        self.said.elapsed()
    }
}

impl Negative {
    /// Remembers for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, known: Mutex::default() }
    }

    /// What was said of `id`, if it was said within the time to live.
    pub fn get(&self, id: &BlobId) -> Option<Refusal> {
        let refusal = *self.known.lock().refusals.get(id)?;
        (refusal.age() < self.ttl).then_some(refusal)
    }

    /// Remembers an absence.
    pub fn insert(&self, id: BlobId, refusal: Refusal) {
        let now = Instant::now();
        let Known { refusals, swept } = &mut *self.known.lock();
        if refusals.len() >= MAX_IDS && swept.is_none_or(|swept| now >= swept + SWEEP_PAUSE) {
            *swept = Some(now);
            refusals.retain(|_, refusal| now < refusal.said + self.ttl);
        }
        if refusals.len() < MAX_IDS {
            refusals.insert(id, refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> BlobId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        BlobId::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_believed_for_its_time_and_no_longer() {
        let negative = Negative::new(Duration::from_secs(2));
        let fresh = Refusal::new(Absence::NotFound, Position::ORIGIN, Duration::ZERO);
        let older = Refusal::new(Absence::Blocked, Position::ORIGIN, Duration::from_secs(1));
        negative.insert(id(1), fresh);
        negative.insert(id(2), older);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(negative.get(&id(2)), Some(older));
        tokio::time::advance(Duration::from_millis(1_000)).await;
        assert_eq!((negative.get(&id(1)), negative.get(&id(2))), (Some(fresh), None));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(negative.get(&id(1)), None);
        assert_eq!(negative.get(&id(3)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_random_ids_is_bounded_and_passes() {
        let negative = Negative::new(Duration::from_secs(2));
        let refusal = || Refusal::new(Absence::NotFound, Position::ORIGIN, Duration::ZERO);
        for n in 0..=u16::MAX {
            negative.insert(id(n), refusal());
        }
        assert_eq!(negative.known.lock().refusals.len(), MAX_IDS);
        tokio::time::advance(Duration::from_secs(3)).await;
        negative.insert(id(7), refusal());
        assert_eq!(negative.known.lock().refusals.len(), 1);
    }
}
