//! How long a node takes to confirm.

use super::IssuerTiming;
use crate::time::Time;

/// Above this an ack tells of a node that was away, not of the way to it.
const MAX_TRIP: Time = Time::from_secs(2);

/// The least that is added to a round trip: timers and busy nodes are late by as much.
const MIN_VARIATION: Time = Time::from_millis(10);

/// How often the wait of a node that says nothing is doubled.
const MAX_DOUBLINGS: u32 = 4;

/// So many confirmations in a row, all of frames that were sent again, say that the estimate is too
/// low: even where a fifth is lost it happens once in 400,000 frames.
const MAX_DIRTY: u32 = 4;

/// A round trip as TCP reckons it (RFC 6298 §2), an ack's delay included.
///
/// A frame that was sent again does not tell which copy was confirmed (Karn). Its sample, counted from
/// the first copy, errs upwards only; it is taken if there is nothing better, or a node that is farther
/// away than the first guess, and so is always sent to twice, would never be measured.
#[derive(Debug, Default)]
pub(super) struct Trip {
    /// Smoothed, and its mean deviation.
    measured: Option<(Time, Time)>,
    /// Whether all of that is of frames that were sent again.
    is_dirty: bool,
    /// Samples of such frames since the last of another.
    dirty: u32,
    /// Resends since the last sample that nothing answered.
    fruitless: u32,
}

impl Trip {
    /// Notes how long after its first copy a frame was confirmed.
    pub(super) fn sample(&mut self, sample: Time, was_resent: bool) {
        self.fruitless = 0;
        self.dirty = if was_resent { self.dirty + 1 } else { 0 };
        let has_better = self.measured.is_some() && !self.is_dirty && self.dirty < MAX_DIRTY;
        if sample > MAX_TRIP || (was_resent && has_better) {
            return;
        }
        if self.is_dirty && !was_resent {
            self.measured = None;
        }
        self.is_dirty = was_resent;
        self.measured = Some(match self.measured {
            None => (sample, sample / 2),
            Some((trip, deviation)) => {
                ((trip * 7 + sample) / 8, (deviation * 3 + trip.abs_diff(sample)) / 4)
            }
        });
    }

    /// Notes that nothing was heard since the last resend.
    pub(super) fn back_off(&mut self) {
        self.fruitless = (self.fruitless + 1).min(MAX_DOUBLINGS);
    }

    /// How long a confirmation is waited for. Never less than a round trip: more would be sent twice
    /// than is lost.
    pub(super) fn wait(&self, timing: &IssuerTiming) -> Time {
        let Some((trip, deviation)) = self.measured else { return timing.first_resend };
        let wait = trip + (deviation * 4).max(MIN_VARIATION);
        wait.clamp(timing.min_resend, timing.max_resend).max(trip * 11 / 10)
    }

    /// The same for a node that says nothing: doubled each time.
    pub(super) fn probe_wait(&self, timing: &IssuerTiming) -> Time {
        self.wait(timing) * (1 << self.fruitless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_millis(n)
    }

    #[test]
    fn a_steady_trip_is_waited_for_and_a_little_more() {
        let (mut trip, timing) = (Trip::default(), IssuerTiming::default());
        assert_eq!(trip.wait(&timing), ms(300));
        (0..60).for_each(|_| trip.sample(ms(40), false));
        assert_eq!(trip.wait(&timing), ms(50));
        (0..60).for_each(|_| trip.sample(ms(240), false));
        assert!(trip.wait(&timing) > ms(250) && trip.wait(&timing) < ms(270));
        trip.sample(ms(60_000), false);
        assert!(trip.wait(&timing) < ms(270));
    }

    #[test]
    fn frames_that_were_sent_again_count_only_if_all_were() {
        let (mut trip, timing) = (Trip::default(), IssuerTiming::default());
        (0..60).for_each(|_| trip.sample(ms(40), false));
        (0..3).for_each(|_| trip.sample(ms(180), true));
        assert_eq!(trip.wait(&timing), ms(50));
        trip.sample(ms(40), false);
        (0..7).for_each(|_| trip.sample(ms(180), true));
        assert!(trip.wait(&timing) > ms(180));
        (0..60).for_each(|_| trip.sample(ms(40), false));
        assert_eq!(trip.wait(&timing), ms(50));
    }

    #[test]
    fn silence_doubles_the_wait_up_to_a_bound_and_a_sample_ends_that() {
        let (mut trip, timing) = (Trip::default(), IssuerTiming::default());
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(trip.probe_wait(&timing));
            trip.back_off();
        }
        assert_eq!(waits, [300, 600, 1_200, 2_400, 4_800, 4_800].map(ms));
        trip.sample(ms(60_000), true);
        assert_eq!(trip.probe_wait(&timing), ms(300));
    }
}
