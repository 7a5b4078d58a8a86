//! Ten thousand purges a second, and what the viewers of an edge notice of it.

mod fleet;
mod operators;

use std::{thread, time::Duration};

use tokio::runtime::{Builder, Runtime};

use self::{
    fleet::Fleet,
    operators::{Operators, Plan, Purged},
};
use crate::{
    cpu,
    figures::{Figures, Unit, millis, quantile},
    wrk::{self, Load},
};

/// What was promised: purges a second, and percent of the hits.
const PER_SECOND: f64 = 10_000.0;
const HITS_LEFT: f64 = 80.0;

/// What is asked for, so that a purge too few is not for want of asking.
const ASKED: f64 = PER_SECOND * 1.02;

/// Where an edge and its viewers are, and nothing else.
const PROCESSOR: usize = 0;

/// Of the viewers.
const CONNECTIONS: u32 = 64;

/// A running system, and those who purge.
struct Stage {
    fleet: Fleet,
    operators: Operators,
    runtime: Runtime,
    seconds: u32,
}

/// Hits of one edge.
struct Hits {
    load: Load,
    /// Seconds of processor time of the edge and its viewers.
    used: f64,
    /// What others used of their processor, as a share of it.
    foreign: f64,
}

/// Seconds of processor time.
struct Used {
    desk: f64,
    /// An edge without viewers.
    edge: f64,
    operators: f64,
}

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let seconds = if is_quick { 2 } else { 10 };
    // Whatever purges is elsewhere: what viewers notice is what their edge does.
    cpu::away_from(PROCESSOR, || {
        let fleet = Fleet::start()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let operators = Operators::new(fleet.desk.grpc, fleet.desk.key())?;
        let stage = Stage { fleet, operators, runtime, seconds };
        Ok(vec![
            stage.flood("one id in each call", 1, Some(ASKED))?,
            stage.flood("one id in each call, as fast as they go", 1, None)?,
            stage.flood("ten ids in each call", 10, Some(ASKED / 10.0))?,
        ])
    })
}

impl Stage {
    fn flood(
        &self,
        what: &str,
        ids: u64,
        calls_per_second: Option<f64>,
    ) -> anyhow::Result<Figures> {
        let (time, desk) = (Duration::from_secs(self.seconds.into()), &self.fleet.desk.process);
        let plan = Plan { ids, calls_per_second, time };
        let quiet = self.hits()?;
        let fetches = self.fleet.origin.requests();
        desk.forget_peak()?;
        let (start, before) = (desk.resident("VmRSS:")?, self.used()?);
        let (purged, during) = thread::scope(|scope| {
            let hits = scope.spawn(|| self.hits());
            let purged = self.runtime.block_on(self.operators.purge(plan));
            let hits = hits.join().expect("wrk is waited for without a panic");
            anyhow::Ok((purged?, hits?))
        })?;
        let used = self.used()?;
        let mut figures = Figures::new(format!("flood: three edges, purges, {what}"));
        purges(&mut figures, ids, purged);
        hits(&mut figures, &quiet, &during);
        let fetches = self.fleet.origin.requests() - fetches;
        figures.note("fetches of the hot blob meanwhile", fetches as f64, Unit::Count);
        let mut share = |who: &str, before: f64, after: f64| {
            let share = (after - before) / f64::from(self.seconds) * 100.0;
            figures.note(format!("of a core: {who}"), share, Unit::Percent);
        };
        share("the control plane", before.desk, used.desk);
        share("an edge without viewers", before.edge, used.edge);
        share("those who purge", before.operators, used.operators);
        figures.note("memory of the control plane, before", start, Unit::MiB);
        let most = desk.resident("VmHWM:")?;
        figures.note("memory of the control plane, the most", most, Unit::MiB);
        Ok(figures)
    }

    fn hits(&self) -> anyhow::Result<Hits> {
        let pid = self.fleet.edges[0].process().pid();
        let used = || anyhow::Ok(cpu::of_tree(pid) + cpu::of_this_and_ended()?.1);
        let (before, busy) = (used()?, cpu::busy(PROCESSOR)?);
        let load = wrk::run_on(PROCESSOR, &self.fleet.hot_url(), CONNECTIONS, self.seconds)?;
        let used = used()? - before;
        let others = cpu::busy(PROCESSOR)? - busy - used;
        Ok(Hits { load, used, foreign: others.max(0.0) / f64::from(self.seconds) })
    }

    fn used(&self) -> anyhow::Result<Used> {
        Ok(Used {
            desk: cpu::of_tree(self.fleet.desk.process.pid()),
            edge: cpu::of_tree(self.fleet.edges[1].process().pid()),
            operators: cpu::of_this_and_ended()?.0,
        })
    }
}

fn purges(figures: &mut Figures, ids: u64, purged: Purged) {
    let Purged { calls_per_second, millis: mut took, everywhere_after } = purged;
    let per_second = calls_per_second * ids as f64;
    figures.at_least("ids purged, acknowledged", per_second, PER_SECOND, Unit::PerSecond);
    if ids > 1 {
        figures.note("changes, acknowledged", calls_per_second, Unit::PerSecond);
    }
    figures.note("acknowledged after, p50", quantile(&mut took, 0.5), Unit::Millis);
    figures.note("acknowledged after, p99", quantile(&mut took, 0.99), Unit::Millis);
    let after = millis(everywhere_after);
    figures.note("from the last one until all edges have all", after, Unit::Millis);
}

fn hits(figures: &mut Figures, quiet: &Hits, during: &Hits) {
    let (before, meanwhile) = (quiet.load, during.load);
    figures.note("hits of 10 KiB on one edge, quiet", before.per_second, Unit::PerSecond);
    figures.note("hits of 10 KiB on one edge meanwhile", meanwhile.per_second, Unit::PerSecond);
    let left = meanwhile.per_second / before.per_second * 100.0;
    figures.at_least("hits meanwhile, of quiet", left, HITS_LEFT, Unit::Percent);
    let worth = |hits: &Hits| hits.load.requests as f64 / hits.used;
    let left = worth(during) / worth(quiet) * 100.0;
    figures.note("the same for equal processor time", left, Unit::Percent);
    figures.note("of their core: others, quiet", quiet.foreign * 100.0, Unit::Percent);
    figures.note("of their core: others meanwhile", during.foreign * 100.0, Unit::Percent);
    figures.note("a hit after, p99, quiet", before.p99_ms, Unit::Millis);
    figures.note("a hit after, p99, meanwhile", meanwhile.p99_ms, Unit::Millis);
}
