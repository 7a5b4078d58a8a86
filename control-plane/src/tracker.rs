//! Who has applied what, and when: the standing of every node, and the receipts that follow from it.
//!
//! Pure: `now` comes from outside, and so do reports. Times are those of this process, from the commit
//! of a change to the arrival of a report that covers it: upper bounds, without any trust in clocks of
//! others. A receipt waits for every node that was not lost when the change was committed, and for
//! those that register afterwards and have not applied it.

mod node;
mod receipt;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    NodeId, Position,
    pb::{admin::v1 as admin, edge::v1 as edge},
};

pub(crate) use self::node::{Known, Registered, Standing, State};
use self::{node::Node, receipt::Open};
use crate::{change::Recorded, wire};

/// Lines of receipts in memory, some 200 bytes each: the oldest receipts go when there are more.
const MAX_LINES: usize = 400_000;

/// Receipts in memory.
const MAX_OPEN: usize = 65_536;

/// How long a settled receipt waits for what nodes still have to tell, such as what Redis did.
const TELL: Duration = Duration::from_secs(5);

/// When a node that is not heard counts as what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Unconfirmed, or fenced if it is strict.
    pub(crate) lease: Duration,
    /// Lost, once it has no session.
    pub(crate) lost: Duration,
}

/// Everything that is known of nodes and open receipts.
#[derive(Debug)]
pub(crate) struct Tracker {
    windows: Windows,
    head: Position,
    nodes: BTreeMap<NodeId, Node>,
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
    /// Receipts that are done: they are to be kept elsewhere, then [`Tracker::kept`].
    pub(crate) done: Vec<admin::Receipt>,
}

impl Tracker {
    /// Knows these nodes from before, and has not heard of any yet.
    pub(crate) fn new(windows: Windows, head: Position, known: Vec<Known>, now: Instant) -> Self {
        let nodes = known.into_iter().map(|it| (it.who.node.clone(), Node::known(it, now)));
        Self {
            windows,
            head,
            nodes: nodes.collect(),
            open: BTreeMap::new(),
            by_id: HashMap::new(),
            lines: 0,
            forgotten: 0,
        }
    }

    /// A node registers, in a session of this number.
    pub(crate) fn registered(
        &mut self,
        who: Registered,
        applied: Position,
        session: u64,
        now: Instant,
    ) {
        let name = who.node.clone();
        let before = self.nodes.get(&name).map_or(Position::ORIGIN, |node| node.applied);
        // It may have forgotten what it applied, but then it holds nothing that was removed.
        self.apply(&name, before, applied, now);
        self.nodes.insert(name.clone(), Node::registered(who, applied, session, now));
        self.wait_for(&name, applied);
    }

    /// A node says how far it has applied the log.
    pub(crate) fn heard(&mut self, name: &NodeId, applied: Position, now: Instant) {
        self.note(name, applied, now, now);
    }

    /// Notes what a node said at `heard`, and what became known of it now.
    fn note(&mut self, name: &NodeId, applied: Position, heard: Instant, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let before = node.applied;
        node.applied = applied.max(before);
        if node.applied >= self.head {
            node.confirmed = node.confirmed.max(heard);
        }
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
        if now - heard >= self.windows.lost {
            return;
        }
        let name = who.node.clone();
        if self.nodes.get(&name).is_none_or(|node| node.is_lost) {
            let known = Known { who, applied: Position::ORIGIN, is_lost: false };
            self.nodes.insert(name.clone(), Node::known(known, heard));
            self.wait_for(&name, applied);
        }
        self.note(&name, applied, heard, now);
        if let Some(node) = self.nodes.get_mut(&name) {
            node.left = node.left.max(heard);
        }
    }

    /// Waits for a node in receipts of what it has not applied, unless they are settled.
    fn wait_for(&mut self, name: &NodeId, applied: Position) {
        let later = self.open.range_mut((Excluded(applied), Unbounded)).map(|(_, open)| open);
        for open in later.filter(|open| open.settled.is_none()) {
            self.lines += usize::from(open.wait_for(name));
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
    pub(crate) fn told(&mut self, name: &NodeId, outcome: &edge::Outcome) {
        let place = wire::read_position(outcome.position);
        let covering = self.open.range_mut(place..).next();
        if let Some((_, open)) = covering.filter(|(_, open)| open.change.first <= place) {
            open.told(name, outcome);
        }
    }

    /// A session has ended.
    pub(crate) fn left(&mut self, name: &NodeId, session: u64, now: Instant) {
        let head = self.head;
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.session == Some(session) {
            if node.applied >= head {
                node.confirmed = now;
            }
            node.session = None;
            node.left = now;
        }
    }

    /// These changes are in the log. `since` is when they were committed.
    pub(crate) fn committed(
        &mut self,
        changes: impl IntoIterator<Item = Recorded>,
        head: Position,
        since: Instant,
    ) {
        for node in self.nodes.values_mut().filter(|node| node.session.is_some()) {
            if node.applied >= self.head {
                node.confirmed = node.confirmed.max(since);
            }
        }
        self.head = head.max(self.head);
        for change in changes {
            self.open(change, since);
        }
        while self.open.len() > MAX_OPEN || self.lines > MAX_LINES {
            let Some((_, forgotten)) = self.open.pop_first() else { break };
            self.close(&forgotten);
            self.forgotten += 1;
        }
    }

    fn open(&mut self, change: Recorded, since: Instant) {
        let mut open = Open::new(change, since);
        for node in self.nodes.values().filter(|node| !node.is_lost) {
            self.lines += usize::from(open.wait_for(&node.who.node));
            if node.applied >= open.change.last {
                open.applied(&node.who.node, since);
            }
        }
        open.settle(since, |_| false);
        self.by_id.insert(open.change.id.clone(), open.change.last);
        self.open.insert(open.change.last, open);
    }

    fn close(&mut self, open: &Open) {
        self.lines -= open.lines.len();
        self.by_id.remove(&open.change.id);
    }

    /// Looks who is late. To be called several times a second.
    pub(crate) fn sweep(&mut self, now: Instant) -> Swept {
        let mut swept = Swept::default();
        for node in self.nodes.values_mut() {
            let is_gone = node.session.is_none() && now - node.left >= self.windows.lost;
            if is_gone && !node.is_lost {
                node.is_lost = true;
                swept.lost.push(node.who.node.clone());
            }
        }
        let (nodes, windows, head) = (&self.nodes, self.windows, self.head);
        for open in self.open.values_mut() {
            if open.settled.is_none() && now - open.since >= windows.lease {
                open.settle(now, |name| {
                    nodes.get(name).is_none_or(|node| node.state(head, windows, now) != State::Live)
                });
            }
            if open.settled.is_some_and(|at| open.is_told() || now - at >= TELL) {
                swept.done.push(receipt::wire(open, nodes, windows, head, now));
            }
        }
        swept
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
    pub(crate) fn receipt(&self, id: &str, now: Instant) -> Option<(admin::Receipt, bool)> {
        let open = self.open.get(self.by_id.get(id)?)?;
        let receipt = receipt::wire(open, &self.nodes, self.windows, self.head, now);
        let is_final = receipt.settled && open.is_told();
        Some((receipt, is_final))
    }

    /// Whether an open receipt is settled; so is one that is not open.
    pub(crate) fn is_settled(&self, id: &str) -> bool {
        let open = self.by_id.get(id).and_then(|place| self.open.get(place));
        open.is_none_or(|open| open.settled.is_some())
    }

    /// Rings whenever an open receipt grows.
    pub(crate) fn bell(&self, id: &str) -> Option<watch::Receiver<()>> {
        Some(self.open.get(self.by_id.get(id)?)?.bell.subscribe())
    }

    /// What can be said of a change whose receipt is no longer in memory and was never kept: who has
    /// applied it by now, without times.
    pub(crate) fn late_receipt(&self, change: Recorded, now: Instant) -> admin::Receipt {
        let mut open = Open::new(change, now);
        for node in self.nodes.values().filter(|node| !node.is_lost) {
            open.wait_for(&node.who.node);
            if node.applied >= open.change.last {
                open.applied(&node.who.node, now);
            }
        }
        let live = |node: &Node| node.state(self.head, self.windows, now) == State::Live;
        open.settle(now, |name| !self.nodes.get(name).is_some_and(live));
        receipt::wire(&open, &self.nodes, self.windows, self.head, now)
    }

    /// Adds to a receipt that was kept elsewhere who has applied its change since.
    pub(crate) fn bring_up(&self, receipt: &mut admin::Receipt) {
        receipt::bring_up(receipt, &self.nodes);
    }

    /// Every node, by name.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<Standing> {
        let standing = |node: &Node| node.standing(self.head, self.windows, now);
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
