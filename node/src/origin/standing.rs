//! How an origin has behaved lately, and for how long that counts.

use std::time::Duration;

use tokio::time::Instant;

/// The record of one origin: pure, driven by whoever asks it.
#[derive(Debug, Default)]
pub struct Standing {
    failures: u32,
    away_until: Option<Instant>,
}

/// The first time-out after a failure; doubled by each further one in a row.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest time-out of an origin that merely fails.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an origin that sent wrong bytes is asked last: a lie is no accident of load.
pub const LIE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Standing {
    /// When the origin's time-out ends, if it has one now. Origins without one sort first.
    pub fn away(&self, now: Instant) -> Option<Instant> {
        self.away_until.filter(|end| now < *end)
    }

    /// It answered: failures are forgiven, but a time-out for lying runs its course.
    pub fn served(&mut self) {
        self.failures = 0;
    }

    /// It failed, and may have said when to come back.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let doubled = FIRST_TIMEOUT.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.stay_away(now + doubled.min(LONGEST_TIMEOUT).max(asked));
    }

    /// It sent wrong bytes.
    pub fn lied(&mut self, now: Instant) {
        self.stay_away(now + LIE_TIMEOUT);
    }

    fn stay_away(&mut self, until: Instant) {
        self.away_until = Some(self.away_until.map_or(until, |end| end.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_double_the_time_out_up_to_its_limit() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut spans = Vec::new();
        for _ in 0..9 {
            standing.failed(now, None);
            spans.push((standing.away(now).unwrap() - now).as_millis());
        }
        assert_eq!(spans, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_forgives_failures_but_no_lie() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        standing.failed(now, None);
        standing.lied(now);
        standing.served();
        assert_eq!(standing.away(now), Some(now + LIE_TIMEOUT));
        standing.failed(now + LIE_TIMEOUT, None);
        assert_eq!(standing.away(now + LIE_TIMEOUT), Some(now + LIE_TIMEOUT + FIRST_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_within_reason() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        standing.failed(now, Some(Duration::from_secs(7)));
        assert_eq!(standing.away(now), Some(now + Duration::from_secs(7)));
        standing.failed(now, Some(Duration::from_secs(86_400)));
        assert_eq!(standing.away(now), Some(now + LONGEST_RETRY_AFTER));
    }
}
