use rand::SeedableRng as _;
use wcdn_proto::{Change, NodeId};

use super::*;
use crate::{frame::SigningKey, ring::RingSize, seam::CaughtUp};

const ISSUERS: [u8; 2] = [1, 2];
const NEIGHBOUR: u8 = 10;

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn address(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 7_000).into()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn frame(epoch: u64, seq: u64) -> Bytes {
    Frame::pack(&key(), at(epoch, seq), 0, vec![Change::Barrier])[0].encoded().clone()
}

fn forged(epoch: u64, seq: u64) -> Bytes {
    let key = SigningKey::from_seed(&[2; 32]);
    Frame::pack(&key, at(epoch, seq), 0, vec![Change::Barrier])[0].encoded().clone()
}

fn name(n: u8) -> NodeId {
    format!("node-{n}").parse().unwrap()
}

fn member(n: u8, role: Role) -> Member {
    let region = "here".parse().unwrap();
    Member { node: name(n), region, address: address(n), peer: None, role, is_live: true }
}

/// An edge that has everything up to a position, and has read the log to its end.
struct Edge(EdgeBrain);

impl Edge {
    fn new(start: Position) -> Self {
        let settings = EdgeSettings {
            node: name(0),
            region: "here".parse().unwrap(),
            incarnation: 1,
            is_strict: false,
            lease: ms(7_000),
            keys: crate::frame::IssuerKeys::new(vec![key().public()]),
            start,
            ring: RingSize::default(),
            timing: EdgeTiming::default(),
        };
        Self(EdgeBrain::new(settings, StdRng::seed_from_u64(1), ms(0)))
    }

    fn begun(start: Position) -> Self {
        let mut edge = Self::new(start);
        edge.0.handle(Input::Tick, ms(0));
        edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), ms(0));
        let issuers = ISSUERS.map(|n| member(n, Role::Issuer));
        let members = issuers.into_iter().chain([member(NEIGHBOUR, Role::Edge)]).collect();
        edge.0.handle(Input::Members(members), ms(0));
        edge
    }

    fn hear(&mut self, from: u8, message: Message, now: Time) -> Vec<Action> {
        self.0.handle(Input::Received { from: address(from), message }, now)
    }

    fn push(&mut self, frames: &[Bytes], now: Time) -> Vec<Action> {
        self.hear(ISSUERS[0], Message::Push(frames.to_vec()), now)
    }

    /// All actions until `end`, by timers alone.
    fn pass(&mut self, end: Time) -> Vec<(Time, Action)> {
        let mut all = Vec::new();
        while let Some(now) = self.0.deadline().filter(|at| *at <= end) {
            all.extend(self.0.handle(Input::Tick, now).into_iter().map(|action| (now, action)));
        }
        all
    }

    /// The nonce of the next poll, and when it leaves.
    fn poll(&mut self, end: Time) -> (u64, Time) {
        let polls = self.pass(end).into_iter().filter_map(|(now, action)| match action {
            Action::Send { message: Message::Poll { nonce, .. }, .. } => Some((nonce, now)),
            _ => None,
        });
        polls.last().expect("a poll")
    }

    fn answer(&mut self, nonce: u64, head: Position, now: Time) {
        let signature = key().sign_lease(nonce, head).into();
        let key_hint = key().public().hint().to_vec().into();
        let lease = Lease { nonce, head, signature, key_hint };
        self.hear(ISSUERS[0], Message::Lease(lease), now);
    }
}

fn sends(actions: &[Action], is: fn(&Message) -> bool) -> Vec<SocketAddr> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send { to, message } if is(message) => Some(*to),
        _ => None,
    });
    sent.collect()
}

fn is_ack(message: &Message) -> bool {
    matches!(message, Message::Ack(_))
}

fn is_push(message: &Message) -> bool {
    matches!(message, Message::Push(_))
}

fn applies(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Apply(_))).count()
}

fn reads<'a>(actions: impl IntoIterator<Item = &'a Action>) -> usize {
    let is_read = |action: &&Action| matches!(action, Action::CatchUp { .. });
    actions.into_iter().filter(is_read).count()
}

#[test]
fn an_edge_reads_the_log_when_it_starts_until_its_end() {
    let mut edge = Edge::new(at(1, 4));
    let actions = edge.0.handle(Input::Tick, ms(0));
    assert!(matches!(actions[..], [Action::CatchUp { after }] if after == at(1, 4)));
    let more = CaughtUp::Frames(vec![frame(1, 5), frame(1, 6)]);
    let actions = edge.0.handle(Input::CaughtUp(Some(more)), ms(5));
    assert_eq!((applies(&actions), reads(&actions)), (2, 1));
    assert_eq!(edge.0.applied(), at(1, 6));
    edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), ms(9));
    assert!(edge.pass(ms(2_999)).is_empty());
}

#[test]
fn an_edge_that_hears_no_datagram_reads_the_log_every_few_seconds() {
    let mut edge = Edge::new(at(1, 4));
    let mut tries = Vec::new();
    while let Some(now) = edge.0.deadline().filter(|at| *at <= ms(60_000)) {
        if reads(&edge.0.handle(Input::Tick, now)) > 0 {
            tries.push(now);
            edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), now);
        }
    }
    assert!(tries.windows(2).all(|two| two[1] - two[0] == ms(3_000)), "{tries:?}");
    assert_eq!(edge.0.confirmed(), tries.last().copied());
}

#[test]
fn the_end_of_a_log_confirms_the_head_as_of_when_the_reading_began() {
    let mut edge = Edge::new(at(1, 4));
    edge.0.handle(Input::Tick, ms(7));
    edge.push(&[frame(1, 5)], ms(20));
    edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), ms(50));
    assert_eq!(edge.0.confirmed(), Some(ms(7)));
}

#[test]
fn a_log_that_ends_before_what_is_known_confirms_nothing() {
    let mut edge = Edge::new(at(1, 4));
    edge.push(&[frame(1, 6)], ms(0));
    edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), ms(50));
    assert_eq!((edge.0.applied(), edge.0.confirmed()), (at(1, 4), None));
}

#[test]
fn frames_are_applied_on_sight_and_reported_without_a_gap() {
    let mut edge = Edge::begun(at(1, 0));
    let actions = edge.push(&[frame(1, 2)], ms(10));
    assert_eq!(applies(&actions), 1);
    assert_eq!((edge.0.applied(), edge.0.known()), (at(1, 0), at(1, 2)));
    let actions = edge.push(&[frame(1, 1)], ms(20));
    assert!(matches!(actions[0], Action::Apply(_)), "acks come after");
    assert_eq!(sends(&actions, is_ack), ISSUERS.map(address));
    assert_eq!(edge.0.applied(), at(1, 2));
}

#[test]
fn a_duplicate_is_confirmed_again_and_neither_verified_nor_applied() {
    let mut edge = Edge::begun(at(1, 5));
    let actions = edge.push(&[forged(1, 5)], ms(10));
    assert_eq!((applies(&actions), sends(&actions, is_ack).len()), (0, 2));
    assert_eq!(edge.0.counts().duplicates, 1);
    let from_peer = edge.hear(NEIGHBOUR, Message::Push(vec![frame(1, 5)]), ms(20));
    assert!(sends(&from_peer, is_ack).is_empty());
}

#[test]
fn forged_frames_and_those_of_a_lower_epoch_change_nothing() {
    let mut edge = Edge::begun(at(3, 5));
    let actions = edge.push(&[forged(3, 6), frame(2, 9), forged(4, 1)], ms(10));
    assert_eq!((applies(&actions), sends(&actions, is_ack).len()), (0, 0));
    assert_eq!((edge.0.applied(), edge.0.known()), (at(3, 5), at(3, 5)));
    assert_eq!((edge.0.counts().refused, edge.0.counts().outdated), (2, 1));
}

#[test]
fn acks_go_at_once_and_then_each_five_milliseconds() {
    let mut edge = Edge::begun(at(1, 0));
    assert_eq!(sends(&edge.push(&[frame(1, 1)], ms(10)), is_ack).len(), 2);
    for seq in 2..5 {
        assert!(sends(&edge.push(&[frame(1, seq)], ms(10 + seq)), is_ack).is_empty());
    }
    let acks: Vec<Time> = edge
        .pass(ms(40))
        .into_iter()
        .filter(|(_, action)| matches!(action, Action::Send { message: Message::Ack(_), .. }))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(acks, [ms(15), ms(15)]);
}

#[test]
fn nothing_of_a_new_epoch_is_reported_before_its_snapshot() {
    let mut edge = Edge::begun(at(1, 7));
    edge.pass(ms(500));
    let actions = edge.push(&[frame(2, 1), frame(2, 3)], ms(500));
    assert_eq!((applies(&actions), reads(&actions)), (2, 1));
    assert_eq!((edge.0.applied(), edge.0.known()), (at(1, 7), at(2, 3)));
    let snapshot = CaughtUp::Snapshot(at(2, 2));
    edge.0.handle(Input::CaughtUp(Some(snapshot)), ms(600));
    assert_eq!(edge.0.applied(), at(2, 3));
    assert_eq!(applies(&edge.push(&[frame(1, 8)], ms(700))), 0);
}

#[test]
fn a_lease_counts_from_its_poll_once_its_head_is_applied() {
    let mut edge = Edge::begun(at(1, 0));
    let (nonce, sent) = edge.poll(ms(300));
    edge.answer(nonce, at(1, 1), ms(400));
    assert_eq!((edge.0.confirmed(), edge.0.known()), (Some(ms(0)), at(1, 1)));
    edge.push(&[frame(1, 1)], ms(430));
    assert_eq!(edge.0.confirmed(), Some(sent));
}

#[test]
fn a_lease_that_nobody_asked_for_or_signed_or_of_a_lower_epoch_counts_nothing() {
    let mut edge = Edge::begun(at(2, 0));
    let (nonce, _) = edge.poll(ms(300));
    edge.answer(nonce + 1, at(2, 0), ms(310));
    edge.answer(nonce, at(1, 9), ms(310));
    let lease = Lease {
        nonce,
        head: at(2, 0),
        signature: key().sign_lease(nonce, at(2, 1)).into(),
        key_hint: key().public().hint().to_vec().into(),
    };
    edge.hear(ISSUERS[0], Message::Lease(lease), ms(310));
    assert_eq!(edge.0.confirmed(), Some(ms(0)));
    edge.answer(nonce, at(2, 0), ms(320));
    assert_eq!(edge.0.confirmed(), Some(ms(300)));
}

#[test]
fn issuers_are_polled_in_turn_each_second_and_sooner_without_an_answer() {
    let mut edge = Edge::begun(at(1, 0));
    let polled = |actions: Vec<(Time, Action)>| -> Vec<(Time, SocketAddr, u64)> {
        let polls = actions.into_iter().filter_map(|(now, action)| match action {
            Action::Send { to, message: Message::Poll { nonce, .. } } => Some((now, to, nonce)),
            _ => None,
        });
        polls.collect()
    };
    let first = polled(edge.pass(ms(1_000)));
    let second_turn = first[1];
    assert_eq!(first.len(), 3, "one each 300 ms after the one of the beginning");
    assert!(first.windows(2).all(|two| two[1].0 == two[0].0 + ms(300) && two[0].1 != two[1].1));
    edge.answer(second_turn.2, at(1, 0), ms(1_000));
    let next = polled(edge.pass(second_turn.0 + ms(1_000)));
    assert_eq!(next[0].0, second_turn.0 + ms(1_000));
}

#[test]
fn a_peer_that_lacks_frames_is_given_some_and_one_that_has_more_is_told_what_is_lacking() {
    let mut edge = Edge::begun(at(1, 0));
    for seq in 1..=200 {
        edge.push(&[frame(1, seq)], ms(10));
    }
    let digest = |seq, is_answer| {
        let applied = Applied::upto(at(1, seq));
        Message::Digest { applied, is_answer }
    };
    let is_digest = |message: &Message| matches!(message, Message::Digest { .. });
    let actions = edge.hear(NEIGHBOUR, digest(3, false), ms(20));
    let pushes = sends(&actions, is_push);
    assert!((1..=8).contains(&pushes.len()) && pushes.iter().all(|to| *to == address(NEIGHBOUR)));
    assert!(sends(&actions, is_digest).is_empty());
    let actions = edge.hear(NEIGHBOUR, digest(201, false), ms(21));
    assert_eq!((sends(&actions, is_push).len(), sends(&actions, is_digest).len()), (0, 1));
    assert!(sends(&edge.hear(NEIGHBOUR, digest(201, true), ms(22)), is_digest).is_empty());
}

#[test]
fn a_reminder_is_answered_with_an_ack_and_with_what_is_wanted() {
    let mut edge = Edge::begun(at(1, 0));
    edge.push(&[frame(1, 1), frame(1, 3)], ms(10));
    let actions = edge.hear(ISSUERS[1], Message::Head(at(1, 4)), ms(30));
    assert_eq!(sends(&actions, is_ack).len(), 2);
    let wants = actions.iter().find_map(|action| match action {
        Action::Send { to, message: Message::Want { epoch: 1, missing } } => Some((*to, missing)),
        _ => None,
    });
    let holes = vec![SeqRange { first: 2, last: 2 }, SeqRange { first: 4, last: 4 }];
    assert_eq!(wants, Some((address(ISSUERS[1]), &holes)));
}

#[test]
fn a_hole_that_lasts_is_mended_from_the_log_whatever_else_comes() {
    let mut edge = Edge::begun(at(1, 0));
    edge.pass(ms(1_000));
    let mut read_at = None;
    for n in 0..40 {
        // Every frame but the first comes.
        let now = ms(1_000 + 10 * n);
        if reads(&edge.push(&[frame(1, n + 2)], now)) > 0 {
            read_at = Some(now);
        }
    }
    assert_eq!(read_at, Some(ms(1_300)));
}

#[test]
fn a_head_that_does_not_exist_is_looked_for_and_then_forgotten() {
    let mut edge = Edge::begun(at(1, 5));
    edge.pass(ms(1_000));
    edge.0.handle(Input::Hint(at(9, 9)), ms(1_000));
    edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![]))), ms(1_010));
    let later = edge.pass(ms(2_999));
    assert_eq!(reads(later.iter().map(|(_, action)| action)), 0);
    assert_eq!((edge.0.applied(), edge.0.known()), (at(1, 5), at(1, 5)));
}

#[test]
fn a_log_that_cannot_be_read_is_tried_ever_less_often() {
    let mut edge = Edge::new(at(1, 5));
    let mut tries = 0;
    while let Some(now) = edge.0.deadline().filter(|at| *at <= ms(60_000)) {
        tries += reads(&edge.0.handle(Input::Tick, now));
        edge.0.handle(Input::CaughtUp(None), now);
    }
    assert!((18..=45).contains(&tries), "{tries}");
}

#[test]
fn the_newest_frame_is_kept_as_a_proof_however_it_came() {
    let mut edge = Edge::begun(at(1, 5));
    assert_eq!(edge.0.newest(), None);
    edge.push(&[frame(1, 8), forged(1, 30)], ms(10));
    edge.hear(NEIGHBOUR, Message::Push(vec![frame(1, 7)]), ms(11));
    assert_eq!(edge.0.newest(), Some(&frame(1, 8)));
    edge.0.handle(Input::CaughtUp(Some(CaughtUp::Frames(vec![frame(1, 6), frame(1, 9)]))), ms(12));
    assert_eq!(edge.0.newest(), Some(&frame(1, 9)));
}

#[test]
fn live_issuers_are_asked_first_and_dead_ones_each_fourth_time() {
    let mut edge = Edge::begun(at(1, 0));
    let issuers = [(101, true), (102, false), (103, true), (104, false)];
    let members = issuers.map(|(n, is_live)| Member { is_live, ..member(n, Role::Issuer) });
    edge.0.handle(Input::Members(members.into()), ms(0));
    let asked = edge.pass(ms(6_000)).into_iter().filter_map(|(_, action)| match action {
        Action::Send { to, message: Message::Poll { .. } } => Some(to),
        _ => None,
    });
    let asked: Vec<_> = asked.take(16).collect();
    let count = |n| asked.iter().filter(|to| **to == address(n)).count();
    assert_eq!([101, 102, 103, 104].map(count), [6, 2, 6, 2]);
}

#[test]
fn an_address_that_no_member_told_of_is_sent_little() {
    let mut edge = Edge::begun(at(1, 5));
    let frames: Vec<_> = (6..40).map(|seq| frame(1, seq)).collect();
    edge.push(&frames, ms(10));
    edge.pass(ms(50));
    let mut answers = |n: u8| {
        let applied = Applied::upto(at(1, 5));
        let digest = |_| {
            let message = Message::Digest { applied: applied.clone(), is_answer: false };
            edge.hear(n, message, ms(60))
        };
        (0..100)
            .flat_map(digest)
            .filter(|action| matches!(action, Action::Send { to, .. } if *to == address(n)))
            .count()
    };
    assert_eq!(answers(77), 64);
    assert!(answers(NEIGHBOUR) >= 100);
}
