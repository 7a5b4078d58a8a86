//! How long an origin lets us wait for the head of a response.

use std::time::Duration;

use tokio::time::Instant;

/// A moving average that jumps up to each peak and comes down slowly (peak-EWMA): one slow answer
/// is reason enough to prefer another origin, several fast ones are needed to come back.
///
/// It also comes down while nobody asks, or an origin that was slow once would never be asked
/// again and never be found to have become fast.
#[derive(Debug, Default)]
pub struct Latency {
    last: Option<(f64, Instant)>,
}

/// In this time an old peak counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// The most that doubling makes of it.
const LONGEST: Duration = Duration::from_secs(10);

impl Latency {
    /// Notes a head that took so long.
    pub fn note(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let value = match self.last {
            Some((value, at)) if took < value => took + (value - took) * fade(now - at),
            _ => took,
        };
        self.last = Some((value, now));
    }

    /// Notes that so long was waited in vain: it takes at least that.
    pub fn note_in_vain(&mut self, waited: Duration, now: Instant) {
        let expected = self.expected(now).unwrap_or_default();
        self.last = Some((expected.max(waited).as_secs_f64(), now));
    }

    /// Notes that another origin was faster although it was asked later. How long it would have
    /// taken nobody knows, so what is expected doubles each time: one that has fallen silent soon
    /// is not asked first any more.
    pub fn note_overtaken(&mut self, waited: Duration, now: Instant) {
        let doubled = self.expected(now).unwrap_or_default() * 2;
        self.note_in_vain(doubled.min(LONGEST).max(waited), now);
    }

    /// What to expect; `None` while it was never asked.
    pub fn expected(&self, now: Instant) -> Option<Duration> {
        let (value, at) = self.last?;
        Some(Duration::from_secs_f64(value * fade(now - at)))
    }
}

fn fade(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test(start_paused = true)]
    async fn a_peak_counts_at_once_and_fades_with_its_half_life() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        assert_eq!(latency.expected(start), None);
        latency.note(MS(20), start);
        latency.note(MS(2_000), start);
        assert_eq!(latency.expected(start), Some(MS(2_000)));
        let later = start + HALF_LIFE;
        assert_eq!(latency.expected(later), Some(MS(1_000)), "also if nobody asks");
        latency.note(MS(20), later);
        assert_eq!(latency.expected(later), Some(MS(1_010)), "half way to the new value");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_in_vain_never_makes_it_look_faster() {
        let (mut latency, now) = (Latency::default(), Instant::now());
        latency.note(MS(100), now);
        latency.note_in_vain(MS(5), now);
        assert_eq!(latency.expected(now), Some(MS(100)));
        latency.note_overtaken(MS(40), now);
        assert_eq!(latency.expected(now), Some(MS(200)));
        (0..20).for_each(|_| latency.note_overtaken(MS(40), now));
        assert_eq!(latency.expected(now), Some(LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn fast_answers_in_a_row_bring_it_down() {
        let (mut latency, start) = (Latency::default(), Instant::now());
        latency.note(MS(2_000), start);
        for second in 1..=120 {
            latency.note(MS(20), start + Duration::from_secs(second));
        }
        let expected = latency.expected(start + Duration::from_secs(120)).unwrap();
        assert!(expected < MS(21), "{expected:?}");
    }
}
