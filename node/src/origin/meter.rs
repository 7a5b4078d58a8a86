//! The least rate at which a body may arrive.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Fetch;

/// Sees that a body arrives at a least rate over each window.
#[derive(Debug)]
pub struct Meter {
    least: u64,
    window: Duration,
    began: Instant,
    bytes: u64,
}

/// A body that arrives more slowly than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fewer than {least} bytes a second for {window:?}")]
pub struct Trickle {
    /// The least rate.
    pub least: u64,
    /// How long it was measured.
    pub window: Duration,
}

impl Meter {
    /// Of a body that begins now.
    pub fn new(fetch: &Fetch) -> Self {
        Self::with(fetch.min_rate.bytes(), fetch.min_rate_window.duration())
    }

    fn with(least: u64, window: Duration) -> Self {
        Self { least, window, began: Instant::now(), bytes: 0 }
    }

    /// Counts bytes that came.
    ///
    /// # Errors
    /// [`Trickle`], at the end of a window in which there were too few.
    pub fn count(&mut self, bytes: usize, now: Instant) -> Result<(), Trickle> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let elapsed = now - self.began;
        if elapsed < self.window {
            return Ok(());
        }
        let Self { least, window, .. } = *self;
        if u128::from(self.bytes) * 1_000 < u128::from(least) * elapsed.as_millis() {
            return Err(Trickle { least, window });
        }
        (self.began, self.bytes) = (now, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_given_up_only_after_a_whole_window_below_the_least_rate() {
        let window = Duration::from_secs(30);
        let mut meter = Meter::with(100, window);
        let start = meter.began;
        for second in 1..30 {
            assert!(meter.count(1, start + Duration::from_secs(second)).is_ok());
        }
        assert_eq!(meter.count(1, start + window), Err(Trickle { least: 100, window }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_beginning_does_not_excuse_a_slow_end() {
        let window = Duration::from_secs(30);
        let mut meter = Meter::with(100, window);
        let start = meter.began;
        assert!(meter.count(1_000_000, start + window).is_ok());
        assert!(meter.count(10, start + 2 * window).is_err());
    }
}
