//! The task that makes of probes what is known of origins, and keeps it.
//!
//! The store is what is known: every note begins with reading it, so that a process that starts, or
//! another one on the same store, goes on where the last one was.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use wcdn_proto::{Region, pb::edge::v1::OriginPool};

use super::{
    BY,
    metrics::HealthMetrics,
    pools::Pools,
    probe::{Asked, Probe},
    record::{Change, Origin, Round, Rules, State},
    target::{Key, Kind, Target},
    traffic::{Agreement, Seen, Traffic},
    verdict::{Case, Verdict},
};
use crate::{
    auth::Author,
    log::LogError,
    store::{
        Store, StoreError,
        health::{Noted, Notes},
        jobs::Fence,
        now_ms,
    },
};

/// Answers of origins, to be taken in.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(super) probes: HashMap<Key, Vec<Probe>>,
    /// In which turn all were asked because it was time, if they were.
    pub(super) turn: Option<Fence>,
    /// Told when they are.
    pub(super) done: oneshot::Sender<()>,
}

/// Why something is not noted.
#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("other control planes note something again and again")]
    Busy,
}

/// The task.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) pools: Pools,
    pub(super) answers: mpsc::Receiver<Answers>,
    pub(super) traffic: Arc<Mutex<Traffic>>,
    pub(super) metrics: Arc<HealthMetrics>,
    /// Between two rounds.
    pub(super) interval: Duration,
    /// When origins are guilty.
    pub(super) rules: Rules,
    /// Whether those that are, are ejected.
    pub(super) ejects: bool,
}

/// Within so long every edge has reported what it asked for.
const REPORTED: Duration = Duration::from_secs(10);

/// How often a note is made anew because another one came between.
const TRIES: usize = 5;

/// Aggregators below which nobody is called blind.
const FEW: usize = 3;

impl Keeper {
    /// Runs until it is cancelled.
    pub(super) async fn run(mut self) {
        while let Some(answers) = self.answers.recv().await {
            let Answers { probes, turn, done } = answers;
            if let Err(error) = self.note(probes, turn).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "what is known of origins cannot be kept");
            }
            let _has_left = done.send(()).is_err();
        }
    }

    /// Notes answers, and what follows from them. Another control plane may note something meanwhile; then
    /// it is made anew of what is known by then.
    async fn note(
        &self,
        probes: HashMap<Key, Vec<Probe>>,
        turn: Option<Fence>,
    ) -> Result<(), NoteError> {
        let mut done = Verdict::default();
        for _ in 0..TRIES {
            if self.try_note(probes.clone(), turn, &mut done).await? {
                return Ok(());
            }
        }
        Err(NoteError::Busy)
    }

    async fn try_note(
        &self,
        mut probes: HashMap<Key, Vec<Probe>>,
        turn: Option<Fence>,
        done: &mut Verdict,
    ) -> Result<bool, StoreError> {
        if let Some(turn) = turn {
            self.store.must_have(turn).await?;
        }
        let (revision, mut known) = self.store.origins_to_note().await?;
        let context = Context::of(&known, &probes, turn.is_some(), self.interval);
        let mut all = Vec::new();
        for target in Target::all(&self.pools.now()) {
            let asked = probes.remove(&target.key);
            all.push(self.take(known.remove(&target.key), target, asked, &context));
        }
        self.judge(&mut all, done).await;
        let mut notes = Notes::default();
        for one in all {
            let One { target, mut origin, new, mut is_another } = one;
            let change = origin.settle(&target.origin, context.now_ms);
            is_another |= change.is_some() || !new.is_empty();
            notes.changes.extend(change);
            if is_another {
                notes.noted.push(Noted { origin, new });
            }
        }
        notes.gone.extend(known.into_keys());
        let is_kept = self.store.keep_origins(revision, &notes, turn, context.now_ms).await?;
        if is_kept {
            self.tell(&notes);
        }
        Ok(is_kept)
    }

    /// Takes the answers of an origin in.
    fn take(
        &self,
        known: Option<Origin>,
        target: Target,
        asked: Option<Vec<Probe>>,
        context: &Context,
    ) -> One {
        let same_place = known.filter(|origin| origin.url == target.url.to_string());
        let mut is_another = same_place.is_none();
        let mut origin = same_place.unwrap_or_else(|| Origin::new(&target, context.now_ms));
        if origin.state == State::Ejected && !target.origin.ejected {
            origin.record.acquitted();
            is_another = true;
        }
        let Some(asked) = asked else { return One { target, origin, new: vec![], is_another } };
        let round = Round {
            now_ms: context.now_ms,
            interval: self.interval,
            regions: &self.regions(&origin.key),
            is_blind: context.is_blind,
            is_known_served: context.is_known_served,
            is_regular: context.is_regular,
        };
        let new = origin.take(asked, &round);
        One { target, origin, new, is_another }
    }

    fn regions(&self, key: &Key) -> Vec<(Region, Seen)> {
        match key.kind {
            Kind::Aggregator => self.traffic.lock().of(&key.name, Instant::now()),
            Kind::Publisher => Vec::new(),
        }
    }

    /// Ejects and returns origins for all edges, if that is due; `done` is what this note did already.
    async fn judge(&self, all: &mut [One], done: &mut Verdict) {
        let mut cases = Vec::new();
        for one in all.iter_mut().filter(|one| one.origin.key.kind == Kind::Aggregator) {
            let case = self.case(one);
            if case.guilt.is_none() && one.origin.record.lied_about.is_some() {
                one.origin.record.acquitted();
                one.is_another = true;
            }
            cases.push(case);
        }
        if self.ejects {
            self.carry_out(&cases, all, done).await;
        }
    }

    async fn carry_out(&self, cases: &[Case], all: &mut [One], done: &mut Verdict) {
        let mut verdict = Verdict::default();
        let edit = |pool: &mut OriginPool| -> Result<bool, LogError> {
            verdict = Verdict::carry_out(pool, cases);
            Ok(!verdict.is_empty() && self.is_ours(pool))
        };
        match self.pools.edit(&Author::program(BY), edit).await {
            Ok(Some(_)) => done.add(verdict),
            Ok(None) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "origins cannot be ejected or returned");
            }
        }
        if done.is_empty() {
            return;
        }
        let pool = self.pools.now();
        for one in all.iter_mut().filter(|one| one.origin.key.kind == Kind::Aggregator) {
            let name = one.origin.key.name.as_str();
            if let Some(origin) = pool.origins.iter().find(|origin| origin.name == name) {
                one.target.origin = origin.clone();
            }
            let has = |names: &[String]| names.iter().any(|other| other == name);
            if has(&done.ejected) {
                one.origin.record.ejected();
            } else if has(&done.returned) {
                one.origin.record.acquitted();
            }
            one.is_another |= has(&done.ejected) || has(&done.returned);
        }
    }

    fn case(&self, one: &One) -> Case {
        let pool = &one.target.origin;
        let horizon = self.interval.max(REPORTED);
        let regions = self.regions(&one.origin.key);
        let mut served = regions.iter().filter_map(|(_, seen)| seen.good_ago);
        let is_served = served.any(|ago| ago < horizon);
        let is_ejected = pool.ejected && pool.automatic;
        let guilt = one.origin.record.guilt(is_ejected, is_served, &self.rules);
        Case { name: pool.name.clone(), guilt, reason: one.origin.reason.clone() }
    }

    /// Whether edges ask the origins of this pool: until one is set they ask those of their own
    /// configuration, and whoever set other ones there is not to be overruled.
    fn is_ours(&self, pool: &OriginPool) -> bool {
        if pool.revision > 0 {
            return true;
        }
        let names = pool.origins.iter().map(|origin| origin.name.as_str()).collect();
        match self.traffic.lock().agreement(&names) {
            Agreement::Unknown => false,
            Agreement::All => true,
            Agreement::Stranger(node, origin) => {
                tracing::warn!(
                    %node, %origin,
                    "no origin is ejected: an edge asks one that is none of this configuration; set \
                     the origins of all (wcdn origins set)"
                );
                false
            }
        }
    }

    fn tell(&self, Notes { noted, changes, gone }: &Notes) {
        for Noted { origin, new } in noted {
            self.metrics.is(origin);
            new.iter().for_each(|probe| self.metrics.probed(&origin.key, probe));
        }
        gone.iter().for_each(|key| self.metrics.gone(key));
        changes.iter().for_each(|change| self.tell_change(change));
    }

    fn tell_change(&self, change: &Change) {
        self.metrics.changed(change.to);
        let (origin, kind) = (change.key.name.as_str(), change.key.kind.as_str());
        let (from, to) = (change.from.as_str(), change.to.as_str());
        if change.to.is_worse_than(change.from) {
            tracing::warn!(origin, kind, from, to, reason = change.reason, "origin does worse");
        } else {
            tracing::info!(origin, kind, from, to, reason = change.reason, "origin does better");
        }
    }
}

/// An origin while its answers are taken in.
struct One {
    target: Target,
    origin: Origin,
    new: Vec<Probe>,
    /// Whether it must be stored.
    is_another: bool,
}

/// What one origin's answers mean beside those of the others.
#[derive(Debug)]
struct Context {
    now_ms: u64,
    is_blind: bool,
    is_known_served: bool,
    is_regular: bool,
}

impl Context {
    fn of(
        known: &HashMap<Key, Origin>,
        probes: &HashMap<Key, Vec<Probe>>,
        is_regular: bool,
        interval: Duration,
    ) -> Self {
        let now_ms = now_ms();
        let aggregators: Vec<&Vec<Probe>> = probes
            .iter()
            .filter(|(key, _)| key.kind == Kind::Aggregator)
            .map(|(_, probes)| probes)
            .collect();
        let out = aggregators.iter().filter(|probes| probes.iter().all(Probe::is_outage)).count();
        let serves = |probe: &Probe| probe.asked == Asked::Read && probe.outcome.is_ok();
        // One that is asked alone is compared with what others answered a moment ago.
        let recently = now_ms.saturating_sub(u64::try_from(2 * interval.as_millis()).unwrap_or(0));
        let before = known.values().flat_map(|origin| &origin.probes);
        let mut before = before.filter(|probe| probe.at_ms >= recently);
        Self {
            now_ms,
            is_regular,
            is_blind: aggregators.len() >= FEW && out * 2 > aggregators.len(),
            is_known_served: aggregators.into_iter().flatten().any(serves) || before.any(serves),
        }
    }
}
