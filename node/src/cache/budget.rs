//! One count of bytes for everything that holds blob data.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A limit on bytes held, shared by entries, fills in flight and responses of evicted entries.
///
/// The count is exact because every holder owns a [`Reservation`]: an evicted entry that a slow
/// viewer still reads stays counted until the viewer is done. The sum never passes the limit.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { shared: Arc::new(Shared { limit, used: AtomicU64::new(0) }) }
    }

    /// Takes `bytes`, or nothing at all.
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let Shared { limit, used } = &*self.shared;
        // Relaxed: the count guards itself, no other memory is published through it.
        used.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| sum <= limit)
        })
        .ok()?;
        Some(Reservation { shared: Arc::clone(&self.shared), bytes })
    }

    /// Bytes taken now.
    pub fn used(&self) -> u64 {
        self.shared.used.load(Relaxed)
    }

    /// Bytes that may be taken in all.
    pub fn limit(&self) -> u64 {
        self.shared.limit
    }
}

impl Reservation {
    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.shared.used.fetch_sub(surplus, Relaxed);
    }

    /// Bytes taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_sum_never_passes_the_limit_and_all_comes_back(
            wishes in prop::collection::vec((0u64..200, any::<bool>()), 0..50)
        ) {
            let budget = Budget::new(500);
            let mut held = Vec::new();
            for (bytes, release) in wishes {
                if release {
                    held.pop();
                }
                held.extend(budget.reserve(bytes));
                let sum: u64 = held.iter().map(Reservation::bytes).sum();
                prop_assert_eq!(sum, budget.used());
                prop_assert!(sum <= 500);
            }
            drop(held);
            prop_assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn a_wish_beyond_all_numbers_is_refused() {
        let budget = Budget::new(u64::MAX);
        let _half = budget.reserve(u64::MAX / 2).unwrap();
        assert!(budget.reserve(u64::MAX).is_none());
    }

    #[test]
    fn shrinking_gives_the_surplus_back() {
        let budget = Budget::new(10);
        let mut held = budget.reserve(10).unwrap();
        held.shrink_to(4);
        assert_eq!(budget.used(), 4);
        held.shrink_to(9);
        assert_eq!((held.bytes(), budget.used()), (4, 4));
    }
}
