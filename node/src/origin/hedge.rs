//! When a second origin is asked although the first may still answer.

use std::time::Duration;

use super::quantile::Quantile;

/// What heads took lately, over all origins, and how many more requests may be made because of it.
/// Pure.
///
/// A head that has not come after the time in which 95 of 100 come is odd, and another origin
/// likely to be faster. The budget keeps that from doubling the load where all have become slow,
/// which would make them slower.
#[derive(Debug)]
pub struct Hedging {
    heads: Quantile,
    /// Hedges that each request allows for.
    share: f64,
    saved: f64,
}

/// The share of heads that come in time.
const IN_TIME: f64 = 0.95;

/// Nobody is hedged sooner: what would be gained is less than the request costs.
const LEAST_PATIENCE: Duration = Duration::from_millis(20);

/// Hedges that may be saved up.
const MOST_SAVED: f64 = 10.0;

impl Hedging {
    /// Nothing is known yet; `share` of all requests may be hedged, 0 for none.
    pub fn new(share: f64) -> Self {
        Self { heads: Quantile::default(), share, saved: MOST_SAVED }
    }

    /// Notes a request.
    pub fn asked(&mut self) {
        self.saved = (self.saved + self.share).min(MOST_SAVED);
    }

    /// Notes what a head took.
    pub fn head(&mut self, took: Duration) {
        self.heads.note(took);
    }

    /// How long to wait for a head before another origin is asked; `None` while that is not
    /// known, or never to be done.
    pub fn patience(&self) -> Option<Duration> {
        let patience = self.heads.at(IN_TIME).filter(|_| self.share > 0.0)?;
        Some(patience.max(LEAST_PATIENCE))
    }

    /// Takes one hedge from the budget; `false` if there is none left.
    pub fn take(&mut self) -> bool {
        let may = self.saved >= 1.0;
        if may {
            self.saved -= 1.0;
        }
        may
    }

    /// The time that `share` of the recent heads did not exceed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        self.heads.at(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(share: f64, ms: u64) -> Hedging {
        let mut hedging = Hedging::new(share);
        (0..100).for_each(|_| hedging.head(Duration::from_millis(ms)));
        hedging
    }

    #[test]
    fn at_most_a_tenth_of_requests_and_a_burst_are_hedged() {
        let mut hedging = knowing(0.1, 30);
        let mut hedges = 0;
        for _ in 0..1_000 {
            hedging.asked();
            hedges += u32::from(hedging.take());
        }
        assert!((100..=110).contains(&hedges), "{hedges}");
    }

    #[test]
    fn nobody_is_hedged_at_once_nor_where_it_is_switched_off() {
        assert_eq!(knowing(0.1, 1).patience(), Some(LEAST_PATIENCE));
        assert!(knowing(0.1, 400).patience().unwrap() >= Duration::from_millis(400));
        assert_eq!(knowing(0.0, 400).patience(), None);
        assert_eq!(Hedging::new(0.1).patience(), None, "nothing is known yet");
    }
}
