//! When the log is read again.

use rand::{Rng, RngExt as _};
use wcdn_proto::Position;

use super::{EdgeTiming, progress::Progress};
use crate::time::Time;

/// Whether the log is being read, and when it may be read next.
#[derive(Debug)]
pub(super) struct Catching {
    /// The hint that was there when the reading began, while it is under way.
    running: Option<Position>,
    /// Whether the end of the log was reached once since the start.
    has_begun: bool,
    /// A seq that was missing, and since when.
    hole: Option<(u64, Time)>,
    not_before: Time,
    vain: u32,
}

impl Catching {
    pub(super) fn new(now: Time) -> Self {
        Self { running: None, has_begun: false, hole: None, not_before: now, vain: 0 }
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
        let reason = if is_urgent { Time::ZERO } else { self.hole_since()? + timing.hole_patience };
        Some(reason.max(self.not_before))
    }

    /// Notes that the reading begins.
    pub(super) fn begin(&mut self, progress: &Progress) {
        self.running = Some(progress.hinted());
    }

    /// Notes that something was read; there may be more.
    pub(super) fn advanced(&mut self, now: Time) {
        self.running = None;
        self.vain = 0;
        self.not_before = now;
    }

    /// Notes that the end of the log was reached: whatever was hinted before does not exist.
    pub(super) fn ended(&mut self, progress: &mut Progress, now: Time, rng: &mut impl Rng) {
        self.has_begun = true;
        if let Some(hint) = self.running.take() {
            progress.discard_hint(hint);
        }
        self.back_off(now, rng);
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
