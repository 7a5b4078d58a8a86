//! A high quantile of recent times.

use std::time::Duration;

/// Times counted in buckets that grow by a fourth root of two, old ones fading. Pure.
///
/// The relative error is below a fifth, which is enough to decide when waiting becomes odd.
#[derive(Debug)]
pub struct Quantile {
    counts: [u32; BUCKETS],
    total: u32,
}

/// From 1 ms to over 60 s.
const BUCKETS: usize = 66;

/// Buckets per doubling.
const STEPS: f64 = 4.0;

/// When so many times are counted, each counts half: what was long ago is forgotten.
const HALVED_AT: u32 = 512;

/// Times below which their distribution is not known.
const LEAST_KNOWN: u32 = 20;

impl Default for Quantile {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Quantile {
    /// Counts one time.
    pub fn note(&mut self, time: Duration) {
        if self.total >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        let ms = time.as_secs_f64() * 1e3;
        let bucket = (0..BUCKETS - 1).find(|n| ms <= bound_ms(*n)).unwrap_or(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time that `share` of the recent ones do not exceed; `None` while too few are known.
    pub fn at(&self, share: f64) -> Option<Duration> {
        if self.total < LEAST_KNOWN {
            return None;
        }
        let wanted = f64::from(self.total) * share;
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            f64::from(below) >= wanted
        });
        let last = BUCKETS - 1;
        Some(Duration::from_secs_f64(bound_ms(bucket.unwrap_or(last)) / 1e3))
    }
}

/// The upper end of a bucket, in milliseconds.
fn bound_ms(bucket: usize) -> f64 {
    (f64::from(u32::try_from(bucket).unwrap_or(u32::MAX)) / STEPS).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_said_before_enough_is_known() {
        let mut times = Quantile::default();
        for _ in 1..LEAST_KNOWN {
            times.note(Duration::from_millis(5));
        }
        assert_eq!(times.at(0.95), None);
        times.note(Duration::from_millis(5));
        assert!(times.at(0.95).is_some());
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut times = Quantile::default();
        (0..500).for_each(|_| times.note(Duration::from_secs(2)));
        (0..5_000).for_each(|_| times.note(Duration::from_millis(10)));
        assert!(times.at(0.95).unwrap() < Duration::from_millis(12));
    }

    proptest! {
        #[test]
        fn it_lies_within_a_fifth_of_the_true_quantile(
            mut ms in prop::collection::vec(1u64..50_000, 20..400),
        ) {
            let mut times = Quantile::default();
            ms.iter().for_each(|ms| times.note(Duration::from_millis(*ms)));
            ms.sort_unstable();
            let rank = (ms.len() * 95).div_ceil(100) - 1;
            let truth = Duration::from_millis(ms[rank]).as_secs_f64();
            let told = times.at(0.95).unwrap().as_secs_f64();
            prop_assert!(told >= truth * 0.999 && told <= truth * 1.2, "{told} for {truth}");
        }
    }
}
