//! What an edge does in the event plane, as a pure state machine.
//!
//! Whoever drives it carries out the actions of each call in their order, and only then publishes
//! [`EdgeBrain::applied`], [`EdgeBrain::known`] and [`EdgeBrain::confirmed`]: they hold once the actions
//! are done. [`Action::Keep`] and [`Action::CatchUp`] are only begun, and answered by an input. It calls
//! again at [`EdgeBrain::deadline`] with [`Input::Tick`].

use std::net::SocketAddr;

use bytes::Bytes;
use rand::{RngExt as _, rngs::StdRng};
use wcdn_proto::{Change, Position};

use crate::{
    bucket::Bucket,
    frame::Frame,
    member::{Member, Role},
    message::{Applied, Lease, MAX_TOLD, Message},
    ranges::SeqRange,
    ring::Ring,
    seam::CaughtUp,
    time::Time,
};

mod asking;
mod catching;
mod keeping;
mod leases;
mod progress;
mod words;

pub use self::words::{Action, EdgeCounts, EdgeSettings, EdgeTiming, Input};
use self::{catching::Catching, leases::Leases, progress::Progress};

/// An edge's part of the event plane.
#[derive(Debug)]
pub struct EdgeBrain {
    settings: EdgeSettings,
    rng: StdRng,
    progress: Progress,
    ring: Ring,
    leases: Leases,
    catching: Catching,
    peers: Vec<Member>,
    /// Where issuers are, and whether they are alive.
    issuers: Vec<(SocketAddr, bool)>,
    /// Which issuer is polled or asked next.
    turn: usize,
    next_digest: Time,
    next_poll: Time,
    next_want: Time,
    next_ack: Time,
    is_ack_due: bool,
    /// Whoever sent frames without being a member yet: an issuer that membership has not told of.
    stranger: Option<SocketAddr>,
    /// The encoded frame of the highest position that was opened.
    newest: Option<(Position, Bytes)>,
    answers: Bucket,
    /// The same for addresses that no member told of, which may be forged.
    strangers: Bucket,
    counts: EdgeCounts,
}

impl EdgeBrain {
    /// Begins at `now`; `rng` draws nonces, so it must be seeded from the system's entropy outside of
    /// tests.
    pub fn new(settings: EdgeSettings, mut rng: StdRng, now: Time) -> Self {
        let phase = rng.random_range(Time::ZERO..=settings.timing.digest_interval);
        Self {
            progress: Progress::new(settings.start),
            ring: Ring::new(settings.ring),
            leases: Leases::default(),
            catching: Catching::new(now),
            peers: Vec::new(),
            issuers: Vec::new(),
            turn: rng.random_range(0..1_024),
            next_digest: now + phase,
            next_poll: now,
            next_want: now,
            next_ack: now,
            is_ack_due: false,
            stranger: None,
            newest: None,
            // 2 MB/s of repairs for others, and a burst of 32 full answers.
            answers: Bucket::new(2_000, 256),
            strangers: Bucket::new(100, 64),
            counts: EdgeCounts::default(),
            settings,
            rng,
        }
    }

    /// Every event up to here is applied, and what it blocked is kept.
    pub fn applied(&self) -> Position {
        self.progress.applied()
    }

    /// The highest position that a signature vouched for: what is fetched from an origin from now on
    /// is newer than every event up to here.
    pub fn known(&self) -> Position {
        self.progress.known()
    }

    /// The last time at which everything that was committed is known to be applied by now; the lease
    /// counts from it.
    pub fn confirmed(&self) -> Option<Time> {
        self.leases.confirmed()
    }

    /// The encoded frame of the highest position that was opened since the start: by its signature a
    /// control plane that does not know of so much believes that it exists.
    pub fn newest(&self) -> Option<&Bytes> {
        self.newest.as_ref().map(|(_, encoded)| encoded)
    }

    /// What happened so far.
    pub fn counts(&self) -> EdgeCounts {
        self.counts
    }

    /// When [`Input::Tick`] is due, if nothing comes before.
    pub fn deadline(&self) -> Option<Time> {
        let has_issuers = !self.issuers.is_empty();
        let ack = self.is_ack_due.then_some(self.next_ack);
        let digest = (!self.peers.is_empty()).then_some(self.next_digest);
        let poll = has_issuers.then_some(self.next_poll);
        let want = self.want_due();
        let catch_up = self.catching.due(&self.progress, &self.settings.timing);
        [ack, digest, poll, want, catch_up].into_iter().flatten().min()
    }

    /// Takes note of `input` at `now`, runs the timers, and says what to do.
    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Action> {
        let mut actions = self.take_in(input, now);
        self.run_timers(now, &mut actions);
        actions
    }

    /// The same without the timers: whoever has more to tell does so before them, and last a
    /// [`Input::Tick`], lest something is asked for that is waiting to be read.
    pub fn take_in(&mut self, input: Input, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Received { from, message } => self.receive(from, message, now, &mut actions),
            Input::Members(members) => self.meet(members),
            Input::Hint(position) => self.progress.hint(position),
            Input::CaughtUp(result) => self.caught_up(result, now, &mut actions),
            Input::Kept => {
                self.progress.kept();
                self.is_ack_due = true;
            }
            Input::Tick => {}
        }
        if self.progress.begin_keeping() {
            actions.push(Action::Keep);
        }
        self.catching.watch(&self.progress, now);
        // What is applied is in force, whether or not the disk has it yet.
        self.leases.settle(self.progress.reached());
        if let Some(confirmed) = self.leases.confirmed() {
            self.catching.saw(confirmed);
        }
        actions
    }

    fn meet(&mut self, members: Vec<Member>) {
        self.peers = members;
        self.peers.retain(|member| member.node != self.settings.node);
        let issuers = self.peers.iter().filter(|member| member.role == Role::Issuer);
        self.issuers = issuers.map(|member| (member.address, member.is_live)).collect();
        self.stranger = None;
    }

    fn receive(&mut self, from: SocketAddr, message: Message, now: Time, out: &mut Vec<Action>) {
        match message {
            Message::Push(frames) => self.receive_frames(from, frames, out),
            Message::Head(head) => self.remind(from, head, now, out),
            Message::Digest { applied, is_answer } => {
                self.compare(from, &applied, is_answer, now, out);
            }
            Message::Want { epoch, missing } => self.answer(from, epoch, missing, now, out),
            Message::Lease(lease) => self.renew(&lease),
            Message::Ack(_) | Message::Poll { .. } | Message::Note(_) => {}
        }
    }

    fn receive_frames(&mut self, from: SocketAddr, frames: Vec<Bytes>, out: &mut Vec<Action>) {
        let before = self.counts.applied;
        let mut has_duplicate = false;
        for encoded in frames {
            has_duplicate |= self.take_frame(encoded, out);
        }
        let is_peer = self.peers.iter().any(|p| p.address == from && p.role == Role::Edge);
        // A duplicate from an issuer says that an ack was lost.
        if self.counts.applied > before || (has_duplicate && !is_peer) {
            self.is_ack_due = true;
        }
        self.note_stranger(from);
    }

    /// Whether the frame was applied already.
    fn take_frame(&mut self, encoded: Bytes, out: &mut Vec<Action>) -> bool {
        let Ok((first, last)) = Frame::peek(&encoded) else {
            self.counts.refused += 1;
            return false;
        };
        if first.epoch < self.progress.epoch() {
            self.counts.outdated += 1;
            return false;
        }
        let range = SeqRange { first: first.seq, last: last.seq };
        if first.epoch == self.progress.epoch() && self.progress.ranges().covers(range) {
            self.counts.duplicates += 1;
            return true;
        }
        let Ok(frame) = Frame::open(encoded, &self.settings.keys) else {
            self.counts.refused += 1;
            return false;
        };
        self.progress.vouch(frame.last());
        self.progress.apply(range, must_be_kept(&frame));
        self.ring.insert(&frame);
        if self.newest.as_ref().is_none_or(|(position, _)| *position < frame.last()) {
            self.newest = Some((frame.last(), Bytes::copy_from_slice(frame.encoded())));
        }
        self.counts.applied += 1;
        out.push(Action::Apply(frame));
        false
    }

    fn note_stranger(&mut self, from: SocketAddr) {
        if !self.peers.iter().any(|peer| peer.address == from) {
            self.stranger = Some(from);
        }
    }

    fn remind(&mut self, from: SocketAddr, head: Position, now: Time, out: &mut Vec<Action>) {
        self.progress.hint(head);
        if !self.may_answer(from, now) {
            return;
        }
        self.note_stranger(from);
        self.is_ack_due = true;
        if self.progress.has_hole() && head.epoch == self.progress.epoch() {
            self.want(from, now, out);
        }
    }

    fn compare(
        &mut self,
        from: SocketAddr,
        theirs: &Applied,
        is_answer: bool,
        now: Time,
        out: &mut Vec<Action>,
    ) {
        self.progress.hint(theirs.highest());
        let epoch = self.progress.epoch();
        let ours = self.progress.ranges();
        let told = [SeqRange { first: 1, last: theirs.upto.seq }];
        let is_ahead = theirs.upto.epoch == epoch
            && told.iter().chain(&theirs.above).any(|range| range.last > 0 && !ours.covers(*range));
        let missing: Vec<SeqRange> =
            theirs.ranges().missing(ours.highest()).take(MAX_TOLD).collect();
        // A peer of a lower epoch is told of ours, one of a higher one is not asked: the log is.
        if (is_ahead || theirs.upto.epoch < epoch) && !is_answer && self.may_answer(from, now) {
            let message = Message::Digest { applied: self.progress.held(), is_answer: true };
            out.push(Action::Send { to: from, message });
        }
        if theirs.upto.epoch == epoch {
            self.answer(from, epoch, missing, now, out);
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
            if !self.answers.take(1, now) || !self.may_answer(to, now) {
                break;
            }
            self.counts.repairs += 1;
            out.push(Action::Send { to, message });
        }
    }

    fn renew(&mut self, lease: &Lease) {
        let Lease { nonce, head, signature, key_hint } = lease;
        let Some(sent) = self.leases.sent(*nonce) else { return };
        if !self.settings.keys.verify_lease(*nonce, *head, key_hint, signature) {
            self.counts.refused += 1;
            return;
        }
        if head.epoch < self.progress.epoch() {
            self.counts.outdated += 1;
            return;
        }
        self.progress.vouch(*head);
        self.leases.answer(*nonce, *head);
        self.next_poll = sent + self.settings.timing.poll_interval;
    }

    fn caught_up(&mut self, result: Option<CaughtUp>, now: Time, out: &mut Vec<Action>) {
        let before = self.progress.reached();
        match result {
            None => return self.catching.failed(now, &mut self.rng),
            Some(CaughtUp::Snapshot(position)) => self.progress.rebase(position),
            Some(CaughtUp::Frames(frames)) if frames.is_empty() => {
                let proven = self.catching.ended(&mut self.progress, now, &mut self.rng);
                return self.leases.confirm(proven);
            }
            Some(CaughtUp::Frames(frames)) => frames.into_iter().for_each(|encoded| {
                self.take_frame(encoded, out);
            }),
        }
        if self.progress.reached() > before {
            self.is_ack_due = true;
            self.catching.advanced(now);
        } else {
            self.catching.failed(now, &mut self.rng);
        }
    }

    /// Whether something is sent to an address, which may be forged: all that are no member's share
    /// little.
    fn may_answer(&mut self, to: SocketAddr, now: Time) -> bool {
        self.peers.iter().any(|peer| peer.address == to) || self.strangers.take(1, now)
    }
}

/// What is withheld is withheld after a crash, too. What was removed need not be kept: a node that
/// starts believes nothing that it held before.
fn must_be_kept(frame: &Frame) -> bool {
    frame.events().iter().any(|(_, change)| matches!(change, Change::Block(_) | Change::Unblock(_)))
}

#[cfg(test)]
mod tests;
