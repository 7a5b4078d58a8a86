//! What an issuer remembers of one node.

use std::net::SocketAddr;

use bytes::Bytes;
use wcdn_proto::{Position, Region};

use super::{IssuerTiming, outbox::Outbox, trip::Trip};
use crate::{
    message::{Applied, MAX_TOLD, Message, Packing, pushes},
    ranges::{Ranges, SeqRange},
    receipts::Steps,
    ring::Ring,
    time::Time,
};

/// When a frame is sent again to a node, in waits since it was sent first.
const SPACING: [u32; 3] = [1, 3, 7];

/// After how many waits a node is reminded.
const REMINDER: u32 = 4;

/// The most datagrams that are sent again to a node in one wait. Of one that says nothing, one is
/// enough to learn that it is back.
const MAX_RESENT: usize = 32;

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
    /// Whether a session told of it once.
    pub(super) has_session: bool,
    /// When it was given a lease.
    pub(super) polled: Option<Time>,
    epoch: u64,
    applied: Ranges,
    pub(super) steps: Steps,
    /// The last seq that its last ack told of, if that had no room for more.
    told: Option<u64>,
    trip: Trip,
    /// The first frame whose confirmation was not measured.
    measured: u64,
    /// The first frame that was not yet looked at for its first, second and third resend.
    cursors: [u64; SPACING.len()],
    /// When its last datagram came.
    acked: Option<Time>,
    /// When it was sent something again.
    resent: Option<Time>,
    /// When the current wait began, and what was sent again in it.
    round: (Time, usize),
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
            has_session: false,
            polled: None,
            epoch: 0,
            applied: Ranges::default(),
            steps: Steps::default(),
            told: None,
            trip: Trip::default(),
            measured: outbox.end(),
            cursors: [outbox.end(); SPACING.len()],
            acked: None,
            resent: None,
            round: (Time::ZERO, 0),
            reminded: Time::ZERO,
        }
    }

    /// What it has applied, as it said last.
    pub(super) fn applied(&self) -> Position {
        Position { epoch: self.epoch, seq: self.applied.upto() }
    }

    /// Whether only datagrams tell of it.
    pub(super) fn is_stranger(&self) -> bool {
        self.member.is_none() && !self.has_session
    }

    /// Where it is sent to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.member.map(|(address, _)| address).or(self.sender)
    }

    /// Whether an incarnation is not older than what was heard of before, and whether it is a new
    /// one, which has only what it says.
    ///
    /// What a session says goes before: it is not forged by whoever holds the cluster key.
    pub(super) fn meet(&mut self, incarnation: u64, by_session: bool) -> (bool, bool) {
        let is_other = by_session && incarnation != self.incarnation;
        let is_new = incarnation > self.incarnation || self.heard.is_none() || is_other;
        if is_new {
            self.incarnation = incarnation;
            (self.epoch, self.applied, self.told) = (0, Ranges::default(), None);
        }
        (incarnation == self.incarnation, is_new)
    }

    /// Notes what it has applied; an older word changes nothing.
    ///
    /// Gives whether there is more to be sent again, since acks tell of more than before.
    pub(super) fn confirm(&mut self, applied: &Applied) -> bool {
        let Position { epoch, seq } = applied.upto;
        if epoch < self.epoch {
            return false;
        }
        if epoch > self.epoch {
            (self.epoch, self.applied) = (epoch, Ranges::default());
        }
        self.applied.raise(seq);
        // Its ranges above are what it told last: they are few, and what it told before is below.
        applied.above.iter().for_each(|&range| self.applied.insert(range));
        let is_full = applied.above.len() >= MAX_TOLD;
        let told = applied.above.last().filter(|_| is_full).map(|range| range.last);
        let had = std::mem::replace(&mut self.told, told);
        had.is_some() && had != told
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

    /// What is sent again now, in at most `most` datagrams, and when the next is due, if it does not
    /// confirm before.
    pub(super) fn resends(
        &mut self,
        outbox: &Outbox,
        ring: &Ring,
        timing: &IssuerTiming,
        most: usize,
        now: Time,
    ) -> (Vec<Message>, Option<Time>) {
        let wait = self.trip.wait(timing);
        let (allowed, again_at) = self.allowance(timing, now);
        let mut packing = Packing::new(allowed.min(most));
        let mut again: Vec<&Bytes> = Vec::new();
        let mut next: Option<Time> = None;
        let mut cursor = 0;
        // The oldest first: what is due for a later round is not looked at again for an earlier one.
        for (round, times) in SPACING.into_iter().enumerate().rev() {
            cursor = self.cursors[round].max(cursor);
            let stopped = loop {
                let Some((number, sent)) = outbox.get(cursor) else { break None };
                if !self.has(sent.epoch, sent.range) {
                    let due = sent.at + wait * times;
                    let at = Position { epoch: sent.epoch, seq: sent.range.first };
                    match ring.frame(at) {
                        _ if due > now => break Some(due),
                        _ if self.is_untold(at) => break None,
                        Some(frame) if !packing.add(frame.len()) => break Some(again_at),
                        frame => again.extend(frame),
                    }
                }
                cursor = number + 1;
            };
            self.cursors[round] = cursor;
            next = [next, stopped].into_iter().flatten().min();
        }
        let messages = pushes(again);
        self.sent_again(messages.len(), wait, now);
        (messages, next)
    }

    /// How many datagrams may be sent again now, and when more may be.
    fn allowance(&mut self, timing: &IssuerTiming, now: Time) -> (usize, Time) {
        let wait = self.trip.wait(timing);
        if let Some(at) = self.resent.filter(|_| self.is_silent()) {
            let probe = at + self.trip.probe_wait(timing);
            return if probe <= now { (1, now + wait) } else { (0, probe) };
        }
        let end = self.round.0 + wait;
        if now >= end {
            return (MAX_RESENT, now + wait);
        }
        (MAX_RESENT.saturating_sub(self.round.1), end)
    }

    /// Whether nothing was heard since the last resend.
    fn is_silent(&self) -> bool {
        self.resent.is_some_and(|at| self.acked.is_none_or(|acked| acked < at))
    }

    fn sent_again(&mut self, datagrams: usize, wait: Time, now: Time) {
        if datagrams == 0 {
            return;
        }
        if self.is_silent() {
            self.trip.back_off();
        }
        self.resent = Some(now);
        self.round = match self.round {
            (began, sent) if now < began + wait => (began, sent + datagrams),
            _ => (now, datagrams),
        };
    }

    /// Whether an ack had no room to tell of this place: it may be there, and is not sent again until
    /// the acks get as far.
    fn is_untold(&self, at: Position) -> bool {
        at.epoch == self.epoch && self.told.is_some_and(|told| at.seq > told)
    }

    /// Whether it is reminded now of what was committed at `since`, and when next.
    ///
    /// First when the last resend had its time, then ever less often: a lost ack is noticed early,
    /// and a node that is away costs little.
    pub(super) fn remind(&mut self, since: Time, timing: &IssuerTiming, now: Time) -> (bool, Time) {
        let wait = self.trip.wait(timing);
        let age = now.saturating_sub(since);
        let most = timing.reminder_interval;
        let interval = (age / 4).clamp(wait.min(most), most);
        let due = (since + wait * REMINDER).max(self.reminded + interval);
        if due > now {
            return (false, due);
        }
        self.reminded = now;
        (true, now + interval)
    }

    /// Notes that a datagram of it came, and how long what it confirms took.
    pub(super) fn measure(&mut self, outbox: &Outbox, now: Time) {
        self.acked = Some(now);
        let mut last = None;
        while let Some((number, sent)) = outbox.get(self.measured) {
            if !self.has(sent.epoch, sent.range) {
                break;
            }
            last = Some((number, sent.at));
            self.measured = number + 1;
        }
        if let Some((number, at)) = last {
            self.trip.sample(now.saturating_sub(at), number < self.cursors[0]);
        }
    }
}
