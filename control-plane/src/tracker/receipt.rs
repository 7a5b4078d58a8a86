//! One receipt as it grows.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    NodeId, Position, Region,
    pb::{
        admin::v1::{self as admin, NodeState},
        edge::v1::{self as edge, ReadBack, RedisOutcome},
    },
};

use super::{
    Windows,
    heads::Heads,
    node::{Node, State},
};
use crate::change::Recorded;

/// A change whose receipt is in memory. The tracker alone writes it; those who watch hear its bell.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) change: Recorded,
    /// The epoch of the newest log that is known to have it.
    pub(super) log: u64,
    /// When it was committed.
    pub(super) since: Instant,
    pub(super) lines: BTreeMap<NodeId, Line>,
    /// Lines of nodes that have not applied it, and were not given up.
    waiting: usize,
    /// Lines of nodes that have, but have not told of every event.
    untold: usize,
    /// Since when no node is pending.
    pub(super) settled: Option<Instant>,
    /// Once somebody watches: few receipts are.
    bell: Option<watch::Sender<()>>,
}

/// What is known of one node.
#[derive(Debug)]
pub(super) struct Line {
    region: Region,
    applied_after: Option<Duration>,
    /// Why nobody waits for it: as it stood when it was given up, whatever it does since.
    given_up: Option<NodeState>,
    outcome: edge::Outcome,
    /// Events of which it has told.
    told: u64,
}

impl Open {
    pub(super) fn new(change: Recorded, since: Instant) -> Self {
        Self {
            log: change.last.epoch,
            change,
            since,
            lines: BTreeMap::new(),
            waiting: 0,
            untold: 0,
            settled: None,
            bell: None,
        }
    }

    /// Waits for this node too. Says whether it has a line only since then.
    pub(super) fn wait_for(&mut self, name: &NodeId, region: &Region) -> bool {
        if let Some(line) = self.lines.get_mut(name) {
            // It was lost, and is there again.
            self.waiting += usize::from(line.given_up.take().is_some());
            return false;
        }
        self.lines.insert(name.clone(), Line::new(region, None));
        self.waiting += 1;
        true
    }

    /// Names a node that was lost already, and does not wait for it.
    pub(super) fn name_lost(&mut self, name: &NodeId, region: &Region) {
        self.lines.insert(name.clone(), Line::new(region, Some(NodeState::Lost)));
    }

    /// Whether another log goes on, which may lack it.
    pub(super) fn is_doubtful(&self, heads: &Heads) -> bool {
        self.log < heads.last().epoch
    }

    /// Whether a node that has applied so much has applied it. Another log, which a standby or a copy
    /// went on with, may lack it.
    pub(super) fn is_covered_by(&self, applied: Position) -> bool {
        self.change.last <= applied && applied.epoch <= self.log
    }

    /// This node has applied it.
    pub(super) fn applied(&mut self, name: &NodeId, now: Instant) {
        let events = self.change.events();
        let Some(line) = self.lines.get_mut(name) else { return };
        if line.applied_after.is_some() {
            return;
        }
        line.applied_after = Some(now.saturating_duration_since(self.since));
        self.waiting -= usize::from(line.given_up.is_none());
        self.untold += usize::from(line.told < events);
        self.settle(now, |_| None);
        self.ring();
    }

    /// This node tells what one of its events did. It may tell twice of one that it applied twice.
    pub(super) fn told(&mut self, name: &NodeId, outcome: &edge::Outcome) {
        let events = self.change.events();
        let Some(line) = self.lines.get_mut(name) else { return };
        line.add(outcome, self.change.last);
        line.told += 1;
        if line.told == events && line.applied_after.is_some() {
            self.untold -= 1;
        }
        self.ring();
    }

    /// Rings whenever it grows from now on.
    pub(super) fn bell(&mut self) -> watch::Receiver<()> {
        self.bell.get_or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.send_replace(());
        }
    }

    /// Whether every node that applied it has told of every event.
    pub(super) fn is_told(&self) -> bool {
        self.untold == 0
    }

    /// Settles it if every node has applied it, or is one that nobody waits for. What is said of those
    /// stays said.
    pub(super) fn settle(&mut self, now: Instant, gave_up: impl Fn(&NodeId) -> Option<NodeState>) {
        if self.settled.is_some() {
            return;
        }
        let waits = |line: &Line| line.applied_after.is_none() && line.given_up.is_none();
        let waiting = self.lines.iter().filter(|(_, line)| waits(line));
        if self.waiting > 0 && !waiting.map(|(name, _)| gave_up(name)).all(|it| it.is_some()) {
            return;
        }
        for (name, line) in self.lines.iter_mut().filter(|(_, line)| waits(line)) {
            line.given_up = gave_up(name);
        }
        self.waiting = 0;
        self.settled = Some(now);
        self.ring();
    }
}

impl Line {
    fn new(region: &Region, given_up: Option<NodeState>) -> Self {
        let (region, outcome) = (region.clone(), edge::Outcome::default());
        Self { region, applied_after: None, given_up, outcome, told: 0 }
    }

    fn state(&self) -> NodeState {
        match (self.applied_after, self.given_up) {
            (Some(_), _) => NodeState::Applied,
            (None, Some(state)) => state,
            (None, None) => NodeState::Pending,
        }
    }

    fn add(&mut self, told: &edge::Outcome, last: Position) {
        let sum = &mut self.outcome;
        sum.position = Some(last.into());
        sum.memory_removed = sum.memory_removed.saturating_add(told.memory_removed);
        sum.fills_marked = sum.fills_marked.saturating_add(told.fills_marked);
        sum.redis_removed = sum.redis_removed.saturating_add(told.redis_removed);
        // Of several events, the worst: the values are ordered so.
        if redis_rank(told.redis()) > redis_rank(sum.redis()) {
            sum.redis = told.redis;
        }
        if read_back_rank(told.read_back()) > read_back_rank(sum.read_back()) {
            sum.read_back = told.read_back;
        }
    }
}

fn redis_rank(outcome: RedisOutcome) -> u8 {
    match outcome {
        RedisOutcome::Unspecified => 0,
        RedisOutcome::None => 1,
        RedisOutcome::Removed => 2,
        RedisOutcome::Unreachable => 3,
    }
}

fn read_back_rank(read: ReadBack) -> u8 {
    match read {
        ReadBack::Unspecified => 0,
        ReadBack::Clean => 1,
        ReadBack::Unknown => 2,
        ReadBack::Stale => 3,
    }
}

/// Adds who has applied the change since the receipt was kept, without times. Only positions of the same
/// log tell: another one may lack the change.
pub(super) fn bring_up(receipt: &mut admin::Receipt, nodes: &BTreeMap<NodeId, Node>) {
    let last = Position::from(receipt.change.as_ref().and_then(|change| change.last));
    let has_applied = |name: &str| {
        let node = name.parse().ok().and_then(|name: NodeId| nodes.get(&name));
        node.is_some_and(|node| node.applied.epoch == last.epoch && node.applied >= last)
    };
    for line in &mut receipt.nodes {
        if line.state() != NodeState::Applied && has_applied(&line.node) {
            line.set_state(NodeState::Applied);
        }
    }
    let is_applied = |line: &admin::NodeReceipt| line.state() == NodeState::Applied;
    receipt.complete = !receipt.nodes.is_empty() && receipt.nodes.iter().all(is_applied);
}

/// Why nobody waits any longer for a node; none if it is waited for.
pub(super) fn given_up(
    node: Option<&Node>,
    windows: Windows,
    heads: &Heads,
    now: Instant,
) -> Option<NodeState> {
    match node.map(|node| node.state(heads, windows, now)) {
        Some(State::Live) => None,
        Some(State::Unconfirmed) => Some(NodeState::Unconfirmed),
        Some(State::Fenced) => Some(NodeState::Fenced),
        Some(State::Lost) | None => Some(NodeState::Lost),
    }
}

/// A receipt as it travels.
pub(super) fn wire(open: &Open) -> admin::Receipt {
    let line = |(name, line): (&NodeId, &Line)| {
        let after = line.applied_after.unwrap_or_default().as_micros();
        admin::NodeReceipt {
            node: name.to_string(),
            region: line.region.to_string(),
            state: line.state().into(),
            applied_after_us: u64::try_from(after).unwrap_or(u64::MAX),
            outcome: (line.told > 0).then_some(line.outcome),
        }
    };
    let lines: Vec<_> = open.lines.iter().map(line).collect();
    let is_applied = |line: &admin::NodeReceipt| line.state() == NodeState::Applied;
    admin::Receipt {
        change: Some(open.change.to_wire()),
        settled: open.settled.is_some(),
        // That nobody is known to have applied it proves nothing.
        complete: !lines.is_empty() && lines.iter().all(is_applied),
        nodes: lines,
    }
}
