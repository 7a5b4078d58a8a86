//! What an issuer does in the event plane, as a pure state machine.
//!
//! Whoever drives it carries out the actions of each call, and calls again at
//! [`IssuerBrain::deadline`] with [`Input::Tick`]. Several issuers of one log need not know of each
//! other: each sends what it commits, and all hear every ack.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;
use wcdn_proto::{NodeId, Position};

use crate::{
    frame::Frame,
    message::{Applied, Lease, Message},
    ranges::SeqRange,
    receipts::{Commits, Confirmation, NodeProgress},
    ring::Ring,
    time::Time,
};

mod knowing;
mod node;
mod outbox;
mod sending;
mod trip;
mod words;

pub use self::words::{
    Action, Heard, Input, IssuerCounts, IssuerSettings, IssuerTiming, NodeStatus,
};
use self::{node::Node, outbox::Outbox, sending::Paces};

/// The most nodes that are known: 32 kB each at most. One more is not heard.
const MAX_NODES: usize = 10_000;

/// How long a node that is no member is sent what it lacks after it was heard: three leases.
const FOLLOW: Time = Time::from_secs(15);

/// How long it is remembered.
const FORGET_AFTER: Time = Time::from_secs(900);

/// An issuer's part of the event plane.
#[derive(Debug)]
pub struct IssuerBrain {
    settings: IssuerSettings,
    nodes: BTreeMap<NodeId, Node>,
    issuers: Vec<SocketAddr>,
    /// Of all members.
    addresses: HashSet<SocketAddr>,
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
            addresses: HashSet::new(),
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

    /// Rises whenever [`IssuerBrain::progress`] may have changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When [`Input::Tick`] is due, if nothing comes before.
    pub fn deadline(&self) -> Option<Time> {
        let send = self.outbox.has_fresh().then_some(self.next_send);
        let copy = self.copies.front().map(|(at, ..)| *at);
        [send, copy, self.next_look].into_iter().flatten().min()
    }

    /// Takes note of `input` at `now`, runs the timers, and says what to do.
    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Action> {
        let mut actions = self.take_in(input, now);
        self.send_fresh(now, &mut actions);
        self.send_copies(now, &mut actions);
        if self.next_look.is_some_and(|at| at <= now) {
            self.look(now, &mut actions);
        }
        actions
    }

    /// The same without the timers: whoever has more to tell does so before them, and last a
    /// [`Input::Tick`], lest something is sent again whose ack is waiting to be read.
    pub fn take_in(&mut self, input: Input, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Publish(frames) => frames.iter().for_each(|frame| self.publish(frame, now)),
            Input::Learn(frames) => {
                for frame in frames {
                    self.ring.insert(&frame);
                    self.learn(frame.last(), now);
                }
            }
            Input::Received { from, message } => self.receive(from, message, now, &mut actions),
            Input::Members(members) => self.meet(members, now),
            Input::HeadRead { to, nonce, head } => self.lease(to, nonce, head, now, &mut actions),
            Input::Heard(heard) => self.hear(heard, now),
            Input::Tick => {}
        }
        actions
    }

    /// Which known nodes have confirmed a position, by name.
    pub fn progress(&self, upto: Position) -> Vec<NodeProgress> {
        let state = |node: &Node| node.steps.confirmation(upto, &self.commits);
        let progress = |(name, node): (&NodeId, &Node)| NodeProgress {
            node: name.clone(),
            region: node.region.clone(),
            state: state(node).unwrap_or(Confirmation::Pending),
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
            lease: node.lease,
        };
        self.nodes.iter().map(status).collect()
    }

    /// Since when the first thing that a node lacks has been committed.
    fn lags_since(&self, node: &Node) -> Option<Time> {
        let Position { epoch, seq } = node.applied();
        self.commits.at(Position { epoch, seq: seq.saturating_add(1) })
    }

    fn receive(&mut self, from: SocketAddr, message: Message, now: Time, out: &mut Vec<Action>) {
        match message {
            Message::Ack(standing) => self.listen(standing, from, now),
            Message::Poll { nonce, standing } => {
                let name = standing.node.clone();
                self.listen(standing, from, now);
                if self.may_poll(&name, from, now) {
                    out.push(Action::ReadHead { to: from, nonce });
                }
            }
            Message::Digest { applied, .. } => self.compare(from, &applied, now, out),
            Message::Want { epoch, missing } => self.answer(from, epoch, missing, now, out),
            Message::Push(frames) => self.receive_frames(frames, now),
            Message::Lease(_) | Message::Head(_) | Message::Note(_) => {}
        }
    }

    fn compare(&mut self, from: SocketAddr, theirs: &Applied, now: Time, out: &mut Vec<Action>) {
        let highest = self.ring.highest();
        if theirs.upto.epoch < highest.epoch {
            if !self.may_answer(from, now) {
                return;
            }
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
            if !self.paces.answers.take(1, now) || !self.may_answer(to, now) {
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
