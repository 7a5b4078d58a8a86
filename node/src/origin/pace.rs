//! How many requests a second an origin is sent at most.

use std::time::Duration;

use tokio::time::Instant;

/// A budget of requests per second that may be saved up for a burst (GCRA: the generic cell rate
/// algorithm of ITU-T I.371). Pure; it holds the time at which the next request would be due if
/// all came evenly.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    due: Instant,
}

/// How many seconds' worth of requests may come at once after a quiet time.
const BURST: Duration = Duration::from_secs(4);

impl Pace {
    /// At most `rate` requests a second, nothing spent yet.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), due: now }
    }

    /// Takes one request from the budget; `false` if there is none left.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due.max(now);
        let is_within = due + self.interval <= now + BURST.max(self.interval);
        if is_within {
            self.due = due + self.interval;
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_then_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(200, start);
        let taken = |pace: &mut Pace, at| (0..2_000).filter(|_| pace.take(at)).count();
        assert_eq!(taken(&mut pace, start), 800);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(1)), 200);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(3_600)), 800);
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_its_time_and_a_burst_allow(
            rate in 1u32..500,
            gaps in prop::collection::vec(0u64..50, 1..400),
        ) {
            let start = Instant::now();
            let (mut pace, mut now, mut taken) = (Pace::new(rate, start), start, 0u32);
            for gap in gaps {
                now += Duration::from_millis(gap);
                taken += u32::from(pace.take(now));
            }
            let allowed = f64::from(rate) * (BURST + (now - start)).as_secs_f64();
            prop_assert!(f64::from(taken) <= allowed + 1.0);
        }
    }
}
