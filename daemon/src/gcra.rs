//! A rate with a burst, told by one number (the generic cell rate algorithm).
//!
//! The number is the time at which everything spent will have been earned again. Each permit moves
//! it by the time between two permits; it may lie as far ahead of now as the burst allows.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds between two permits.
    every: u64,
    /// How far the number may lie ahead of now, before one more is taken.
    ahead: u64,
}

/// What somebody has spent: nanoseconds since a beginning that all callers share.
#[derive(Debug, Default)]
pub struct Spent(AtomicU64);

impl Rate {
    /// `None` for a rate of 0, which stands for no limit.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let every = 1_000_000_000 / u64::from((per_second > 0).then_some(per_second)?);
        Some(Self { every, ahead: every * u64::from(burst.saturating_sub(1)) })
    }

    /// So many a minute, all of which may come at once; `None` for 0, which stands for no limit.
    pub fn per_minute(count: u32) -> Option<Self> {
        let every = 60_000_000_000 / u64::from((count > 0).then_some(count)?);
        Some(Self { every, ahead: every * u64::from(count - 1) })
    }

    /// Nanoseconds between two permits.
    pub fn every(self) -> u64 {
        self.every
    }

    /// How far what was spent may lie ahead of now, before one more is taken: nanoseconds.
    pub fn ahead(self) -> u64 {
        self.ahead
    }

    /// Permits that are left of what was spent so far ahead of now, in nanoseconds.
    pub fn left(self, ahead: u64) -> u64 {
        match self.ahead.checked_sub(ahead) {
            Some(room) => room / self.every + 1,
            None => 0,
        }
    }

    /// How long to wait for one more, where that much lies ahead.
    pub fn wait(self, ahead: u64) -> Duration {
        Duration::from_nanos(ahead.saturating_sub(self.ahead))
    }

    /// The same rate with half of the burst.
    pub fn half(self) -> Self {
        Self { ahead: self.ahead / 2, ..self }
    }

    /// The number after one more permit, or how long to wait for it.
    fn after(self, spent: u64, now: u64) -> Result<u64, Duration> {
        let from = spent.max(now);
        match (from - now).checked_sub(self.ahead) {
            None | Some(0) => Ok(from.saturating_add(self.every)),
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }
}

impl Spent {
    /// Takes a permit.
    ///
    /// # Errors
    /// How long to wait for it.
    pub fn take(&self, rate: Rate, now: u64) -> Result<(), Duration> {
        // Relaxed: the number guards itself, no other memory is published through it.
        let mut wait = Duration::ZERO;
        let taken = self.0.fetch_update(Relaxed, Relaxed, |spent| {
            rate.after(spent, now).map_err(|longer| wait = longer).ok()
        });
        taken.map(drop).map_err(|_| wait)
    }

    /// How far what was spent lies ahead of now: nanoseconds until all of it is earned again.
    pub fn ahead(&self, now: u64) -> u64 {
        self.0.load(Relaxed).saturating_sub(now)
    }

    /// Whether a permit could be taken.
    pub fn has_room(&self, rate: Rate, now: u64) -> bool {
        rate.after(self.0.load(Relaxed), now).is_ok()
    }

    /// Gives a permit back.
    pub fn refund(&self, rate: Rate) {
        let refunded =
            self.0.fetch_update(Relaxed, Relaxed, |spent| Some(spent.saturating_sub(rate.every)));
        debug_assert!(refunded.is_ok(), "the update always gives a number");
    }

    /// Whether all that was spent is earned again.
    pub fn is_whole(&self, now: u64) -> bool {
        self.0.load(Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_was_earned_since_pass(
            per_second in 1u32..10_000,
            burst in 1u32..1_000,
            pauses in prop::collection::vec(0u64..SECOND / 10, 1..400),
        ) {
            let (rate, spent) = (Rate::new(per_second, burst).unwrap(), Spent::default());
            let mut now = 5 * SECOND;
            let mut passed = Vec::new();
            for pause in pauses {
                now += pause;
                if spent.take(rate, now).is_ok() {
                    passed.push(now);
                }
            }
            for (n, from) in passed.iter().enumerate() {
                for (m, to) in passed.iter().enumerate().skip(n) {
                    let earned = (to - from) / rate.every;
                    prop_assert!((m - n + 1) as u64 <= u64::from(burst) + earned + 1);
                }
            }
        }

        #[test]
        fn the_burst_passes_at_once_and_the_next_after_the_wait_it_was_told(
            per_second in 1u32..10_000,
            burst in 1u32..1_000,
            now in 0u64..SECOND,
        ) {
            let (rate, spent) = (Rate::new(per_second, burst).unwrap(), Spent::default());
            for _ in 0..burst {
                prop_assert_eq!(spent.take(rate, now), Ok(()));
            }
            prop_assert!(!spent.has_room(rate, now));
            let wait = spent.take(rate, now).unwrap_err();
            let then = now + u64::try_from(wait.as_nanos()).unwrap();
            prop_assert!(spent.take(rate, then - 1).is_err());
            prop_assert!(spent.has_room(rate, then));
            prop_assert_eq!(spent.take(rate, then), Ok(()));
        }

        #[test]
        fn what_is_left_can_be_taken_and_no_more(count in 1u32..5_000, taken in 0u32..5_000) {
            let (rate, spent) = (Rate::per_minute(count).unwrap(), Spent::default());
            let granted = (0..taken).filter(|_| spent.take(rate, SECOND).is_ok()).count();
            prop_assert_eq!(granted, usize::try_from(taken.min(count)).unwrap());
            let left = rate.left(spent.ahead(SECOND));
            prop_assert_eq!(left, u64::from(count.saturating_sub(taken)));
        }

        #[test]
        fn what_is_given_back_can_be_taken_again(burst in 1u32..100, back in 1u32..100) {
            let (rate, spent) = (Rate::new(1, burst).unwrap(), Spent::default());
            (0..burst).for_each(|_| spent.take(rate, 0).unwrap());
            let back = back.min(burst);
            (0..back).for_each(|_| spent.refund(rate));
            let again = (0..200).filter(|_| spent.take(rate, 0).is_ok()).count();
            prop_assert_eq!(u32::try_from(again).unwrap(), back);
        }
    }

    #[test]
    fn what_was_spent_is_whole_again_once_it_is_earned() {
        let (rate, spent) = (Rate::new(10, 5).unwrap(), Spent::default());
        (0..5).for_each(|_| spent.take(rate, SECOND).unwrap());
        assert!(!spent.is_whole(SECOND + SECOND / 2 - 1));
        assert!(spent.is_whole(SECOND + SECOND / 2));
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert_eq!(Rate::new(0, 10), None);
    }
}
