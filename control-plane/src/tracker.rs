//! Who has applied what, and when: the standing of every node, and the receipts that follow from it.
//!
//! Pure: `now` comes from outside, and so do reports. Times are those of this process, from the commit
//! of a change to the arrival of a report that covers it: upper bounds, without any trust in clocks of
//! others. A receipt waits for every node that was not lost when the change was committed, and for
//! those that register afterwards and have not applied it. It names those that were lost, too: nobody
//! knows what they serve.

mod heads;
mod node;
mod receipt;
mod receipts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
    time::Duration,
};

use tokio::time::Instant;
use wcdn_proto::{
    NodeId, Position,
    pb::{admin::v1 as admin, edge::v1 as edge},
};

pub(crate) use self::node::{Known, Registered, Standing, State, Windows};
use self::{heads::Heads, node::Node, receipt::Open};

/// Lines of receipts in memory, some 200 bytes each: the oldest receipts go when there are more.
const MAX_LINES: usize = 400_000;

/// Receipts in memory.
const MAX_OPEN: usize = 65_536;

/// How long a settled receipt waits for what nodes still have to tell, such as what Redis did. A node
/// whose session was cut in silence notices within ten seconds, and tells it in the next one.
const TELL: Duration = Duration::from_secs(15);

/// How long receipts name a node that is lost.
const NAMED: Duration = Duration::from_secs(15 * 60);

/// Nodes in memory: more than a cluster may have. Those that were lost first go first.
const MAX_NODES: usize = 10_000;

/// Everything that is known of nodes and open receipts.
#[derive(Debug)]
pub(crate) struct Tracker {
    windows: Windows,
    heads: Heads,
    nodes: BTreeMap<NodeId, Node>,
    /// Registered, and to be kept elsewhere.
    registered: BTreeSet<NodeId>,
    /// Lost, and to be kept elsewhere.
    lost: BTreeSet<NodeId>,
    /// By the last event of the change.
    open: BTreeMap<Position, Open>,
    by_id: HashMap<String, Position>,
    lines: usize,
    forgotten: u64,
}

/// What is to be kept elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Unkept {
    /// Nodes that are lost since.
    pub(crate) lost: Vec<NodeId>,
    /// Nodes that registered, and how far they have applied the log.
    pub(crate) registered: Vec<(Registered, Position)>,
    /// Receipts that are done: once they are kept, [`Tracker::kept`].
    pub(crate) done: Vec<admin::Receipt>,
    /// Changes that the log may lack, since another one goes on: [`Tracker::found`].
    pub(crate) doubtful: Vec<String>,
}

impl Tracker {
    /// Knows these nodes from before, and has not heard of any yet.
    pub(crate) fn new(windows: Windows, head: Position, known: Vec<Known>, now: Instant) -> Self {
        let nodes = known.into_iter().map(|it| (it.who.node.clone(), Node::known(it, now)));
        Self {
            windows,
            heads: Heads::new(head, now),
            nodes: nodes.collect(),
            registered: BTreeSet::new(),
            lost: BTreeSet::new(),
            open: BTreeMap::new(),
            by_id: HashMap::new(),
            lines: 0,
            forgotten: 0,
        }
    }

    /// A node registers, in a session of this number; one that is older than another changes nothing.
    /// Says which outcome was the last that this start of the node told.
    pub(crate) fn registered(
        &mut self,
        who: Registered,
        applied: Position,
        session: u64,
        now: Instant,
    ) -> u64 {
        let name = who.node.clone();
        let present = self.nodes.get(&name);
        let told = present.map_or(0, |node| node.told_by(who.incarnation));
        if present.is_some_and(|node| node.latest_session > session) {
            return told;
        }
        let applied = applied.min(self.heads.last());
        let before = present.map_or(Position::ORIGIN, |node| node.applied);
        // It may have forgotten what it applied, but then it holds nothing that was removed.
        self.apply(&name, before, applied, now);
        let mut node = Node::registered(who, applied, session, &self.heads, now);
        node.told = told;
        self.insert(node);
        self.wait_for(&name, applied);
        self.registered.insert(name);
        told
    }

    /// A node reports in the session of this number what it did, and how far it has applied the log. An
    /// earlier session speaks of an earlier start of it.
    pub(crate) fn reported(
        &mut self,
        name: &NodeId,
        session: u64,
        report: &edge::Report,
        now: Instant,
    ) {
        let node = self.nodes.get_mut(name).filter(|node| node.session == Some(session));
        let Some(node) = node else { return };
        // What was done is noted before that it was done: receipts settle with it.
        let outcomes = node.untold(report);
        outcomes.iter().for_each(|outcome| self.told(name, outcome));
        self.heard(name, report.applied.into(), now);
    }

    fn heard(&mut self, name: &NodeId, applied: Position, now: Instant) {
        if self.nodes.get_mut(name).is_some_and(|node| node.lost.take().is_some()) {
            self.wait_for(name, applied);
        }
        self.note(name, applied, now, now);
    }

    /// Notes what a node said at `heard`, and what became known of it now. Whoever has applied more
    /// than there is says nothing that could be true here.
    fn note(&mut self, name: &NodeId, applied: Position, heard: Instant, now: Instant) {
        if applied > self.heads.last() {
            return;
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        let before = node.applied;
        node.confirm(applied, heard, &self.heads);
        self.apply(name, before, applied, now);
    }

    /// Nodes that registered at other control planes, as the store has them: those that nobody here knows
    /// are waited for, as after a restart. Those that are here, and lost to others, are to be remembered
    /// again.
    pub(crate) fn learn(&mut self, known: Vec<Known>, now: Instant) {
        for known in known {
            let name = known.who.node.clone();
            if let Some(node) = self.nodes.get(&name) {
                if known.lost_ago.is_some() && node.lost.is_none() {
                    self.registered.insert(name);
                }
                continue;
            }
            let (applied, is_there) = (known.applied, known.lost_ago.is_none());
            self.insert(Node::known(known, now));
            if is_there {
                self.wait_for(&name, applied);
            }
        }
    }

    /// A node was heard at `heard`, by other ways than a session, and had applied this much. One that
    /// has no session is as good as one that has, as long as it is heard.
    pub(crate) fn confirmed(
        &mut self,
        who: Registered,
        applied: Position,
        heard: Instant,
        now: Instant,
    ) {
        let is_old = now.saturating_duration_since(heard) >= self.windows.lost;
        if is_old || applied > self.heads.last() {
            return;
        }
        let name = who.node.clone();
        match self.nodes.get_mut(&name) {
            // It says less of itself than when it registered.
            Some(node) => {
                node.who.lease = node.who.lease.max(who.lease);
                if node.lost.take().is_some() {
                    self.wait_for(&name, applied);
                }
            }
            None => {
                let known = Known { who, applied: Position::ORIGIN, lost_ago: None };
                self.insert(Node::known(known, heard));
                self.wait_for(&name, applied);
            }
        }
        self.note(&name, applied, heard, now);
    }

    fn insert(&mut self, node: Node) {
        self.nodes.insert(node.who.node.clone(), node);
        if self.nodes.len() > MAX_NODES {
            let lost = self.nodes.values().filter_map(|node| Some((node.lost?, &node.who.node)));
            if let Some(name) = lost.min().map(|(_, name)| name.clone()) {
                self.nodes.remove(&name);
            }
        }
    }

    /// Waits for a node in receipts of what it has not applied, unless they are settled.
    fn wait_for(&mut self, name: &NodeId, applied: Position) {
        let Some(region) = self.nodes.get(name).map(|node| &node.who.region) else { return };
        let later = self.open.range_mut((Excluded(applied), Unbounded)).map(|(_, open)| open);
        for open in later.filter(|open| open.settled.is_none()) {
            self.lines += usize::from(open.wait_for(name, region));
        }
    }

    fn apply(&mut self, name: &NodeId, before: Position, applied: Position, now: Instant) {
        if applied <= before {
            return;
        }
        let covered = self.open.range_mut((Excluded(before), Included(applied)));
        for (_, open) in covered.filter(|(_, open)| open.is_covered_by(applied)) {
            open.applied(name, now);
        }
    }

    /// A node says what an event did there.
    fn told(&mut self, name: &NodeId, outcome: &edge::Outcome) {
        let place = Position::from(outcome.position);
        let covering = self.open.range_mut(place..).next();
        if let Some((_, open)) = covering.filter(|(_, open)| open.change.first <= place) {
            open.told(name, outcome);
        }
    }

    /// A session has ended.
    pub(crate) fn left(&mut self, name: &NodeId, session: u64, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.session == Some(session) {
            node.confirm(node.applied, now, &self.heads);
            node.session = None;
        }
    }

    /// Looks who is late, and who is lost since the last time. To be called several times a second.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<NodeId> {
        let mut lost = Vec::new();
        for node in self.nodes.values_mut() {
            let silent = now.saturating_duration_since(node.heard);
            let is_gone = node.session.is_none() && silent >= self.windows.lost;
            if is_gone && node.lost.is_none() {
                tracing::warn!(node = %node.who.node, "edge lost");
                node.lost = Some(now);
                lost.push(node.who.node.clone());
            }
        }
        self.lost.extend(lost.iter().cloned());
        let (nodes, windows, heads) = (&self.nodes, self.windows, &self.heads);
        for open in self.open.values_mut().filter(|open| !open.is_doubtful(heads)) {
            let age = now.saturating_duration_since(open.since);
            if open.settled.is_none() && age >= windows.lease {
                open.settle(now, |name| receipt::given_up(nodes.get(name), windows, heads, now));
            }
        }
        lost
    }

    /// What is to be kept elsewhere. Nodes are told once; [`put_back`](Self::put_back) those that could not
    /// be kept.
    pub(crate) fn unkept(&mut self, now: Instant) -> Unkept {
        let mut unkept = Unkept::default();
        let is_lost = |name: &NodeId| self.nodes.get(name).is_some_and(|node| node.lost.is_some());
        unkept.lost = std::mem::take(&mut self.lost).into_iter().filter(is_lost).collect();
        let registered = std::mem::take(&mut self.registered);
        let registered = registered.iter().filter_map(|name| self.nodes.get(name));
        unkept.registered = registered.map(|node| (node.who.clone(), node.applied)).collect();
        for open in self.open.values() {
            if open.is_doubtful(&self.heads) {
                unkept.doubtful.push(open.change.id.clone());
            } else if open.settled.is_some_and(|at| open.is_told() || now - at >= TELL) {
                unkept.done.push(receipt::wire(open));
            }
        }
        unkept
    }

    /// These nodes could not be kept elsewhere.
    pub(crate) fn put_back(&mut self, unkept: &Unkept) {
        self.registered.extend(unkept.registered.iter().map(|(who, _)| who.node.clone()));
        self.lost.extend(unkept.lost.iter().cloned());
    }

    /// The epoch of the log.
    pub(crate) fn epoch(&self) -> u64 {
        self.heads.last().epoch
    }

    /// Every node, by name.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<Standing> {
        let standing = |node: &Node| node.standing(&self.heads, self.windows, now);
        self.nodes.values().map(standing).collect()
    }
}

#[cfg(test)]
mod tests;
