//! Receipts keep their promises.

mod replicas;

use wcdn_proto::pb::{
    admin::v1::NodeState,
    edge::v1::{Outcome, ReadBack, RedisOutcome},
};

use super::*;
use crate::change::Recorded;

const WINDOWS: Windows = Windows { lease: Duration::from_secs(5), lost: Duration::from_secs(15) };

fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

fn who(name: &str, strict: bool) -> Registered {
    Registered {
        node: name.parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        incarnation: 1,
        version: String::new(),
        edge_url: String::new(),
        strict,
        lease: Duration::ZERO,
    }
}

fn name(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn change(id: &str, first: u64, last: u64) -> Recorded {
    Recorded {
        id: id.to_owned(),
        kind: "purge".to_owned(),
        first: at(first),
        last: at(last),
        committed_at_ms: 0,
        ids: 1,
        by: String::new(),
    }
}

struct Clock(Instant);

impl Clock {
    fn pass(&mut self, millis: u64) -> Instant {
        self.0 += Duration::from_millis(millis);
        self.0
    }
}

/// Two nodes with sessions 1 and 2, at the head; the second one is strict.
fn two() -> (Tracker, Clock) {
    let clock = Clock(Instant::now());
    let mut tracker = Tracker::new(WINDOWS, at(0), Vec::new(), clock.0);
    tracker.registered(who("a", false), at(0), 1, clock.0);
    tracker.registered(who("b", true), at(0), 2, clock.0);
    (tracker, clock)
}

/// What is to be kept elsewhere after a look around.
fn swept(tracker: &mut Tracker, now: Instant) -> Unkept {
    tracker.sweep(now);
    tracker.unkept(now)
}

fn states(receipt: &admin::Receipt) -> Vec<NodeState> {
    receipt.nodes.iter().map(admin::NodeReceipt::state).collect()
}

#[tokio::test]
async fn a_receipt_is_complete_once_every_node_has_applied_and_tells_when() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 2)], at(2), clock.0, clock.0);
    tracker.heard(&name("a"), at(2), clock.pass(30));
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Applied, NodeState::Pending]);
    assert!(!receipt.settled && !receipt.complete);
    tracker.heard(&name("b"), at(1), clock.pass(10));
    assert!(!tracker.receipt("x").unwrap().0.settled, "one of two events is not both");
    tracker.heard(&name("b"), at(2), clock.pass(10));
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert!(receipt.settled && receipt.complete);
    let after: Vec<_> = receipt.nodes.iter().map(|node| node.applied_after_us).collect();
    assert_eq!(after, [30_000, 50_000]);
}

#[tokio::test]
async fn nodes_that_do_not_confirm_are_named_after_the_lease_and_lost_without_a_session() {
    let (mut tracker, mut clock) = two();
    tracker.left(&name("a"), 1, clock.pass(1_000));
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.sweep(clock.pass(5_000));
    assert!(
        !tracker.receipt("x").unwrap().0.settled,
        "a clock may be slow by one part in a hundred"
    );
    tracker.sweep(clock.pass(50));
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Unconfirmed, NodeState::Fenced]);
    assert!(receipt.settled && !receipt.complete);
    assert_eq!(swept(&mut tracker, clock.pass(10_000)).lost, [name("a")]);
    let by_state: Vec<_> = tracker.nodes(clock.0).iter().map(|node| node.state).collect();
    assert_eq!(by_state, [State::Lost, State::Fenced]);
}

#[tokio::test]
async fn a_node_that_was_lost_before_is_named_and_not_waited_for_until_it_is_forgotten() {
    let (mut tracker, mut clock) = two();
    tracker.left(&name("a"), 1, clock.0);
    tracker.sweep(clock.pass(15_000));
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.heard(&name("b"), at(1), clock.pass(10));
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Lost, NodeState::Applied]);
    assert!(receipt.settled && !receipt.complete);
    tracker.committed([change("y", 2, 2)], at(2), clock.0, clock.0);
    tracker.registered(who("a", false), at(1), 3, clock.pass(10));
    tracker.heard(&name("b"), at(2), clock.0);
    assert!(!tracker.receipt("y").unwrap().0.settled, "it is there again, and lacks it");
    tracker.left(&name("a"), 3, clock.0);
    tracker.sweep(clock.pass(15_000));
    clock.pass(15 * 60 * 1_000);
    tracker.committed([change("z", 3, 3)], at(3), clock.0, clock.0);
    assert_eq!(tracker.receipt("z").unwrap().0.nodes.len(), 1);
}

#[tokio::test]
async fn a_receipt_without_nodes_is_settled_and_proves_nothing() {
    let now = Instant::now();
    let mut tracker = Tracker::new(WINDOWS, at(0), Vec::new(), now);
    tracker.committed([change("x", 1, 1)], at(1), now, now);
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert!(receipt.settled && !receipt.complete);
}

#[tokio::test]
async fn a_node_that_claims_more_than_there_is_counts_as_nothing() {
    let (mut tracker, mut clock) = two();
    tracker.confirmed(who("c", false), at(9), clock.0, clock.0);
    tracker.confirmed(who("a", false), at(9), clock.0, clock.0);
    tracker.confirmed(who("b", false), Position { epoch: 2, seq: 0 }, clock.0, clock.0);
    tracker.registered(who("d", false), at(9), 4, clock.0);
    tracker.committed([change("x", 1, 1)], at(1), clock.pass(10), clock.0);
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Pending; 3], "a, b and d");
}

#[tokio::test]
async fn a_strict_node_is_fenced_only_after_its_own_lease_and_that_stays_said() {
    let (mut tracker, mut clock) = two();
    let slow = Registered { lease: Duration::from_secs(10), ..who("b", true) };
    tracker.registered(slow, at(0), 3, clock.0);
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.heard(&name("a"), at(1), clock.0);
    tracker.sweep(clock.pass(10_000));
    assert!(!tracker.receipt("x").unwrap().0.settled);
    tracker.sweep(clock.pass(100));
    let fenced = [NodeState::Applied, NodeState::Fenced];
    assert_eq!(states(&tracker.receipt("x").unwrap().0), fenced);
    tracker.left(&name("b"), 3, clock.0);
    tracker.sweep(clock.pass(15_000));
    assert_eq!(tracker.nodes(clock.0)[1].state, State::Lost);
    assert_eq!(states(&tracker.receipt("x").unwrap().0), fenced, "as it stood when it settled");
}

#[tokio::test]
async fn nodes_that_follow_a_log_that_never_rests_stay_live() {
    let (mut tracker, mut clock) = two();
    tracker.left(&name("b"), 2, clock.0);
    for seq in 1..=200 {
        tracker.committed([], at(seq), clock.pass(100), clock.0);
        // Always one behind.
        tracker.heard(&name("a"), at(seq - 1), clock.0);
        tracker.confirmed(who("b", true), at(seq - 1), clock.0, clock.0);
    }
    assert!(tracker.nodes(clock.0).iter().all(|node| node.state == State::Live));
    for seq in 201..=260 {
        tracker.committed([], at(seq), clock.pass(100), clock.0);
        tracker.confirmed(who("b", true), at(199), clock.0, clock.0);
    }
    assert_eq!(tracker.nodes(clock.0)[1].state, State::Fenced, "it is heard, but lacks an event");
}

#[tokio::test]
async fn an_older_session_that_is_late_changes_nothing() {
    let (mut tracker, clock) = two();
    let moved = Registered { incarnation: 2, ..who("a", true) };
    tracker.registered(moved.clone(), at(0), 7, clock.0);
    tracker.registered(who("a", false), at(0), 3, clock.0);
    assert_eq!(tracker.nodes(clock.0)[0].who, moved);
    tracker.committed([], at(1), clock.0, clock.0);
    let report = edge::Report { applied: Some(at(1).into()), ..Default::default() };
    tracker.reported(&name("a"), 1, &report, clock.0);
    assert_eq!(tracker.nodes(clock.0)[0].applied, at(0));
    tracker.reported(&name("a"), 7, &report, clock.0);
    assert_eq!(tracker.nodes(clock.0)[0].applied, at(1));
    tracker.left(&name("a"), 7, clock.0);
    tracker.registered(who("a", false), at(0), 3, clock.0);
    assert_eq!(tracker.nodes(clock.0)[0].who, moved);
    let unkept = swept(&mut tracker, clock.0);
    assert_eq!(unkept.registered.len(), 2, "each is kept elsewhere once");
    assert!(swept(&mut tracker, clock.0).registered.is_empty());
    tracker.put_back(&unkept);
    assert_eq!(swept(&mut tracker, clock.0).registered.len(), 2);
}

#[tokio::test]
async fn a_settled_receipt_stays_settled_though_its_nodes_come_back() {
    let (mut tracker, mut clock) = two();
    tracker.left(&name("a"), 1, clock.0);
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.heard(&name("b"), at(1), clock.pass(10));
    tracker.sweep(clock.pass(5_050));
    tracker.registered(who("a", false), at(0), 3, clock.pass(10));
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert!(receipt.settled);
    assert_eq!(states(&receipt), [NodeState::Unconfirmed, NodeState::Applied]);
    tracker.heard(&name("a"), at(1), clock.pass(10));
    assert!(tracker.receipt("x").unwrap().0.complete);
}

#[tokio::test]
async fn a_node_that_is_idle_at_the_head_stays_live_as_long_as_its_session() {
    let (mut tracker, mut clock) = two();
    clock.pass(60_000);
    assert!(tracker.nodes(clock.0).iter().all(|node| node.state == State::Live));
    tracker.left(&name("a"), 1, clock.0);
    tracker.left(&name("b"), 99, clock.0);
    clock.pass(5_050);
    let by_state: Vec<_> = tracker.nodes(clock.0).iter().map(|node| node.state).collect();
    assert_eq!(by_state, [State::Unconfirmed, State::Live], "an older session's end is none");
}

#[tokio::test]
async fn a_node_that_joins_behind_is_waited_for_too() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.registered(who("c", false), at(0), 3, clock.pass(5));
    tracker.registered(who("d", false), at(1), 4, clock.0);
    for node in ["a", "b"] {
        tracker.heard(&name(node), at(1), clock.0);
    }
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(receipt.nodes.len(), 3);
    assert!(!receipt.settled);
    tracker.heard(&name("c"), at(1), clock.0);
    assert!(tracker.receipt("x").unwrap().0.complete);
}

#[tokio::test]
async fn nodes_of_an_earlier_run_are_waited_for_before_they_are_heard() {
    let now = Instant::now();
    let known = |name: &str, lost_ago| Known { who: who(name, false), applied: at(0), lost_ago };
    let known = vec![known("a", None), known("gone", Some(NAMED))];
    let mut tracker = Tracker::new(WINDOWS, at(0), known, now);
    tracker.committed([change("x", 1, 1)], at(1), now, now);
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Pending]);
}

#[tokio::test]
async fn a_node_that_is_heard_without_a_session_is_live_and_waited_for_until_it_is_silent() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.confirmed(who("c", false), at(0), clock.0, clock.0);
    for node in ["a", "b"] {
        tracker.heard(&name(node), at(1), clock.pass(10));
    }
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt)[2], NodeState::Pending);
    tracker.confirmed(who("c", false), at(1), clock.0, clock.pass(10));
    assert!(tracker.receipt("x").unwrap().0.complete);
    for _ in 0..20 {
        clock.pass(1_000);
        tracker.confirmed(who("c", false), at(1), clock.0, clock.0);
        assert!(swept(&mut tracker, clock.0).lost.is_empty());
    }
    let heard = clock.0;
    tracker.confirmed(who("c", false), at(1), heard, clock.pass(14_900));
    assert!(swept(&mut tracker, clock.0).lost.is_empty());
    assert_eq!(tracker.nodes(clock.0)[2].state, State::Unconfirmed);
    tracker.confirmed(who("c", false), at(1), heard, clock.pass(100));
    assert_eq!(swept(&mut tracker, clock.0).lost, [name("c")]);
    tracker.confirmed(who("c", false), at(1), heard, clock.pass(10));
    let last = |tracker: &Tracker, now| tracker.nodes(now).last().unwrap().state;
    assert_eq!(last(&tracker, clock.0), State::Lost, "it was not heard again");
    tracker.confirmed(who("c", false), at(1), clock.0, clock.0);
    assert_eq!(last(&tracker, clock.0), State::Live);
}

#[tokio::test]
async fn counts_are_sums_over_events_and_the_worst_is_told() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("w", 1, 1), change("x", 2, 3)], at(3), clock.0, clock.0);
    let outcome = |seq, redis: RedisOutcome, read_back: ReadBack| Outcome {
        position: Some(at(seq).into()),
        memory_removed: seq,
        redis: redis.into(),
        read_back: read_back.into(),
        ..Outcome::default()
    };
    let a = name("a");
    tracker.told(&a, &outcome(1, RedisOutcome::None, ReadBack::Stale));
    tracker.told(&a, &outcome(2, RedisOutcome::Unreachable, ReadBack::Clean));
    tracker.heard(&a, at(3), clock.pass(1));
    tracker.heard(&name("b"), at(3), clock.0);
    assert!(!tracker.receipt("x").unwrap().1, "one of two events is told");
    tracker.told(&a, &outcome(3, RedisOutcome::Removed, ReadBack::Unknown));
    tracker.told(&a, &outcome(4, RedisOutcome::Removed, ReadBack::Unknown));
    for seq in [2, 3] {
        tracker.told(&name("b"), &outcome(seq, RedisOutcome::None, ReadBack::Clean));
    }
    let (receipt, is_final) = tracker.receipt("x").unwrap();
    let sum = receipt.nodes[0].outcome.as_ref().unwrap();
    assert_eq!((sum.memory_removed, sum.redis()), (5, RedisOutcome::Unreachable));
    assert_eq!(sum.read_back(), ReadBack::Unknown);
    assert!(is_final);
}

#[tokio::test]
async fn a_receipt_is_kept_once_all_is_told_or_it_is_late_and_then_forgotten() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    for node in ["a", "b"] {
        tracker.heard(&name(node), at(1), clock.0);
    }
    assert!(swept(&mut tracker, clock.pass(14_900)).done.is_empty());
    let done = swept(&mut tracker, clock.pass(100)).done;
    assert_eq!(done.len(), 1);
    tracker.kept(&done);
    assert!(tracker.receipt("x").is_none());
    assert_eq!((tracker.open_receipts(), tracker.lines), (0, 0));
    let late = tracker.late_receipt(change("x", 1, 1), clock.0);
    assert!(late.settled && late.complete);
}

#[tokio::test]
async fn a_receipt_that_was_kept_tells_who_has_applied_the_change_since() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    tracker.heard(&name("a"), at(1), clock.0);
    tracker.sweep(clock.pass(5_100));
    let mut done = swept(&mut tracker, clock.pass(15_000)).done;
    tracker.kept(&done);
    tracker.bring_up(&mut done[0]);
    let states = |receipt: &admin::Receipt| receipt.nodes.iter().map(|it| it.state()).collect();
    let before: Vec<_> = states(&done[0]);
    assert_eq!(before, [NodeState::Applied, NodeState::Fenced]);
    tracker.heard(&name("b"), at(1), clock.pass(1));
    tracker.bring_up(&mut done[0]);
    let after: Vec<_> = states(&done[0]);
    assert_eq!((after, done[0].complete), (vec![NodeState::Applied; 2], true));
}

#[tokio::test]
async fn memory_is_bounded_and_the_oldest_receipts_go_first() {
    let (mut tracker, clock) = two();
    for seq in 1..=(MAX_OPEN as u64 + 10) {
        tracker.committed([change(&format!("c{seq}"), seq, seq)], at(seq), clock.0, clock.0);
    }
    assert_eq!(tracker.open_receipts(), MAX_OPEN);
    assert_eq!(tracker.lines, 2 * MAX_OPEN);
    assert_eq!(tracker.forgotten(), 10);
    assert!(tracker.receipt("c10").is_none());
    assert!(tracker.receipt("c11").is_some());
}

#[tokio::test]
async fn of_receipts_beyond_memory_those_that_are_settled_go_first() {
    let (mut tracker, clock) = two();
    let count = MAX_OPEN as u64;
    for seq in 1..=count {
        tracker.committed([change(&format!("c{seq}"), seq, seq)], at(seq), clock.0, clock.0);
    }
    for node in ["a", "b"] {
        tracker.confirmed(who(node, false), at(3), clock.0, clock.0);
    }
    // The first three are settled; of these, and of those that wait, the first go.
    let more = (count + 1..=count + 4).map(|seq| change(&format!("c{seq}"), seq, seq));
    tracker.committed(more, at(count + 4), clock.0, clock.0);
    let is_open = |id: &str| tracker.receipt(id).is_some();
    assert!(!is_open("c1") && !is_open("c3") && !is_open("c4") && is_open("c5"));
}
