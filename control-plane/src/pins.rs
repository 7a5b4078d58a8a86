//! How far pins are, by what nodes tell of them.
//!
//! Pure but for a bell. Which blobs are pinned is in the log; a node tells which of them it keeps, and
//! how it fares. Two nodes of each region are expected to, or one where there is but one, and a blob that
//! more of them hold, as while keepers change, is held no better for it. Nothing of this is kept: nodes
//! tell all of it again when a session begins.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::watch;
use wcdn_proto::{
    BlobId, NodeId, Region,
    pb::{
        admin::v1::{PinStanding, PinState},
        edge::v1 as edge,
    },
};

use crate::tracker::Registered;

/// Nodes of a region that are expected to hold a pinned blob.
const KEEPERS: u32 = 2;

/// Characters of a reason that are kept.
const MAX_REASON: usize = 200;

/// What every node has told of pins.
#[derive(Debug)]
pub(crate) struct Pins {
    rows: HashMap<BlobId, Row>,
    nodes: HashMap<NodeId, Keeper>,
    regions: Vec<Expected>,
    /// Rows to be looked at.
    changed: HashSet<BlobId>,
    all_changed: bool,
    /// Blobs that were pinned when it was last settled.
    pinned: usize,
    counts: Counts,
    bell: watch::Sender<()>,
    /// Blobs of one node.
    most: usize,
}

/// A node that tells of pins.
#[derive(Debug)]
struct Keeper {
    /// Of all that it told.
    number: u64,
    region: usize,
    incarnation: u64,
    session: u64,
    blobs: usize,
}

#[derive(Debug)]
struct Expected {
    region: Region,
    keepers: u32,
}

/// A blob that nodes have told of.
#[derive(Debug, Default)]
struct Row {
    told: Vec<Told>,
    standing: PinStanding,
    /// Whether it was ever held by all that were expected to.
    was_held: bool,
    /// What it counts as, if it is pinned.
    counted: Option<PinState>,
}

/// What one node does for one blob.
#[derive(Debug)]
struct Told {
    node: u64,
    region: usize,
    keeping: edge::Keeping,
    reason: Arc<str>,
}

/// How many pins are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requested: u64,
    pub(crate) filling: u64,
    pub(crate) held: u64,
    pub(crate) degraded: u64,
    pub(crate) over_budget: u64,
}

/// A node tells what no node may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// This entry names no blob.
    Id(usize),
    /// It tells of more blobs than may be pinned.
    TooMany,
}

impl Pins {
    /// Nothing was told yet; of one node no more than so many blobs are taken.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            rows: HashMap::new(),
            nodes: HashMap::new(),
            regions: Vec::new(),
            changed: HashSet::new(),
            all_changed: false,
            pinned: 0,
            counts: Counts::default(),
            bell: watch::Sender::new(()),
            most,
        }
    }

    /// A node opens a session of this number. A new start of it holds nothing; the same one goes on
    /// holding what it held, until it tells otherwise.
    pub(crate) fn registered(&mut self, who: &Registered, session: u64) {
        let region = self.region(&who.region);
        let present = self.nodes.get_mut(&who.node);
        if present.as_ref().is_some_and(|keeper| keeper.session > session) {
            return;
        }
        match present {
            Some(keeper) if keeper.incarnation == who.incarnation && keeper.region == region => {
                keeper.session = session;
            }
            _ => {
                self.lost(&who.node);
                let (number, incarnation) = (session, who.incarnation);
                let keeper = Keeper { number, region, incarnation, session, blobs: 0 };
                self.nodes.insert(who.node.clone(), keeper);
            }
        }
    }

    /// A node is gone, and what it held.
    pub(crate) fn lost(&mut self, node: &NodeId) {
        if let Some(keeper) = self.nodes.remove(node) {
            self.forget(keeper.number);
        }
    }

    fn forget(&mut self, number: u64) {
        for (id, row) in &mut self.rows {
            let before = row.told.len();
            row.told.retain(|told| told.node != number);
            if row.told.len() < before {
                self.changed.insert(*id);
            }
        }
    }

    /// A node tells in the session of this number. An earlier session speaks of an earlier time.
    ///
    /// # Errors
    /// [`Wrong`]; what comes before that entry was taken.
    pub(crate) fn reported(
        &mut self,
        node: &NodeId,
        session: u64,
        pins: &edge::Pins,
    ) -> Result<(), Wrong> {
        let keeper = self.nodes.get(node).filter(|keeper| keeper.session == session);
        let Some(number) = keeper.map(|keeper| keeper.number) else { return Ok(()) };
        if pins.begins {
            self.forget(number);
            self.nodes.get_mut(node).into_iter().for_each(|keeper| keeper.blobs = 0);
        }
        let Some(keeper) = self.nodes.get_mut(node) else { return Ok(()) };
        for (n, state) in pins.states.iter().enumerate() {
            let id = BlobId::try_from(&*state.id).map_err(|_| Wrong::Id(n))?;
            let row = self.rows.entry(id).or_default();
            self.changed.insert(id);
            let before = row.told.len();
            row.told.retain(|told| told.node != number);
            keeper.blobs -= before - row.told.len();
            if state.keeping() != edge::Keeping::Unspecified {
                if keeper.blobs >= self.most {
                    return Err(Wrong::TooMany);
                }
                keeper.blobs += 1;
                row.told.push(Told {
                    node: number,
                    region: keeper.region,
                    keeping: state.keeping(),
                    reason: reason(node, &state.reason),
                });
            }
        }
        Ok(())
    }

    /// These nodes are there, and expected to keep what is pinned.
    pub(crate) fn expect<'a>(&mut self, nodes: impl IntoIterator<Item = &'a Region>) {
        let mut live: BTreeMap<&Region, u32> = BTreeMap::new();
        nodes.into_iter().for_each(|region| *live.entry(region).or_default() += 1);
        live.keys().for_each(|region| {
            self.region(region);
        });
        for expected in &mut self.regions {
            let live = live.get(&expected.region).copied().unwrap_or_default();
            let keepers = live.min(KEEPERS);
            self.all_changed |= expected.keepers != keepers;
            expected.keepers = keepers;
        }
    }

    /// The number of a region. There are no more of them than nodes ever named.
    fn region(&mut self, region: &Region) -> usize {
        let known = self.regions.iter().position(|expected| expected.region == *region);
        known.unwrap_or_else(|| {
            self.regions.push(Expected { region: region.clone(), keepers: 0 });
            self.regions.len() - 1
        })
    }

    /// Draws the conclusions from what was told since the last time, and tells those who watch.
    pub(crate) fn settle(&mut self, pinned: &BTreeSet<BlobId>) {
        let is_all = std::mem::take(&mut self.all_changed) || self.pinned != pinned.len();
        if self.changed.is_empty() && !is_all {
            return;
        }
        self.pinned = pinned.len();
        let changed = std::mem::take(&mut self.changed);
        match is_all {
            true => {
                let ids: Vec<BlobId> = self.rows.keys().copied().collect();
                ids.iter().for_each(|id| self.conclude(id, pinned));
            }
            false => changed.iter().for_each(|id| self.conclude(id, pinned)),
        }
        self.bell.send_replace(());
    }

    fn conclude(&mut self, id: &BlobId, pinned: &BTreeSet<BlobId>) {
        let Some(row) = self.rows.get_mut(id) else { return };
        row.conclude(&self.regions);
        let is_pinned = pinned.contains(id);
        let counts = is_pinned.then(|| row.standing.state());
        let before = std::mem::replace(&mut row.counted, counts);
        let is_known = !row.told.is_empty() || (row.was_held && is_pinned);
        before.into_iter().for_each(|state| self.counts.remove(state));
        match is_known {
            true => counts.into_iter().for_each(|state| self.counts.add(state)),
            false => {
                self.rows.remove(id);
            }
        }
    }

    /// How many pins are in each state, when it was last settled.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        // Of these no node has told.
        counts.requested += (self.pinned as u64).saturating_sub(counts.sum());
        counts
    }

    /// How far the pin of a blob is, when it was last settled.
    pub(crate) fn standing(&self, id: &BlobId) -> PinStanding {
        match self.rows.get(id) {
            Some(row) => row.standing.clone(),
            None => PinStanding {
                state: PinState::Requested.into(),
                expected: self.regions.iter().map(|expected| expected.keepers).sum(),
                ..PinStanding::default()
            },
        }
    }

    /// What a node told of a blob.
    pub(crate) fn told(&self, node: &NodeId, id: &BlobId) -> Option<edge::PinState> {
        let number = self.nodes.get(node)?.number;
        let told = self.rows.get(id)?.told.iter().find(|told| told.node == number)?;
        Some(edge::PinState {
            id: id.as_bytes().to_vec().into(),
            keeping: told.keeping.into(),
            reason: told.reason.to_string(),
        })
    }

    /// Rings whenever something was settled.
    pub(crate) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}

/// The node's name and its word on one line.
fn reason(node: &NodeId, text: &str) -> Arc<str> {
    if text.is_empty() {
        return Arc::default();
    }
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = plain.take(MAX_REASON).collect();
    format!("{node}: {text}").into()
}

impl Row {
    fn conclude(&mut self, regions: &[Expected]) {
        let count = |keeping| self.told.iter().filter(|told| told.keeping == keeping).count();
        let wide = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let held_in = |(region, expected): (usize, &Expected)| {
            let holds = |told: &&Told| told.region == region && told.keeping == edge::Keeping::Held;
            wide(self.told.iter().filter(holds).count()).min(expected.keepers)
        };
        let held = regions.iter().enumerate().map(held_in).sum();
        let expected = regions.iter().map(|expected| expected.keepers).sum();
        let over_budget = wide(count(edge::Keeping::OverBudget));
        let failed = wide(count(edge::Keeping::Failed));
        let is_held = expected > 0 && held == expected;
        self.was_held |= is_held;
        let state = match () {
            () if is_held => PinState::Held,
            () if over_budget > 0 => PinState::OverBudget,
            () if failed > 0 || self.was_held => PinState::Degraded,
            () if !self.told.is_empty() => PinState::Filling,
            () => PinState::Requested,
        };
        let reason = if is_held { String::new() } else { self.reason() };
        let state = state.into();
        self.standing = PinStanding { state, held, expected, over_budget, failed, reason };
    }

    /// What the node says that is worst off.
    fn reason(&self) -> String {
        let said = self.told.iter().filter(|told| !told.reason.is_empty());
        let worst = said.max_by_key(|told| told.keeping as i32);
        worst.map(|told| told.reason.to_string()).unwrap_or_default()
    }
}

impl Counts {
    /// Each with its state as one word.
    pub(crate) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("requested", self.requested),
            ("filling", self.filling),
            ("held", self.held),
            ("degraded", self.degraded),
            ("over_budget", self.over_budget),
        ]
    }

    /// One more in this state.
    pub(crate) fn add(&mut self, state: PinState) {
        self.of(state).into_iter().for_each(|count| *count += 1);
    }

    fn remove(&mut self, state: PinState) {
        self.of(state).into_iter().for_each(|count| *count -= 1);
    }

    fn of(&mut self, state: PinState) -> Option<&mut u64> {
        match state {
            PinState::Unspecified => None,
            PinState::Requested => Some(&mut self.requested),
            PinState::Filling => Some(&mut self.filling),
            PinState::Held => Some(&mut self.held),
            PinState::Degraded => Some(&mut self.degraded),
            PinState::OverBudget => Some(&mut self.over_budget),
        }
    }

    fn sum(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }
}

/// Whether nothing more is to be expected: every node that should hold it does, or says why not.
pub(crate) fn is_settled(standing: &PinStanding) -> bool {
    let PinStanding { held, expected, over_budget, failed, .. } = standing;
    *expected > 0 && held.saturating_add(*over_budget).saturating_add(*failed) >= *expected
}

#[cfg(test)]
mod tests;
