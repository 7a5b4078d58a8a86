//! What an issuer remembers of one node.

use std::net::SocketAddr;

use wcdn_proto::{Position, Region};

use super::{
    IssuerTiming,
    outbox::{Outbox, Sent},
};
use crate::{
    message::Applied,
    ranges::{Ranges, SeqRange},
    receipts::Steps,
    time::Time,
};

/// How often a frame is sent again to a node, each time one round trip later.
const RESENDS: u32 = 3;

/// One node: where it is, what it has, and when it hears again.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) region: Region,
    pub(super) is_strict: bool,
    /// How long the head counts as confirmed there, as it told by a datagram.
    pub(super) lease: Time,
    incarnation: u64,
    /// Where membership says it is, and whether it is alive.
    pub(super) member: Option<(SocketAddr, bool)>,
    /// Where its last datagram came from.
    pub(super) sender: Option<SocketAddr>,
    pub(super) heard: Option<Time>,
    epoch: u64,
    applied: Ranges,
    pub(super) steps: Steps,
    /// Smoothed as in TCP (RFC 6298 §2), an ack's delay included.
    round_trip: Option<Time>,
    /// The first frame that was not yet looked at for its first, second and third resend.
    cursors: [u64; RESENDS as usize],
    reminded: Time,
}

impl Node {
    pub(super) fn new(region: Region, outbox: &Outbox) -> Self {
        Self {
            region,
            is_strict: false,
            lease: Time::ZERO,
            incarnation: 0,
            member: None,
            sender: None,
            heard: None,
            epoch: 0,
            applied: Ranges::default(),
            steps: Steps::default(),
            round_trip: None,
            cursors: [outbox.end(); RESENDS as usize],
            reminded: Time::ZERO,
        }
    }

    /// What it has applied, as it said last.
    pub(super) fn applied(&self) -> Position {
        Position { epoch: self.epoch, seq: self.applied.upto() }
    }

    /// Where it is sent to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.member.map(|(address, _)| address).or(self.sender)
    }

    /// Whether an incarnation is not older than what was heard of before, and whether it is a new
    /// one, which has only what it says.
    pub(super) fn meet(&mut self, incarnation: u64) -> (bool, bool) {
        let is_new = incarnation > self.incarnation || self.heard.is_none();
        if is_new {
            self.incarnation = self.incarnation.max(incarnation);
            (self.epoch, self.applied) = (0, Ranges::default());
        }
        (incarnation == self.incarnation, is_new)
    }

    /// Notes what it has applied; an older word changes nothing.
    pub(super) fn confirm(&mut self, applied: &Applied, outbox: &Outbox, now: Time) {
        let Position { epoch, seq } = applied.upto;
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            (self.epoch, self.applied) = (epoch, Ranges::default());
        }
        self.applied.raise(seq);
        // Its ranges above are what it told last: they are few, and what it told before is below.
        applied.above.iter().for_each(|&range| self.applied.insert(range));
        self.measure(outbox, now);
    }

    /// Counts what it has confirmed, as far as the log is known to reach. Whoever claims more has
    /// heard of a commit first, or has the state of another log: time will tell.
    pub(super) fn settle(&mut self, head: Position, now: Time) {
        if self.applied() <= head {
            self.steps.note(self.applied(), now);
        }
    }

    /// Whether it has all of a frame, or has gone on to a newer log.
    pub(super) fn has(&self, epoch: u64, range: SeqRange) -> bool {
        self.epoch > epoch || (self.epoch == epoch && self.applied.covers(range))
    }

    /// What is to be sent again by now, and when the next is, if it does not confirm before.
    pub(super) fn resends(
        &mut self,
        outbox: &Outbox,
        timing: &IssuerTiming,
        now: Time,
    ) -> (Vec<Sent>, Option<Time>) {
        let wait = self.wait(timing);
        let mut again: Vec<Sent> = Vec::new();
        let mut next: Option<Time> = None;
        for round in 0..RESENDS {
            let mut cursor = self.cursors[round as usize];
            while let Some((number, sent)) = outbox.get(cursor) {
                let due = sent.at + wait * (round + 1);
                let has = self.has(sent.epoch, sent.range);
                if !has && due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    break;
                }
                if !has && !again.iter().any(|s| s.range == sent.range) {
                    again.push(*sent);
                }
                cursor = number + 1;
            }
            self.cursors[round as usize] = cursor.max(self.cursors[round as usize]);
        }
        (again, next)
    }

    /// Whether it is reminded now of what was committed at `since`, and when next.
    ///
    /// First when the last resend had its time, then ever less often: a lost ack is noticed early,
    /// and a node that is away costs little.
    pub(super) fn remind(&mut self, since: Time, timing: &IssuerTiming, now: Time) -> (bool, Time) {
        let wait = self.wait(timing);
        let age = now.saturating_sub(since);
        let most = timing.reminder_interval;
        let interval = (age / 4).clamp(wait.min(most), most);
        let due = (since + wait * (RESENDS + 1)).max(self.reminded + interval);
        if due > now {
            return (false, due);
        }
        self.reminded = now;
        (true, now + interval)
    }

    /// How long its confirmation is waited for. Never less than a round trip: more would be sent
    /// twice than is lost.
    fn wait(&self, timing: &IssuerTiming) -> Time {
        let Some(trip) = self.round_trip else { return timing.first_resend };
        (trip * 3 / 2).clamp(timing.min_resend, timing.max_resend).max(trip * 11 / 10)
    }

    /// A frame that was sent again does not tell which copy was confirmed (Karn), so only those that
    /// were not are measured.
    fn measure(&mut self, outbox: &Outbox, now: Time) {
        let mut sent_at = None;
        while let Some((number, sent)) = outbox.get(self.cursors[0]) {
            if !self.has(sent.epoch, sent.range) {
                break;
            }
            sent_at = Some(sent.at);
            self.cursors[0] = number + 1;
        }
        let Some(sample) = sent_at.map(|at| now.saturating_sub(at)) else { return };
        self.round_trip = Some(self.round_trip.map_or(sample, |trip| (trip * 7 + sample) / 8));
    }
}
