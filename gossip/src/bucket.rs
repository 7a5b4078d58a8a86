//! A token bucket.

use crate::time::Time;

/// Lets through so many a second, and a burst after a pause.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Time,
}

impl Bucket {
    /// Full.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, tokens: burst, at: Time::ZERO }
    }

    /// Takes `count` if they are there.
    pub(crate) fn take(&mut self, count: u32, now: Time) -> bool {
        self.refill(now);
        let has = self.tokens >= f64::from(count);
        if has {
            self.tokens -= f64::from(count);
        }
        has
    }

    /// How many are there.
    pub(crate) fn available(&mut self, now: Time) -> usize {
        self.refill(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a burst at most"
        )]
        let whole = self.tokens as usize;
        whole
    }

    /// When `count` will be there, if nobody takes any before.
    pub(crate) fn ready(&self, count: u32) -> Time {
        let lacking = (f64::from(count) - self.tokens).max(0.0);
        self.at + Time::from_secs_f64(lacking / self.per_second)
    }

    fn refill(&mut self, now: Time) {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 3);
        let start = Time::from_secs(5);
        assert!((0..3).all(|_| bucket.take(1, start)));
        assert!(!bucket.take(1, start));
        let ready = bucket.ready(1);
        assert_eq!(ready, start + Time::from_millis(100));
        assert!(bucket.take(1, ready));
        assert!(!bucket.take(1, ready));
    }
}
