use std::sync::Arc;

use wcdn_proto::{BlobId, Change, Purge, Region};

use super::*;
use crate::{
    frame::{IssuerKeys, MAX_IDS, SigningKey, split},
    member::{Member, Role},
    message::Standing,
    ring::RingSize,
};

mod resending;
mod strangers;

const OTHER: u8 = 200;

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn address(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 7_000).into()
}

fn name(n: u8) -> NodeId {
    format!("node-{n}").parse().unwrap()
}

fn here() -> Region {
    "here".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn frames(seq: u64, count: usize) -> Vec<Frame> {
    let purge = Change::Purge(Purge::Ids(vec![BlobId::from_bytes([7; 32]); MAX_IDS]));
    Frame::pack(&key(), at(1, seq), 0, vec![purge; count])
}

fn member(n: u8, role: Role, is_live: bool) -> Member {
    Member { node: name(n), region: here(), address: address(n), peer: None, role, is_live }
}

fn standing(n: u8, incarnation: u64, seq: u64) -> Standing {
    let applied = Applied::upto(at(1, seq));
    let is_strict = n.is_multiple_of(2);
    Standing { node: name(n), incarnation, region: here(), is_strict, lease: ms(0), applied }
}

/// An issuer with edges 1, 2, … and another issuer.
struct Issuer(IssuerBrain);

impl Issuer {
    fn new(edges: u8) -> Self {
        let mut brain = IssuerBrain::new(IssuerSettings {
            node: name(100),
            key: Arc::new(key()),
            keys: IssuerKeys::new(vec![key().public()]),
            ring: RingSize::default(),
            timing: IssuerTiming::default(),
            clock_origin_ns: 0,
        });
        let edges = (1..=edges).map(|n| member(n, Role::Edge, true));
        let issuers = [100, OTHER].map(|n| member(n, Role::Issuer, true));
        brain.handle(Input::Members(edges.chain(issuers).collect()), ms(0));
        Self(brain)
    }

    fn publish(&mut self, frames: Vec<Frame>, now: Time) -> Vec<Action> {
        self.0.handle(Input::Publish(frames), now)
    }

    fn hear(&mut self, from: u8, message: Message, now: Time) -> Vec<Action> {
        self.0.handle(Input::Received { from: address(from), message }, now)
    }

    fn ack(&mut self, n: u8, seq: u64, now: Time) {
        self.hear(n, Message::Ack(standing(n, 1, seq)), now);
    }

    /// All actions until `end`, by timers alone.
    fn pass(&mut self, end: Time) -> Vec<(Time, Action)> {
        let mut all = Vec::new();
        while let Some(now) = self.0.deadline().filter(|at| *at <= end) {
            all.extend(self.0.handle(Input::Tick, now).into_iter().map(|action| (now, action)));
        }
        all
    }

    fn state(&self, n: u8, seq: u64) -> Confirmation {
        let progress = self.0.progress(at(1, seq));
        progress.iter().find(|node| node.node == name(n)).expect("it is known").state
    }
}

fn pushed(actions: &[Action]) -> Vec<SocketAddr> {
    let pushes = actions.iter().filter_map(|action| match action {
        Action::Send { to, message: Message::Push(_) } => Some(*to),
        _ => None,
    });
    pushes.collect()
}

/// When pushes and reminders left, in milliseconds.
fn times(actions: &[(Time, Action)]) -> (Vec<u128>, Vec<u128>) {
    let of = |is: fn(&Message) -> bool| {
        let sent = actions.iter().filter_map(move |(now, action)| match action {
            Action::Send { message, .. } if is(message) => Some(now.as_millis()),
            _ => None,
        });
        sent.collect()
    };
    (of(|m| matches!(m, Message::Push(_))), of(|m| matches!(m, Message::Head(_))))
}

#[test]
fn what_is_published_goes_to_all_at_once_and_again_to_those_who_do_not_confirm() {
    let mut issuer = Issuer::new(3);
    let first = pushed(&issuer.publish(frames(1, 1), ms(10)));
    assert_eq!(first, [1, 2, 3, OTHER].map(address));
    issuer.ack(2, 1, ms(12));
    let second: Vec<Action> = issuer.pass(ms(20)).into_iter().map(|(_, action)| action).collect();
    assert_eq!(pushed(&second), [1, 3].map(address));
}

#[test]
fn what_is_not_confirmed_is_sent_three_times_more_and_then_reminded_of() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 1), ms(1_000));
    let (pushes, reminders) = times(&issuer.pass(ms(3_000)));
    assert_eq!(pushes, [1_005, 1_300, 1_900]);
    assert_eq!(reminders[..3], [2_200, 2_300, 2_400]);
    assert_eq!(times(&issuer.pass(ms(3_600))).0, [3_100]);
    issuer.ack(1, 1, ms(3_600));
    assert!(issuer.pass(ms(60_000)).is_empty());
    assert_eq!(issuer.0.deadline(), None);
}

#[test]
fn resends_follow_the_round_trip_of_a_node() {
    let mut issuer = Issuer::new(1);
    for n in 1..30 {
        issuer.publish(frames(n, 1), ms(1_000 * n));
        issuer.ack(1, n, ms(1_000 * n + 40));
        issuer.pass(ms(1_000 * n + 900));
    }
    issuer.publish(frames(30, 1), ms(40_000));
    let (pushes, reminders) = times(&issuer.pass(ms(40_300)));
    assert_eq!(pushes[1..], [40_050, 40_150]);
    assert_eq!(reminders[0], 40_200);
}

#[test]
fn a_poll_is_answered_with_the_head_that_is_read_after_it() {
    let mut issuer = Issuer::new(1);
    let poll = Message::Poll { nonce: 77, standing: standing(1, 1, 0) };
    let actions = issuer.hear(1, poll, ms(10));
    assert!(matches!(actions[..], [Action::ReadHead { to, nonce: 77 }] if to == address(1)));
    let read = Input::HeadRead { to: address(1), nonce: 77, head: at(1, 9) };
    let actions = issuer.0.handle(read, ms(11));
    let Action::Send { to, message: Message::Lease(lease) } = &actions[0] else { panic!() };
    assert_eq!((*to, lease.head), (address(1), at(1, 9)));
    let keys = IssuerKeys::new(vec![key().public()]);
    assert!(keys.verify_lease(77, at(1, 9), &lease.key_hint, &lease.signature));
}

#[test]
fn a_node_is_applied_when_it_has_confirmed_and_never_before() {
    let mut issuer = Issuer::new(2);
    issuer.publish(frames(1, 3), ms(100));
    issuer.ack(1, 2, ms(130));
    let mut above = standing(2, 1, 1);
    above.applied.above = vec![SeqRange { first: 3, last: 3 }];
    issuer.hear(2, Message::Ack(above), ms(140));
    let applied = |n| Confirmation::Applied { after: Some(ms(n)) };
    assert_eq!(issuer.state(1, 2), applied(30));
    assert_eq!(issuer.state(1, 3), Confirmation::Pending);
    assert_eq!(issuer.state(2, 1), applied(40));
    assert_eq!(issuer.state(2, 3), Confirmation::Pending);
}

#[test]
fn how_long_its_lease_is_a_node_tells_by_datagram() {
    let mut issuer = Issuer::new(2);
    let told = Standing { lease: ms(8_000), ..standing(2, 1, 0) };
    issuer.hear(2, Message::Ack(told), ms(90));
    let leases: Vec<_> = issuer.0.nodes(ms(100)).into_iter().map(|node| node.lease).collect();
    assert_eq!(leases, [ms(0), ms(8_000)], "the first has said nothing");
}

#[test]
fn what_a_node_claims_beyond_the_log_is_not_what_it_settled() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 2), ms(0));
    issuer.ack(1, 1, ms(10));
    issuer.ack(1, 7, ms(20));
    let node = &issuer.0.nodes(ms(20))[0];
    assert_eq!((node.applied, node.settled), (at(1, 7), at(1, 1)));
}

#[test]
fn an_older_start_of_a_node_is_not_heard_and_a_newer_one_has_what_it_says() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 2), ms(100));
    issuer.hear(1, Message::Ack(standing(1, 5, 1)), ms(110));
    issuer.hear(1, Message::Ack(standing(1, 4, 2)), ms(120));
    assert_eq!(issuer.state(1, 2), Confirmation::Pending);
    issuer.hear(1, Message::Ack(standing(1, 6, 0)), ms(140));
    assert_eq!(issuer.0.nodes(ms(150))[0].applied, at(1, 0));
    let (_, reminders) = times(&issuer.pass(ms(2_000)));
    assert!(!reminders.is_empty());
    let confirmed = Confirmation::Applied { after: Some(ms(10)) };
    assert_eq!(issuer.state(1, 1), confirmed);
}

#[test]
fn a_session_confirms_as_an_ack_does() {
    let mut issuer = Issuer::new(0);
    issuer.publish(frames(1, 1), ms(100));
    let heard = Heard {
        node: name(9),
        incarnation: 1,
        region: here(),
        is_strict: false,
        applied: at(1, 1),
    };
    let revision = issuer.0.revision();
    issuer.0.handle(Input::Heard(heard), ms(150));
    assert!(issuer.0.revision() > revision);
    assert_eq!(issuer.state(9, 1), Confirmation::Applied { after: Some(ms(50)) });
    assert!(pushed(&issuer.publish(frames(2, 1), ms(200))).iter().all(|to| *to == address(OTHER)));
}

#[test]
fn whoever_asks_is_given_at_most_eight_datagrams() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 100), ms(0));
    issuer.pass(ms(1_000));
    let missing = vec![SeqRange { first: 3, last: 90 }];
    let actions = issuer.hear(1, Message::Want { epoch: 1, missing }, ms(1_000));
    assert_eq!(pushed(&actions), [address(1); 8]);
    let missing = vec![SeqRange { first: 3, last: 90 }];
    assert!(issuer.hear(1, Message::Want { epoch: 2, missing }, ms(1_000)).is_empty());
}

#[test]
fn a_hundred_thousand_ids_leave_at_the_pace_of_each_node() {
    let mut issuer = Issuer::new(4);
    let ids = vec![BlobId::from_bytes([7; 32]); 100_000];
    let frames = Frame::pack(&key(), at(1, 1), 0, split(Change::Purge(Purge::Ids(ids))));
    let count = frames.len() as u64;
    assert!(pushed(&issuer.publish(frames, ms(0))).len() <= 5 * 128);
    let mut sent = 0;
    let mut now = ms(0);
    while sent < count {
        now = issuer.0.deadline().expect("there is more");
        issuer.0.handle(Input::Tick, now);
        sent = issuer.0.outbox.end();
        let seq = sent;
        (1..=4).for_each(|n| issuer.ack(n, seq, now));
    }
    assert!((ms(900)..ms(1_200)).contains(&now), "{count} frames in {now:?}");
}

#[test]
fn frames_of_another_issuer_are_given_to_whoever_asks_and_confirmed_without_a_time() {
    let mut issuer = Issuer::new(1);
    let theirs = frames(1, 2);
    let encoded = theirs.iter().map(|frame| frame.encoded().clone()).collect();
    issuer.hear(OTHER, Message::Push(encoded), ms(10));
    assert_eq!(issuer.0.head(), at(1, 2));
    let missing = vec![SeqRange { first: 1, last: 2 }];
    assert_eq!(pushed(&issuer.hear(1, Message::Want { epoch: 1, missing }, ms(20))).len(), 2);
    issuer.ack(1, 2, ms(30));
    assert_eq!(issuer.state(1, 2), Confirmation::Applied { after: None });
}

#[test]
fn an_ack_beyond_the_log_confirms_nothing_until_the_log_is_known_to_reach_it() {
    let mut issuer = Issuer::new(2);
    issuer.publish(frames(1, 1), ms(0));
    issuer.ack(2, 1, ms(10));
    issuer.ack(1, u64::MAX, ms(10));
    assert_eq!(issuer.0.head(), at(1, 1));
    assert_eq!(issuer.state(1, 1), Confirmation::Pending);
    issuer.ack(2, 4, ms(20));
    issuer.publish(frames(2, 1), ms(30));
    assert_eq!(issuer.state(2, 2), Confirmation::Pending);
    let read = Input::HeadRead { to: address(1), nonce: 1, head: at(1, 4) };
    issuer.0.handle(read, ms(40));
    assert_eq!(issuer.state(2, 2), Confirmation::Applied { after: Some(ms(10)) });
}

#[test]
fn what_another_committed_and_did_not_send_is_handed_to_those_who_do_not_confirm_it() {
    let mut issuer = Issuer::new(2);
    for n in 1..=2 {
        issuer.ack(n, 0, ms(1));
    }
    let learned = issuer.0.handle(Input::Learn(frames(1, 2)), ms(10));
    assert!(learned.is_empty(), "the other one sends: {learned:?}");
    // One has it from the other issuer, one has not.
    issuer.ack(1, 2, ms(12));
    let told = issuer.pass(ms(2_000));
    let heads = told.iter().filter_map(|(_, action)| match action {
        Action::Send { to, message: Message::Head(head) } => Some((*to, *head)),
        _ => None,
    });
    let heads: Vec<_> = heads.collect();
    assert!(!heads.is_empty() && heads.iter().all(|told| *told == (address(2), at(1, 2))));
    let want = Message::Want { epoch: 1, missing: vec![SeqRange { first: 1, last: 2 }] };
    let answers = issuer.hear(2, want, ms(2_001));
    assert!(answers.iter().any(|it| matches!(it, Action::Send { message: Message::Push(_), .. })));
    issuer.ack(2, 2, ms(2_010));
    assert!(issuer.pass(ms(4_000)).is_empty(), "all have it");
    let progress = issuer.0.progress(at(1, 2));
    let unknown = Confirmation::Applied { after: None };
    assert!(progress.iter().all(|node| node.state == unknown), "{progress:?}");
}
