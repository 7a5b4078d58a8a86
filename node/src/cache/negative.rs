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
    until: Mutex<HashMap<BlobId, Refusal>>,
}

/// What origins said, and when.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    until: Instant,
    absence: Absence,
    /// The position that was known when they were asked.
    token: Position,
}

/// Ids remembered; beyond it the expired ones are dropped, then nothing is added.
const MAX_IDS: usize = 16_384;

impl Negative {
    /// Remembers for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, until: Mutex::default() }
    }

    /// What was said of `id`, if it was said within the time to live, and the position that was
    /// known then.
    pub fn get(&self, id: &BlobId) -> Option<(Absence, Position)> {
        let until = self.until.lock();
        let refusal = until.get(id)?;
        (Instant::now() < refusal.until).then_some((refusal.absence, refusal.token))
    }

    /// Remembers an absence.
    pub fn insert(&self, id: BlobId, absence: Absence, token: Position) {
        let now = Instant::now();
        let mut until = self.until.lock();
        if until.len() >= MAX_IDS {
            until.retain(|_, refusal| now < refusal.until);
        }
        if until.len() < MAX_IDS {
            until.insert(id, Refusal { until: now + self.ttl, absence, token });
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
        negative.insert(id(1), Absence::NotFound, Position::ORIGIN);
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert_eq!(negative.get(&id(1)), Some((Absence::NotFound, Position::ORIGIN)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(negative.get(&id(1)), None);
        assert_eq!(negative.get(&id(2)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_random_ids_is_bounded_and_passes() {
        let negative = Negative::new(Duration::from_secs(2));
        for n in 0..=u16::MAX {
            negative.insert(id(n), Absence::NotFound, Position::ORIGIN);
        }
        assert_eq!(negative.until.lock().len(), MAX_IDS);
        tokio::time::advance(Duration::from_secs(3)).await;
        negative.insert(id(7), Absence::Blocked, Position::ORIGIN);
        assert_eq!(negative.until.lock().len(), 1);
    }
}
