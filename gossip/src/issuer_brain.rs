//! What an issuer does in the event plane, as a pure state machine.
//!
//! Whoever drives it carries out the actions of each call, and calls again at
//! [`IssuerBrain::deadline`] with [`Input::Tick`]. Several issuers of one log need not know of each
//! other: each sends what it commits, and all hear every ack.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;
use wcdn_proto::{NodeId, Position, Region};

use crate::{
    frame::Frame,
    member::{Member, Role},
    message::{Applied, Lease, Message, Standing},
    ranges::SeqRange,
    receipts::{Commits, Confirmation, NodeProgress},
    ring::Ring,
    time::Time,
};

mod node;
mod outbox;
mod sending;
mod words;

pub use self::words::{
    Action, Heard, Input, IssuerCounts, IssuerSettings, IssuerTiming, NodeState, NodeStatus,
};
use self::{
    node::Node,
    outbox::Outbox,
    sending::{LOOK_INTERVAL, Paces},
};

/// The most nodes that are known: 32 kB each at most. One more is not heard.
const MAX_NODES: usize = 10_000;

/// How long a node that is no member is remembered after it was heard.
const FORGET_AFTER: Time = Time::from_secs(900);

/// An issuer's part of the event plane.
#[derive(Debug)]
pub struct IssuerBrain {
    settings: IssuerSettings,
    nodes: BTreeMap<NodeId, Node>,
    issuers: Vec<SocketAddr>,
    ring: Ring,
    outbox: Outbox,
    commits: Commits,
    /// Second copies: when, what, and the frames in it.
    copies: VecDeque<(Time, Message, Vec<SeqRange>)>,
    /// When nodes are looked at again.
    next_look: Option<Time>,
    next_send: Time,
    paces: Paces,
    counts: IssuerCounts,
    revision: u64,
}

impl IssuerBrain {
    /// Begins.
    pub fn new(settings: IssuerSettings) -> Self {
        Self {
            nodes: BTreeMap::new(),
            issuers: Vec::new(),
            ring: Ring::new(settings.ring),
            outbox: Outbox::default(),
            commits: Commits::default(),
            copies: VecDeque::new(),
            next_look: None,
            next_send: Time::ZERO,
            paces: Paces::default(),
            counts: IssuerCounts::default(),
            revision: 0,
            settings,
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> IssuerCounts {
        self.counts
    }

    /// The highest position that is known to be committed.
    pub fn head(&self) -> Position {
        self.commits.head()
    }

    /// Rises whenever [`IssuerBrain::progress`] may have changed, other than by time.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When [`Input::Tick`] is due, if nothing comes before.
    pub fn deadline(&self) -> Option<Time> {
        let send = self.outbox.has_fresh().then_some(self.next_send);
        let copy = self.copies.front().map(|(at, ..)| *at);
        [send, copy, self.next_look].into_iter().flatten().min()
    }

    /// Takes note of `input` at `now`, and says what to do.
    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Publish(frames) => frames.iter().for_each(|frame| self.publish(frame, now)),
            Input::Received { from, message } => self.receive(from, message, now, &mut actions),
            Input::Members(members) => self.meet(members, now),
            Input::HeadRead { to, nonce, head } => self.lease(to, nonce, head, now, &mut actions),
            Input::Heard(heard) => self.hear(heard, now),
            Input::Tick => {}
        }
        self.send_fresh(now, &mut actions);
        self.send_copies(now, &mut actions);
        if self.next_look.is_some_and(|at| at <= now) {
            self.look(now, &mut actions);
        }
        actions
    }

    /// How every known node stands to a position, by name.
    pub fn progress(&self, upto: Position, now: Time) -> Vec<NodeProgress> {
        let since = self.commits.at(upto);
        let is_over = |node: &Node| since.is_some_and(|since| now >= since + self.patience(node));
        let state = |node: &Node| match node.steps.confirmation(upto, &self.commits) {
            Some(applied) => applied,
            None if self.is_lost(node, now) => Confirmation::Lost,
            None if is_over(node) && node.is_strict => Confirmation::Fenced,
            None if is_over(node) => Confirmation::Unconfirmed,
            None => Confirmation::Pending,
        };
        let progress = |(name, node): (&NodeId, &Node)| NodeProgress {
            node: name.clone(),
            region: node.region.clone(),
            state: state(node),
        };
        self.nodes.iter().map(progress).collect()
    }

    /// Every known node, by name.
    pub fn nodes(&self, now: Time) -> Vec<NodeStatus> {
        let status = |(name, node): (&NodeId, &Node)| NodeStatus {
            node: name.clone(),
            region: node.region.clone(),
            is_strict: node.is_strict,
            applied: node.applied(),
            settled: node.steps.upto(),
            heard_ago: node.heard.map(|heard| now.saturating_sub(heard)),
            state: self.state(node, now),
        };
        self.nodes.iter().map(status).collect()
    }

    fn state(&self, node: &Node, now: Time) -> NodeState {
        let lags_since = self.lags_since(node);
        let is_late = |since: Time| now >= since + self.patience(node);
        let is_silent = node.heard.is_none_or(is_late);
        match node.is_strict {
            _ if self.is_lost(node, now) => NodeState::Lost,
            _ if !is_silent && !lags_since.is_some_and(is_late) => NodeState::Live,
            true => NodeState::Fenced,
            false => NodeState::Unconfirmed,
        }
    }

    /// The window of the node's lease or our own, whichever is longer, and a hundredth, by which clocks
    /// may differ in speed.
    fn patience(&self, node: &Node) -> Time {
        let window = self.settings.window.max(node.lease);
        window + window / 100
    }

    fn is_lost(&self, node: &Node, now: Time) -> bool {
        let silent = now.saturating_sub(node.heard.unwrap_or_default());
        match node.member {
            Some((_, is_live)) => !is_live && silent >= self.patience(node),
            None => silent >= 3 * self.patience(node),
        }
    }

    /// Since when the first thing that a node lacks has been committed.
    fn lags_since(&self, node: &Node) -> Option<Time> {
        let Position { epoch, seq } = node.applied();
        self.commits.at(Position { epoch, seq: seq.saturating_add(1) })
    }

    fn receive(&mut self, from: SocketAddr, message: Message, now: Time, out: &mut Vec<Action>) {
        match message {
            Message::Ack(standing) => self.note(standing, Some(from), now),
            Message::Poll { nonce, standing } => {
                self.note(standing, Some(from), now);
                out.push(Action::ReadHead { to: from, nonce });
            }
            Message::Digest { applied, .. } => self.compare(from, &applied, now, out),
            Message::Want { epoch, missing } => self.answer(from, epoch, missing, now, out),
            Message::Push(frames) => self.receive_frames(frames, now),
            Message::Lease(_) | Message::Head(_) => {}
        }
    }

    fn hear(&mut self, heard: Heard, now: Time) {
        let Heard { node, incarnation, region, is_strict, applied } = heard;
        let applied = Applied::upto(applied);
        let lease = self.nodes.get(&node).map_or(Time::ZERO, |known| known.lease);
        let standing = Standing { node, incarnation, region, is_strict, lease, applied };
        self.note(standing, None, now);
    }

    fn note(&mut self, standing: Standing, from: Option<SocketAddr>, now: Time) {
        let Standing { node: name, incarnation, region, is_strict, lease, applied } = standing;
        if !self.admit(&name, &region, now) {
            return;
        }
        let node = self.nodes.get_mut(&name).expect("it was admitted");
        let before = (node.steps.upto(), node.is_strict);
        let (is_current, is_new) = node.meet(incarnation);
        if !is_current {
            return;
        }
        (node.region, node.is_strict, node.lease) = (region, is_strict, lease);
        node.heard = Some(now);
        node.sender = from.or(node.sender);
        node.confirm(&applied, &self.outbox, now);
        node.settle(self.commits.head(), now);
        if before != (node.steps.upto(), node.is_strict) {
            self.revision += 1;
        }
        if is_new {
            self.look_at(now + LOOK_INTERVAL);
        }
    }

    /// Whether a node is known from now on.
    fn admit(&mut self, name: &NodeId, region: &Region, now: Time) -> bool {
        if self.nodes.contains_key(name) {
            return true;
        }
        if self.nodes.len() >= MAX_NODES {
            self.forget(now);
        }
        if self.nodes.len() >= MAX_NODES {
            return false;
        }
        self.nodes.insert(name.clone(), Node::new(region.clone(), &self.outbox));
        self.revision += 1;
        true
    }

    fn forget(&mut self, now: Time) {
        self.nodes.retain(|_, node| {
            let silent = now.saturating_sub(node.heard.unwrap_or_default());
            node.member.is_some() || silent < FORGET_AFTER
        });
    }

    fn meet(&mut self, members: Vec<Member>, now: Time) {
        self.nodes.values_mut().for_each(|node| node.member = None);
        self.issuers.clear();
        for Member { node: name, region, address, role, is_live } in members {
            if name == self.settings.node {
                continue;
            }
            if role == Role::Issuer {
                self.issuers.push(address);
            } else if self.admit(&name, &region, now) {
                let node = self.nodes.get_mut(&name).expect("it was admitted");
                (node.member, node.region) = (Some((address, is_live)), region);
            }
        }
        self.forget(now);
        self.revision += 1;
        self.look_at(now);
    }

    fn compare(&mut self, from: SocketAddr, theirs: &Applied, now: Time, out: &mut Vec<Action>) {
        let highest = self.ring.highest();
        if theirs.upto.epoch < highest.epoch {
            out.push(Action::Send { to: from, message: Message::Head(self.commits.head()) });
        } else {
            let missing = theirs.ranges().missing(highest.seq).collect();
            self.answer(from, theirs.upto.epoch, missing, now, out);
        }
    }

    fn answer(
        &mut self,
        to: SocketAddr,
        epoch: u64,
        missing: Vec<SeqRange>,
        now: Time,
        out: &mut Vec<Action>,
    ) {
        for message in self.ring.answer(epoch, missing) {
            if !self.paces.answers.take(1, now) {
                break;
            }
            self.counts.repairs += 1;
            out.push(Action::Send { to, message });
        }
    }

    /// Frames of another issuer, or of edges that had them from it: to be passed on to whoever asks.
    fn receive_frames(&mut self, frames: Vec<Bytes>, now: Time) {
        for encoded in frames {
            let Ok(frame) = Frame::open(encoded, &self.settings.keys) else {
                self.counts.refused += 1;
                continue;
            };
            self.ring.insert(&frame);
            self.learn(frame.last(), now);
        }
    }

    fn lease(
        &mut self,
        to: SocketAddr,
        nonce: u64,
        head: Position,
        now: Time,
        out: &mut Vec<Action>,
    ) {
        let key = &self.settings.key;
        let signature = key.sign_lease(nonce, head).into();
        let key_hint = Bytes::copy_from_slice(&key.public().hint());
        let message = Message::Lease(Lease { nonce, head, signature, key_hint });
        out.push(Action::Send { to, message });
        self.learn(head, now);
    }

    /// Notes what another issuer has committed.
    fn learn(&mut self, upto: Position, now: Time) {
        if upto <= self.commits.head() {
            return;
        }
        if upto.epoch > self.commits.head().epoch {
            self.outbox.clear();
            self.copies.clear();
        }
        self.commits.hear(upto, now);
        self.nodes.values_mut().for_each(|node| node.settle(upto, now));
        self.revision += 1;
        self.look_at(now);
    }
}

#[cfg(test)]
mod tests;
