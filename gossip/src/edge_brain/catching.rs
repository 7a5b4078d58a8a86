//! When the log is read again.

use rand::{Rng, RngExt as _};
use wcdn_proto::Position;

use super::{EdgeTiming, progress::Progress};
use crate::time::Time;

/// Whether the log is being read, and when it may be read next.
#[derive(Debug)]
pub(super) struct Catching {
    running: Option<Reading>,
    /// Whether the end of the log was reached once since the start.
    has_begun: bool,
    /// A seq that was missing, and since when.
    hole: Option<(u64, Time)>,
    /// Since when nobody confirmed the head.
    blind_since: Time,
    not_before: Time,
    vain: u32,
}

/// A reading that is under way.
#[derive(Debug)]
struct Reading {
    began: Time,
    /// What was hinted when it began.
    hint: Position,
    /// Whether nothing was known that was not applied when it began.
    was_even: bool,
}

impl Catching {
    pub(super) fn new(now: Time) -> Self {
        Self {
            running: None,
            has_begun: false,
            hole: None,
            blind_since: now,
            not_before: now,
            vain: 0,
        }
    }

    /// Looks at holes again, after anything may have changed them.
    ///
    /// A hole is as old as its oldest missing event: everything that was thought to exist at one time
    /// must be there before the clock starts anew, however much comes in meanwhile.
    pub(super) fn watch(&mut self, progress: &Progress, now: Time) {
        if !progress.has_hole() {
            self.hole = None;
        } else if self.hole.is_none_or(|(target, _)| progress.ranges().upto() >= target) {
            self.hole = Some((progress.target(), now));
        }
    }

    /// Notes that the head was confirmed: datagrams come through.
    pub(super) fn saw(&mut self, at: Time) {
        self.blind_since = self.blind_since.max(at);
    }

    /// Since when something is missing.
    pub(super) fn hole_since(&self) -> Option<Time> {
        self.hole.map(|(_, since)| since)
    }

    /// When the log is to be read, if nothing changes.
    pub(super) fn due(&self, progress: &Progress, timing: &EdgeTiming) -> Option<Time> {
        if self.running.is_some() {
            return None;
        }
        let is_urgent = !self.has_begun
            || progress.needs_base()
            || progress.lacks_more_than(timing.max_missing);
        let blind = self.blind_since + timing.blind_patience;
        let mended = self.hole_since().map(|since| since + timing.hole_patience);
        let reason = if is_urgent { Time::ZERO } else { mended.map_or(blind, |at| at.min(blind)) };
        Some(reason.max(self.not_before))
    }

    /// Notes that the reading begins.
    pub(super) fn begin(&mut self, progress: &Progress, now: Time) {
        let was_even = !progress.needs_base() && progress.known() <= progress.applied();
        self.running = Some(Reading { began: now, hint: progress.hinted(), was_even });
    }

    /// Notes that something was read; there may be more.
    pub(super) fn advanced(&mut self, now: Time) {
        self.running = None;
        self.vain = 0;
        self.not_before = now;
    }

    /// Notes that the end of the log was reached: whatever was hinted before does not exist.
    ///
    /// Gives the time as of which everything that was committed is applied, by which a reading is as
    /// good as a lease: the end was read after the reading began. A log that lacks what is known by a
    /// signature is an old copy, and proves nothing.
    pub(super) fn ended(
        &mut self,
        progress: &mut Progress,
        now: Time,
        rng: &mut impl Rng,
    ) -> Option<Time> {
        let reading = self.running.take()?;
        self.has_begun = true;
        if reading.was_even && reading.hint <= progress.applied() {
            // It looked for nothing, so it was not in vain.
            self.vain = 0;
        }
        self.back_off(now, rng);
        progress.discard_hint(reading.hint);
        reading.was_even.then_some(reading.began)
    }

    /// Notes that the log could not be read.
    pub(super) fn failed(&mut self, now: Time, rng: &mut impl Rng) {
        self.running = None;
        self.back_off(now, rng);
    }

    /// Half to all of 200 ms, doubling to 3.2 s: a control plane that comes back is not met by all
    /// at once, and one liar cannot make a node read the log again and again.
    fn back_off(&mut self, now: Time, rng: &mut impl Rng) {
        let longest = Time::from_millis(200) * (1 << self.vain.min(4));
        self.vain = self.vain.saturating_add(1);
        self.not_before = now + rng.random_range(longest / 2..=longest);
    }
}
