//! What an issuer sends unasked: what it publishes, twice, again, and reminders.

use std::net::SocketAddr;

use wcdn_proto::NodeId;

use super::{Action, FOLLOW, IssuerBrain, node::Node};
use crate::{bucket::Bucket, frame::Frame, message::Message, ranges::SeqRange, time::Time};

/// The least time between two looks at all nodes: with 10,000 of them a look takes about a
/// millisecond.
pub(super) const LOOK_INTERVAL: Time = Time::from_millis(5);

/// How fast datagrams leave.
#[derive(Debug)]
pub(super) struct Paces {
    /// Of what is published, to all nodes together: 100,000 a second are about what a core can seal
    /// and send.
    all: Bucket,
    /// The same, to each node: 4,000 a second, 4.6 MB/s, which an edge verifies in a sixth of a core.
    /// The burst fits the socket buffers of Linux (212,992 bytes).
    each: Bucket,
    /// What is published is sent twice as long as it is less than this: 100 a second.
    twice: Bucket,
    /// Frames that nodes ask for.
    pub(super) answers: Bucket,
    /// Whatever goes to addresses that no member told of: they may be forged. 100 a second let a node
    /// in that membership does not know yet, and are of no use in a flood.
    pub(super) strangers: Bucket,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            all: Bucket::new(100_000, 20_000),
            each: Bucket::new(4_000, 128),
            twice: Bucket::new(100, 50),
            answers: Bucket::new(20_000, 4_000),
            strangers: Bucket::new(100, 256),
        }
    }
}

impl IssuerBrain {
    pub(super) fn publish(&mut self, frame: &Frame, now: Time) {
        let (first, last) = (frame.first(), frame.last());
        let head = self.commits.head();
        if first.epoch < head.epoch {
            return;
        }
        if first.epoch > head.epoch {
            self.outbox.clear();
            self.copies.clear();
        }
        self.ring.insert(frame);
        self.commits.publish(first, last, now);
        let head = self.commits.head();
        self.nodes.values_mut().for_each(|node| node.settle(head, now));
        let range = SeqRange { first: first.seq, last: last.seq };
        self.outbox.publish(first.epoch, range, self.settings.ring.frames);
        self.counts.published += 1;
        self.revision += 1;
    }

    pub(super) fn send_fresh(&mut self, now: Time, out: &mut Vec<Action>) {
        while self.outbox.has_fresh() {
            let targets = self.targets(now);
            let many = u32::try_from(targets.len() + self.issuers.len()).unwrap_or(u32::MAX);
            self.next_send = self.paces.each.ready(1).max(self.paces.all.ready(many));
            if !self.paces.each.take(1, now) || !self.paces.all.take(many, now) {
                return;
            }
            let begin = self.outbox.end();
            let Some(message) = self.outbox.take(&self.ring, now) else { continue };
            for to in targets.into_iter().map(|(to, _)| to).chain(self.issuers.clone()) {
                if self.may_answer(to, now) {
                    self.counts.pushes += 1;
                    out.push(Action::Send { to, message: message.clone() });
                }
            }
            if self.paces.twice.take(1, now) {
                let numbers = begin..self.outbox.end();
                let frames = numbers.filter_map(|n| self.outbox.get(n)).map(|(_, sent)| sent.range);
                let at = now + self.settings.timing.copy_delay;
                self.copies.push_back((at, message, frames.collect()));
            }
            self.look_at(now + self.settings.timing.min_resend);
        }
    }

    pub(super) fn send_copies(&mut self, now: Time, out: &mut Vec<Action>) {
        while let Some((_, message, frames)) = self.copies.pop_front_if(|(at, ..)| *at <= now) {
            let epoch = self.commits.head().epoch;
            for (to, name) in self.targets(now) {
                let node = &self.nodes[&name];
                if frames.iter().all(|range| node.has(epoch, *range)) || !self.may_answer(to, now) {
                    continue;
                }
                self.counts.pushes += 1;
                out.push(Action::Send { to, message: message.clone() });
            }
        }
    }

    /// Sends again what was not confirmed in time, and reminders to those who lack more than that.
    pub(super) fn look(&mut self, now: Time, out: &mut Vec<Action>) {
        self.next_look = None;
        let head = self.commits.head();
        for (to, name) in self.targets(now) {
            let since = self.lags_since(&self.nodes[&name]);
            let node = self.nodes.get_mut(&name).expect("it is a target");
            let timing = &self.settings.timing;
            let most = self.paces.all.available(now);
            let (again, next) = node.resends(&self.outbox, &self.ring, timing, most, now);
            let reminder = since.map(|since| node.remind(since, timing, now));
            for message in again {
                if !self.may_answer(to, now) {
                    break;
                }
                self.paces.all.take(1, now);
                self.counts.resends += 1;
                out.push(Action::Send { to, message });
            }
            if let Some((true, _)) = reminder
                && self.may_answer(to, now)
            {
                self.counts.reminders += 1;
                out.push(Action::Send { to, message: Message::Head(head) });
            }
            for at in [next, reminder.map(|(_, at)| at)].into_iter().flatten() {
                self.look_at(at.max(now + LOOK_INTERVAL));
            }
        }
    }

    pub(super) fn look_at(&mut self, at: Time) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    /// Edges that are known and not forgotten, alive or not.
    fn targets(&self, now: Time) -> Vec<(SocketAddr, NodeId)> {
        let nodes = self.nodes.iter();
        let silent = |node: &Node| now.saturating_sub(node.heard.unwrap_or_default());
        let known = nodes.filter(|(_, node)| node.member.is_some() || silent(node) < FOLLOW);
        known.filter_map(|(name, node)| Some((node.address()?, name.clone()))).collect()
    }
}
