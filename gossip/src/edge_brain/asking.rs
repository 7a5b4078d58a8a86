//! What an edge says unasked: acks, digests, questions, polls.

use std::net::SocketAddr;

use rand::RngExt as _;

use super::{Action, EdgeBrain};
use crate::{
    member::Member,
    message::{MAX_TOLD, Message, Standing},
    ranges::SeqRange,
    time::Time,
};

impl EdgeBrain {
    pub(super) fn run_timers(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.is_ack_due && self.next_ack <= now {
            self.ack(now, out);
        }
        if self.next_digest <= now {
            self.next_digest = now + self.settings.timing.digest_interval;
            self.gossip(out);
        }
        if self.want_due().is_some_and(|at| at <= now) {
            let to = self.next_issuer();
            self.want(to, now, out);
        }
        if self.next_poll <= now && !self.issuers.is_empty() {
            self.poll(now, out);
        }
        let due = self.catching.due(&self.progress, &self.settings.timing);
        if due.is_some_and(|at| at <= now) {
            self.catching.begin(&self.progress, now);
            self.counts.catch_ups += 1;
            out.push(Action::CatchUp { after: self.progress.reached() });
        }
    }

    fn ack(&mut self, now: Time, out: &mut Vec<Action>) {
        self.is_ack_due = false;
        self.next_ack = now + self.settings.timing.ack_interval;
        let message = Message::Ack(self.standing());
        let targets = self.issuers.iter().map(|(to, _)| *to).chain(self.stranger.take());
        out.extend(targets.map(|to| Action::Send { to, message: message.clone() }));
    }

    /// To a live neighbour nine times of ten, else to anyone elsewhere, who may be thought dead: that
    /// mends what a partition left, and finds whoever is back.
    fn gossip(&mut self, out: &mut Vec<Action>) {
        let is_near = self.rng.random_bool(0.9);
        let region = &self.settings.region;
        let suits = |peer: &&Member| match is_near {
            true => peer.region == *region && peer.is_live,
            false => peer.region != *region,
        };
        let mut suited: Vec<&Member> = self.peers.iter().filter(suits).collect();
        if suited.is_empty() {
            suited = self.peers.iter().collect();
        }
        if suited.is_empty() {
            return;
        }
        let to = suited[self.rng.random_range(0..suited.len())].address;
        let message = Message::Digest { applied: self.progress.held(), is_answer: false };
        out.push(Action::Send { to, message });
    }

    pub(super) fn want_due(&self) -> Option<Time> {
        let since = self.catching.hole_since().filter(|_| !self.issuers.is_empty())?;
        Some((since + self.settings.timing.want_patience).max(self.next_want))
    }

    pub(super) fn want(&mut self, to: SocketAddr, now: Time, out: &mut Vec<Action>) {
        self.next_want = now + self.settings.timing.want_interval;
        let missing = self.progress.ranges().missing(self.progress.target());
        let missing: Vec<SeqRange> = missing.take(MAX_TOLD).collect();
        let message = Message::Want { epoch: self.progress.epoch(), missing };
        out.push(Action::Send { to, message });
    }

    fn poll(&mut self, now: Time, out: &mut Vec<Action>) {
        let nonce = self.rng.random();
        let to = self.next_issuer();
        self.leases.poll(nonce, now);
        self.next_poll = now + self.settings.timing.poll_patience;
        let message = Message::Poll { nonce, standing: self.standing() };
        out.push(Action::Send { to, message });
    }

    /// Live ones in turn, and each fourth time one that is thought dead, which may be wrong.
    fn next_issuer(&mut self) -> SocketAddr {
        self.turn = self.turn.wrapping_add(1);

        let (live, dead): (Vec<_>, Vec<_>) =
            self.issuers.iter().copied().partition(|(_, is_live)| *is_live);
        let dead_turns = self.turn / 4;
        let (suited, turn) = match self.turn.is_multiple_of(4) {
            _ if live.is_empty() || dead.is_empty() => (self.issuers.clone(), self.turn),
            true => (dead, dead_turns),
            false => (live, self.turn - dead_turns),
        };
        suited[turn % suited.len()].0
    }

    fn standing(&self) -> Standing {
        Standing {
            node: self.settings.node.clone(),
            incarnation: self.settings.incarnation,
            region: self.settings.region.clone(),
            is_strict: self.settings.is_strict,
            lease: self.settings.lease,
            applied: self.progress.reported(),
        }
    }
}
