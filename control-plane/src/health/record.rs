//! What is known of one origin, and what a round makes of it: pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wcdn_proto::{
    BlobId, Region,
    pb::{admin::v1::OriginState, edge::v1 as edge},
};

use super::{
    fault::{Fault, FaultKind},
    probe::{Asked, Probe},
    score::{Known, LIE_HALF_LIFE},
    standing::{Level, Standing},
    target::{Key, Target},
    traffic::Seen,
    verdict::Guilt,
};

/// An origin, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) key: Key,
    pub(crate) url: String,
    pub(crate) state: State,
    /// Since when: Unix time in milliseconds.
    pub(crate) since_ms: u64,
    /// Why; empty if all is well.
    pub(crate) reason: String,
    pub(crate) score: u8,
    /// The latest first; at most [`LAST`].
    pub(crate) probes: Vec<Probe>,
    /// How many there were in all.
    pub(crate) probed: u64,
    pub(crate) record: Record,
}

/// What is remembered besides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    standing: Standing,
    /// Rounds in a row with nothing but proper answers, and with none.
    good_rounds: u32,
    bad_rounds: u32,
    /// Rounds in a row in which the bytes of a whole blob were the blob.
    honest_rounds: u32,
    /// Lies, as of then; each counts half after some time.
    lies: f64,
    pub(crate) lied_at_ms: u64,
    /// The blob it lied about last, until it has proved to be honest.
    pub(crate) lied_about: Option<BlobId>,
    /// How often it was ejected without a day of calm between.
    ejections: u32,
}

/// In which state an origin is, as everybody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    At(Level),
    Ejected,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) at_ms: u64,
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) reason: String,
}

/// What a round knows besides the probes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round<'a> {
    pub(crate) now_ms: u64,
    /// Between two rounds.
    pub(crate) interval: Duration,
    /// What edges report of this origin.
    pub(crate) regions: &'a [(Region, Seen)],
    /// Whether so many others could not be reached either that it may be the fault of who asks.
    pub(crate) is_blind: bool,
    /// Whether somebody has the blob that all should have.
    pub(crate) is_known_served: bool,
    /// Whether it is a round of all, rather than what somebody asked for: only those are counted.
    pub(crate) is_regular: bool,
}

/// When origins are ejected, and when they return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Rounds without a proper answer.
    pub(crate) eject_after: u32,
    /// Rounds with nothing but.
    pub(crate) return_after: u32,
}

/// Probes that are kept.
pub(crate) const LAST: usize = 20;

/// Ejections after which the next proof takes no longer.
const MOST_DOUBLINGS: u32 = 3;

/// Rounds of calm after which ejections are forgotten: a day, at the default interval.
const CALM_ROUNDS: u32 = 288;

impl Origin {
    /// One of which nothing is known.
    pub(crate) fn new(target: &Target, now_ms: u64) -> Self {
        Self {
            key: target.key.clone(),
            url: target.url.to_string(),
            state: State::At(Level::default()),
            since_ms: now_ms,
            reason: String::new(),
            score: 100,
            probes: Vec::new(),
            probed: 0,
            record: Record::default(),
        }
    }

    /// Takes the answers of a round in. Gives them as they are to be kept.
    pub(crate) fn take(&mut self, mut new: Vec<Probe>, round: &Round<'_>) -> Vec<Probe> {
        for probe in &mut new {
            doubt(probe, round);
            self.record.note_lie(probe, round);
        }
        if round.is_regular {
            self.record.count(&new, round.is_blind);
        }
        // The one asked last is the latest.
        self.probes.splice(0..0, new.iter().rev().cloned());
        self.probes.truncate(LAST);
        self.probed += new.len() as u64;
        let lies = self.record.lies_at(round.now_ms, round.interval);
        let (probes, regions) = (&self.probes, round.regions);
        let known = Known { probes, lies, regions, now_ms: round.now_ms, interval: round.interval };
        let score = known.score();
        let interval_ms = u64::try_from(round.interval.as_millis()).unwrap_or(u64::MAX);
        self.record.standing.note(score.value, score.most, round.now_ms, interval_ms);
        (self.score, self.reason) = (score.value, score.reason);
        new
    }

    /// Its state follows from what is known of it, and from whether it is ejected, which the pool says.
    /// Gives the change, if it is another one.
    pub(crate) fn settle(&mut self, pool: &edge::Origin, now_ms: u64) -> Option<Change> {
        let to =
            if pool.ejected { State::Ejected } else { State::At(self.record.standing.level()) };
        if to == self.state {
            return None;
        }
        let reason = match &self.reason {
            _ if pool.ejected => pool.reason.clone(),
            fine if fine.is_empty() => "answers as it should".to_owned(),
            reason => reason.clone(),
        };
        let change = Change { key: self.key.clone(), at_ms: now_ms, from: self.state, to, reason };
        (self.state, self.since_ms) = (to, now_ms);
        Some(change)
    }

    /// Of the last probes, how many of 100 were answered as they should; none if nothing is known.
    pub(crate) fn success_percent(&self) -> Option<u32> {
        let known: Vec<bool> = self.probes.iter().filter_map(Probe::is_good).collect();
        let good = known.iter().filter(|is_good| **is_good).count();
        let percent = (good * 100).checked_div(known.len())?;
        u32::try_from(percent).ok()
    }

    /// The median of the last probes that were answered.
    pub(crate) fn p50(&self) -> Option<Duration> {
        let good = self.probes.iter().filter(|probe| probe.is_good() == Some(true));
        let mut took: Vec<Duration> = good.map(|probe| probe.took).collect();
        took.sort_unstable();
        took.get(took.len().saturating_sub(1) / 2).copied()
    }
}

/// That a blob is missing says something only where others have it.
fn doubt(probe: &mut Probe, round: &Round<'_>) {
    if let Err(Fault { kind: kind @ FaultKind::Missing, .. }) = &mut probe.outcome
        && probe.asked == Asked::Read
        && !round.is_known_served
    {
        *kind = FaultKind::Unknown;
    }
}

impl Record {
    fn note_lie(&mut self, probe: &Probe, round: &Round<'_>) {
        if probe.outcome.as_ref().is_err_and(|fault| fault.kind == FaultKind::Lied) {
            self.lies = self.lies_at(round.now_ms, round.interval) + 1.0;
            (self.lied_at_ms, self.honest_rounds) = (round.now_ms, 0);
            self.lied_about = probe.about.or(self.lied_about);
        } else if round.is_regular && probe.asked == Asked::Verify && probe.outcome.is_ok() {
            self.honest_rounds = self.honest_rounds.saturating_add(1);
        }
    }

    /// Lies that still count.
    pub(crate) fn lies_at(&self, now_ms: u64, interval: Duration) -> f64 {
        let age = Duration::from_millis(now_ms.saturating_sub(self.lied_at_ms));
        let rounds = age.as_secs_f64() / interval.as_secs_f64().max(1e-3);
        self.lies * (-rounds / LIE_HALF_LIFE).exp2()
    }

    fn count(&mut self, new: &[Probe], is_blind: bool) {
        let known: Vec<bool> = new.iter().filter_map(Probe::is_good).collect();
        if known.is_empty() {
            return;
        }
        if known.iter().all(|is_good| *is_good) {
            (self.good_rounds, self.bad_rounds) = (self.good_rounds.saturating_add(1), 0);
        } else {
            self.good_rounds = 0;
            let is_dead = !known.iter().any(|is_good| *is_good);
            // Where who asks may be blind, rounds say nothing about who is asked.
            self.bad_rounds = match (is_dead, is_blind) {
                (true, false) => self.bad_rounds.saturating_add(1),
                (true, true) => self.bad_rounds,
                (false, _) => 0,
            };
        }
        if self.good_rounds >= CALM_ROUNDS {
            self.ejections = 0;
        }
    }

    /// Why it should be ejected. `is_ejected` tells whether it is, and not by hand; `is_served`, whether
    /// some region gets what it asks for from it.
    pub(crate) fn guilt(&self, is_ejected: bool, is_served: bool, rules: &Rules) -> Option<Guilt> {
        let needed = self.proof(rules.return_after);
        let is_well = self.good_rounds >= needed;
        if self.lied_about.is_some() {
            return (!is_well || self.honest_rounds < needed).then_some(Guilt::Lied);
        }
        let is_bad = self.standing.level() == Level::Unhealthy;
        let is_dead = is_bad && self.bad_rounds >= rules.eject_after && !is_served;
        (is_dead || (is_ejected && !is_well)).then_some(Guilt::Dead)
    }

    /// Rounds for which it must be well to return: twice as many with each time that it was ejected before.
    fn proof(&self, rounds: u32) -> u32 {
        let doublings = self.ejections.saturating_sub(1).min(MOST_DOUBLINGS);
        rounds.saturating_mul(1 << doublings)
    }

    /// It is ejected from now on.
    pub(crate) fn ejected(&mut self) {
        self.ejections = self.ejections.saturating_add(1);
        (self.good_rounds, self.honest_rounds) = (0, 0);
    }

    /// By proof or by hand, what it did before is not held against it any more.
    pub(crate) fn acquitted(&mut self) {
        (self.lied_about, self.bad_rounds) = (None, 0);
    }
}

impl State {
    const ALL: [Self; 4] = [
        Self::At(Level::Healthy),
        Self::At(Level::Degraded),
        Self::At(Level::Unhealthy),
        Self::Ejected,
    ];

    /// As it is stored, and as metrics say it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::At(level) => level.as_str(),
            Self::Ejected => "ejected",
        }
    }

    /// Reads what [`as_str`](Self::as_str) says.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Every state.
    pub(crate) fn all() -> [Self; 4] {
        Self::ALL
    }

    /// As it travels.
    pub(crate) fn to_wire(self) -> OriginState {
        match self {
            Self::At(Level::Healthy) => OriginState::Healthy,
            Self::At(Level::Degraded) => OriginState::Degraded,
            Self::At(Level::Unhealthy) => OriginState::Unhealthy,
            Self::Ejected => OriginState::Ejected,
        }
    }

    /// Whether this is worse than that.
    pub(crate) fn is_worse_than(self, other: Self) -> bool {
        let rank = |state| match state {
            Self::Ejected => None,
            Self::At(level) => Some(level),
        };
        rank(self) < rank(other)
    }
}

#[cfg(test)]
mod tests;
