//! How well an origin does, as one number from 0 to 100: pure.
//!
//! ```text
//! score = 100 · honesty · answered · (0.6 + 0.4 · speed)
//! ```
//!
//! - `answered`: the share of probes answered as they should, each counting half after two rounds, and
//!   failures by their kind; where edges have asked it, four tenths come from what they report, every
//!   region counting alike
//! - `speed`: 1 up to 200 ms, 0 from 5 s on, by the logarithm between them: of probes and edges alike
//! - `honesty`: a tenth after a lie that the control plane itself was told, which fades by half in 24
//!   rounds. What edges say about lies is checked first and does not count by itself
//!
//! Lies weigh most, since nothing else harms who does not check; then failures; slowness alone leaves an
//! origin usable.

use std::time::Duration;

use wcdn_proto::Region;

use super::{probe::Probe, standing::Level, traffic::Seen};

/// All that is known of an origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The latest first.
    pub(crate) probes: &'a [Probe],
    /// Lies to the control plane itself, old ones counting less.
    pub(crate) lies: f64,
    /// What edges report.
    pub(crate) regions: &'a [(Region, Seen)],
    pub(crate) now_ms: u64,
    /// Between two rounds.
    pub(crate) interval: Duration,
}

/// How well it does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Score {
    /// 0 to 100.
    pub(crate) value: u8,
    /// The best level that it can have whatever its value: for one that fails a whole region, degraded.
    pub(crate) most: Level,
    /// What is wrong, for people; empty if nothing is.
    pub(crate) reason: String,
}

/// Rounds in which a probe comes to count half.
const HALF_LIFE: f64 = 2.0;

/// Rounds in which a lie comes to count half.
pub(crate) const LIE_HALF_LIFE: f64 = 24.0;

/// What edges say counts for so much, where they say anything.
const EDGES_SHARE: f64 = 0.4;

/// Requests of a region below which nothing follows from them.
const FEW: u64 = 5;

/// As fast as can be, and as slow as makes no difference any more.
const FAST: f64 = 0.2;
const SLOW: f64 = 5.0;

/// What is left of the score of an origin that is as slow as can be.
const SLOW_SHARE: f64 = 0.6;

/// From here on the reason says that it is slow.
const NOTABLY_SLOW: f64 = 2.0;

impl Known<'_> {
    /// How well it does. One of which nothing is known does well.
    pub(crate) fn score(&self) -> Score {
        let probed = self.answered();
        let regions = self.by_edges();
        let answered = mix(probed, regions).unwrap_or(1.0);
        let wait = mix(self.wait(), self.wait_by_edges());
        let honesty = 1.0 / (1.0 + 9.0 * self.lies.max(0.0));
        let pace = SLOW_SHARE + (1.0 - SLOW_SHARE) * wait.map_or(1.0, speed);
        let failing = self.failing_region();
        Score {
            value: percent(honesty * answered * pace),
            most: if failing.is_some() { Level::Degraded } else { Level::Healthy },
            reason: self.reason(answered, wait, failing),
        }
    }

    /// How much a probe counts, by its age.
    fn fade(&self, at_ms: u64) -> f64 {
        let age = Duration::from_millis(self.now_ms.saturating_sub(at_ms));
        let rounds = age.as_secs_f64() / self.interval.as_secs_f64().max(1e-3);
        // Of an origin that was not asked for a day the last answers still count, among themselves.
        (-rounds.min(500.0) / HALF_LIFE).exp2()
    }

    fn answered(&self) -> Option<f64> {
        let (mut good, mut all) = (0.0, 0.0);
        for probe in self.probes {
            let failed = match &probe.outcome {
                Ok(()) => 0.0,
                Err(fault) => match fault.kind.weight() {
                    Some(weight) => weight,
                    None => continue,
                },
            };
            let counts = self.fade(probe.at_ms);
            good += counts * (1.0 - failed);
            all += counts;
        }
        (all > 0.0).then(|| good / all)
    }

    /// How long probes waited that were answered.
    fn wait(&self) -> Option<f64> {
        let good = self.probes.iter().filter(|probe| probe.is_good() == Some(true));
        let (waited, all) = good.fold((0.0, 0.0), |(waited, all), probe| {
            let counts = self.fade(probe.at_ms);
            (waited + counts * probe.took.as_secs_f64(), all + counts)
        });
        (all > 0.0).then(|| waited / all)
    }

    fn heard(&self) -> impl Iterator<Item = &Seen> {
        self.regions.iter().map(|(_, seen)| seen).filter(|seen| seen.counts.requests >= FEW)
    }

    fn by_edges(&self) -> Option<f64> {
        mean(self.heard().map(|seen| seen.counts.answered()))
    }

    fn wait_by_edges(&self) -> Option<f64> {
        mean(self.heard().filter_map(|seen| seen.counts.mean_head()).map(|head| head.as_secs_f64()))
    }

    /// A region that gets less than half of its answers from it.
    fn failing_region(&self) -> Option<&(Region, Seen)> {
        let asked = self.regions.iter().filter(|(_, seen)| seen.counts.requests >= FEW);
        let worst = asked.min_by(|(_, one), (_, other)| {
            one.counts.answered().total_cmp(&other.counts.answered())
        });
        worst.filter(|(_, seen)| seen.counts.answered() < 0.5)
    }

    fn reason(&self, answered: f64, wait: Option<f64>, failing: Option<&(Region, Seen)>) -> String {
        let last_fault = self.probes.iter().find(|probe| probe.is_good() == Some(false));
        let is_failing = self.probes.iter().find_map(Probe::is_good) == Some(false);
        if self.lies > 0.05 {
            "sent bytes that are not the blob".to_owned()
        } else if let Some(probe) = last_fault.filter(|_| is_failing || answered < 0.9) {
            probe.reason().to_owned()
        } else if let Some((region, seen)) = failing {
            let (failed, all) = (seen.counts.failures(), seen.counts.requests);
            format!("{region}: {failed} of {all} requests failed ({})", seen.counts.worst())
        } else if let Some(wait) = wait.filter(|wait| *wait >= NOTABLY_SLOW) {
            format!("takes {wait:.1} s to answer")
        } else {
            String::new()
        }
    }
}

/// What probes and edges say together.
fn mix(probes: Option<f64>, edges: Option<f64>) -> Option<f64> {
    match (probes, edges) {
        (Some(probes), Some(edges)) => Some(probes * (1.0 - EDGES_SHARE) + edges * EDGES_SHARE),
        (probes, edges) => probes.or(edges),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// 1 for a wait that nobody minds, 0 for one that nobody bears.
fn speed(wait: f64) -> f64 {
    1.0 - ((wait.max(FAST) / FAST).ln() / (SLOW / FAST).ln()).clamp(0.0, 1.0)
}

fn percent(share: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 100"
    )]
    let percent = (share.clamp(0.0, 1.0) * 100.0).round() as u8;
    percent
}

#[cfg(test)]
mod tests;
