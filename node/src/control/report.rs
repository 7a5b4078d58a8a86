//! What a node tells a control plane, put together when a report leaves.
//!
//! Each session has a `Reporter`, which knows how far this control plane has been told, by a mark for
//! each part. A part that is a list of events has numbers, and goes on after its mark; one that is a
//! state, or sums since the node's start, is told whole if it is another than at its mark. So a report
//! that is lost with its session costs nothing: the next session's reports make up for it. A new part
//! is a source in [`Sources`], a mark in `Marks`, a line in `Reporter::report` and, unless it can
//! wait for the next report, one in `Reporter::news`.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    Position,
    pb::edge::v1::{Report, Welcome},
};

use super::gathered::Gathered;
use crate::{
    events::{Log, outcome::Outcomes},
    origin::Pool,
    pins::told::{Mark, Told},
};

/// What there is to tell.
#[derive(Debug, Clone)]
pub struct Sources {
    /// How far the log is applied.
    pub log: Arc<Log>,
    /// What events did.
    pub outcomes: Arc<Outcomes>,
    /// How origins did.
    pub pool: Pool,
    /// What is done for pins.
    pub pins: Arc<Told>,
}

/// How far a control plane has been told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The number of the last outcome.
    outcomes: u64,
}

/// Makes the reports of one session.
#[derive(Debug)]
pub(super) struct Reporter {
    sources: Sources,
    marks: Marks,
    /// The number of the last word on pins that was told in this session: each begins with all of them.
    pins: Option<Mark>,
    applied: watch::Receiver<Position>,
    outcomes: watch::Receiver<u64>,
    /// Each session is told all of it anew.
    gathered: Gathered,
    pinned: watch::Receiver<u64>,
}

/// Outcomes, and pins, in one report.
const MAX_OUTCOMES: usize = 1000;
const MAX_PINS: usize = 1000;

impl Reporter {
    /// Goes on where the control plane says that it was told before, or, if it does not say, where the
    /// last session's reports ended.
    pub(super) fn new(sources: Sources, welcome: &Welcome, before: Marks) -> Self {
        let marks = Marks { outcomes: welcome.last_outcome.unwrap_or(before.outcomes) };
        let (applied, outcomes) = (sources.log.positions.watch(), sources.outcomes.watch());
        let gathered = Gathered::new(sources.pool.clone());
        let pinned = sources.pins.watch();
        Self { sources, marks, pins: None, applied, outcomes, gathered, pinned }
    }

    /// Waits for something that is to be told soon.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn news(&mut self) {
        tokio::select! {
            Ok(()) = self.applied.changed() => {}
            Ok(()) = self.outcomes.changed() => {}
            Ok(()) = self.pinned.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// The next report, and whether it tells all that there is.
    pub(super) fn report(&mut self) -> (Report, bool) {
        // Before the position is read: what an event did is told with it, or before.
        let told = self.sources.outcomes.after(self.marks.outcomes, MAX_OUTCOMES);
        self.marks.outcomes = told.last;
        let applied = Some(self.sources.log.positions.applied().into());
        let pinned = self.sources.pins.after(self.pins, MAX_PINS);
        self.pins = Some(pinned.last);
        let (first_outcome, outcomes, pins) = (told.first, told.outcomes, pinned.pins);
        let mut report = Report { applied, first_outcome, outcomes, pins, ..Report::default() };
        self.gathered.fill(&mut report, Instant::now());
        (report, told.is_all && pinned.is_all)
    }

    /// How far the control plane has been told by now.
    pub(super) fn marks(&self) -> Marks {
        self.marks
    }
}

#[cfg(test)]
mod tests {
    use wcdn_proto::{BlobId, pb::edge::v1::Keeping};

    use super::*;
    use crate::events::outcome::Did;

    fn sources(outcomes: u64) -> Sources {
        let (log, told) = (Log::none(), Arc::new(Outcomes::new(Arc::default())));
        (1..=outcomes).for_each(|seq| told.done(Position { epoch: 1, seq }, Did::default(), None));
        let pool = crate::origin::pool::tests::pool(&["a"]);
        Sources { log, outcomes: told, pool, pins: Arc::default() }
    }

    fn numbers(report: &Report) -> (u64, usize) {
        (report.first_outcome, report.outcomes.len())
    }

    #[tokio::test]
    async fn each_control_plane_is_told_all_and_again_what_it_has_not_heard() {
        let sources = sources(3);
        let welcome = |last_outcome| Welcome { last_outcome, ..Welcome::default() };
        let mut one = Reporter::new(sources.clone(), &welcome(Some(0)), Marks::default());
        let mut other = Reporter::new(sources.clone(), &welcome(Some(2)), Marks::default());
        assert_eq!(numbers(&one.report().0), (1, 3));
        assert_eq!(numbers(&other.report().0), (3, 1));
        assert_eq!(numbers(&one.report().0), (0, 0));
        // That report was lost with its session.
        let mut next = Reporter::new(sources.clone(), &welcome(Some(1)), one.marks());
        assert_eq!(numbers(&next.report().0), (2, 2));
        // This one would count twice.
        let mut older = Reporter::new(sources, &welcome(None), one.marks());
        assert_eq!(numbers(&older.report().0), (0, 0));
    }

    #[tokio::test]
    async fn each_session_begins_with_all_pins_and_goes_on_with_what_changes() {
        let (sources, welcome) = (sources(0), Welcome::default());
        let id = |n| BlobId::from_bytes([n; 32]);
        (0..3).for_each(|n| sources.pins.tell(id(n), Keeping::Filling, ""));
        let mut reporter = Reporter::new(sources.clone(), &welcome, Marks::default());
        let told = |report: Report| report.pins.map(|pins| (pins.begins, pins.states.len()));
        assert_eq!(told(reporter.report().0), Some((true, 3)));
        assert_eq!(told(reporter.report().0), None);
        sources.pins.tell(id(1), Keeping::Held, "");
        reporter.news().await;
        assert_eq!(told(reporter.report().0), Some((false, 1)));
        let mut next = Reporter::new(sources, &welcome, reporter.marks());
        assert_eq!(told(next.report().0), Some((true, 3)));
    }

    #[tokio::test]
    async fn what_does_not_fit_one_report_is_in_the_next() {
        let count = MAX_OUTCOMES as u64 + 1;
        let (sources, welcome) = (sources(count), Welcome::default());
        let mut reporter = Reporter::new(sources.clone(), &welcome, Marks::default());
        let (report, is_all) = reporter.report();
        assert_eq!((numbers(&report), is_all), ((1, MAX_OUTCOMES), false));
        let (report, is_all) = reporter.report();
        assert_eq!((numbers(&report), is_all), ((count, 1), true));
        sources.outcomes.done(Position { epoch: 1, seq: 1 }, Did::default(), None);
        reporter.news().await;
        assert_eq!(numbers(&reporter.report().0), (count + 1, 1));
    }
}
