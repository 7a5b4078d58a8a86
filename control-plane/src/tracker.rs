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

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    NodeId, Position,
    pb::{admin::v1 as admin, edge::v1 as edge},
};

pub(crate) use self::node::{Known, Registered, Standing, State, Windows};
use self::{heads::Heads, node::Node, receipt::Open};
use crate::change::Recorded;

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
    /// Registered since the last look around.
    registered: BTreeSet<NodeId>,
    /// By the last event of the change.
    open: BTreeMap<Position, Open>,
    by_id: HashMap<String, Position>,
    lines: usize,
    forgotten: u64,
}

/// What a look around found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Nodes that are lost since.
    pub(crate) lost: Vec<NodeId>,
    /// Nodes that registered, and how far they have applied the log.
    pub(crate) registered: Vec<(Registered, Position)>,
    /// Receipts that are done: they are to be kept elsewhere, then [`Tracker::kept`].
    pub(crate) done: Vec<admin::Receipt>,
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
        for (_, open) in self.open.range_mut((Excluded(before), Included(applied))) {
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

    /// These changes are in the log. `since` is when they were committed.
    pub(crate) fn committed(
        &mut self,
        changes: impl IntoIterator<Item = Recorded>,
        head: Position,
        since: Instant,
    ) {
        self.heads.grow(head, since);
        for change in changes {
            self.open(change, since);
        }
        self.make_room();
    }

    /// Forgets receipts beyond what memory may hold: settled ones first, of which no more than details
    /// are lost, then the oldest.
    fn make_room(&mut self) {
        let is_over = |open: usize, lines: usize| open > MAX_OPEN || lines > MAX_LINES;
        if !is_over(self.open.len(), self.lines) {
            return;
        }
        let (mut open, mut lines, mut going) = (self.open.len(), self.lines, Vec::new());
        let settled = self.open.iter().filter(|(_, open)| open.settled.is_some());
        let others = self.open.iter().filter(|(_, open)| open.settled.is_none());
        for (place, receipt) in settled.chain(others) {
            if !is_over(open, lines) {
                break;
            }
            (open, lines) = (open - 1, lines - receipt.lines.len());
            going.push(*place);
        }
        for place in going {
            if let Some(forgotten) = self.open.remove(&place) {
                self.close(&forgotten);
                self.forgotten += 1;
            }
        }
    }

    fn open(&mut self, change: Recorded, since: Instant) {
        let open = self.begin(change, since);
        self.lines += open.lines.len();
        self.by_id.insert(open.change.id.clone(), open.change.last);
        self.open.insert(open.change.last, open);
    }

    /// A receipt with every node that there is, and what it has applied.
    fn begin(&self, change: Recorded, since: Instant) -> Open {
        let mut open = Open::new(change, since);
        for Node { who, applied, lost, .. } in self.nodes.values() {
            match lost {
                None => {
                    open.wait_for(&who.node, &who.region);
                }
                Some(lost) if since.saturating_duration_since(*lost) < NAMED => {
                    open.name_lost(&who.node, &who.region);
                }
                Some(_) => continue,
            }
            if *applied >= open.change.last {
                open.applied(&who.node, since);
            }
        }
        open.settle(since, |_| None);
        open
    }

    fn close(&mut self, open: &Open) {
        self.lines -= open.lines.len();
        self.by_id.remove(&open.change.id);
    }

    /// Looks who is late. To be called several times a second.
    pub(crate) fn sweep(&mut self, now: Instant) -> Swept {
        let mut swept = Swept::default();
        for node in self.nodes.values_mut() {
            let silent = now.saturating_duration_since(node.heard);
            let is_gone = node.session.is_none() && silent >= self.windows.lost;
            if is_gone && node.lost.is_none() {
                node.lost = Some(now);
                swept.lost.push(node.who.node.clone());
            }
        }
        let registered = std::mem::take(&mut self.registered);
        let registered = registered.iter().filter_map(|name| self.nodes.get(name));
        swept.registered = registered.map(|node| (node.who.clone(), node.applied)).collect();
        let (nodes, windows, heads) = (&self.nodes, self.windows, &self.heads);
        for open in self.open.values_mut() {
            let age = now.saturating_duration_since(open.since);
            if open.settled.is_none() && age >= windows.lease {
                open.settle(now, |name| receipt::given_up(nodes.get(name), windows, heads, now));
            }
            if open.settled.is_some_and(|at| open.is_told() || now - at >= TELL) {
                swept.done.push(receipt::wire(open));
            }
        }
        swept
    }

    /// What was swept could not be kept elsewhere: it is to be swept again.
    pub(crate) fn unkept(&mut self, registered: &[(Registered, Position)]) {
        self.registered.extend(registered.iter().map(|(who, _)| who.node.clone()));
    }

    /// These receipts are kept elsewhere.
    pub(crate) fn kept(&mut self, receipts: &[admin::Receipt]) {
        for id in receipts.iter().filter_map(|receipt| Some(&receipt.change.as_ref()?.id)) {
            let place = self.by_id.get(id).copied();
            if let Some(open) = place.and_then(|place| self.open.remove(&place)) {
                self.close(&open);
            }
        }
    }

    /// An open receipt, and whether nothing can be added to it any more.
    pub(crate) fn receipt(&self, id: &str) -> Option<(admin::Receipt, bool)> {
        let open = self.open.get(self.by_id.get(id)?)?;
        let receipt = receipt::wire(open);
        let is_final = receipt.settled && open.is_told();
        Some((receipt, is_final))
    }

    /// Whether an open receipt is settled; so is one that is not open.
    pub(crate) fn is_settled(&self, id: &str) -> bool {
        let open = self.by_id.get(id).and_then(|place| self.open.get(place));
        open.is_none_or(|open| open.settled.is_some())
    }

    /// Rings whenever an open receipt grows.
    pub(crate) fn bell(&mut self, id: &str) -> Option<watch::Receiver<()>> {
        Some(self.open.get_mut(self.by_id.get(id)?)?.bell())
    }

    /// What can be said of a change whose receipt is no longer in memory and was never kept: who has
    /// applied it by now, without times.
    pub(crate) fn late_receipt(&self, change: Recorded, now: Instant) -> admin::Receipt {
        // Times of this receipt are not known, so each is none.
        let mut open = self.begin(change, now);
        open.settle(now, |name| {
            receipt::given_up(self.nodes.get(name), self.windows, &self.heads, now)
        });
        receipt::wire(&open)
    }

    /// Adds to a receipt that was kept elsewhere who has applied its change since.
    pub(crate) fn bring_up(&self, receipt: &mut admin::Receipt) {
        receipt::bring_up(receipt, &self.nodes);
    }

    /// Every node, by name.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<Standing> {
        let standing = |node: &Node| node.standing(&self.heads, self.windows, now);
        self.nodes.values().map(standing).collect()
    }

    /// Receipts that are not kept elsewhere yet.
    pub(crate) fn open_receipts(&self) -> usize {
        self.open.len()
    }

    /// Receipts that lost their times because there were too many, since this was asked last.
    pub(crate) fn forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

#[cfg(test)]
mod tests;
