//! Receipts where there are several control planes, or another log goes on.

use super::*;

#[tokio::test]
async fn in_another_log_a_change_is_applied_only_if_that_has_it() {
    let (mut tracker, mut clock) = two();
    tracker.committed([change("x", 1, 1), change("y", 2, 2)], at(2), clock.0, clock.0);
    tracker.heard(&name("a"), at(2), clock.pass(10));
    let later = |seq| Position { epoch: 2, seq };
    tracker.committed([], later(3), clock.0, clock.0);
    for node in ["a", "b"] {
        tracker.heard(&name(node), later(3), clock.pass(10));
    }
    let doubtful = swept(&mut tracker, clock.pass(6_000)).doubtful;
    assert_eq!(doubtful, ["x", "y"]);
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Applied, NodeState::Pending], "nothing follows");
    assert!(!receipt.settled);
    tracker.found(&doubtful, &["y".to_owned()].into(), tracker.epoch(), clock.pass(10));
    assert!(tracker.receipt("x").is_none(), "it was undone");
    let (receipt, _) = tracker.receipt("y").unwrap();
    assert!(receipt.settled && receipt.complete);
    assert!(swept(&mut tracker, clock.pass(10)).doubtful.is_empty());
    // What the log of today has is told of as ever.
    assert!(tracker.late_receipt(change("x", 1, 1), clock.0).complete);
}

#[tokio::test]
async fn a_node_that_registered_elsewhere_is_waited_for() {
    let (mut tracker, mut clock) = two();
    let known = |name: &str, lost_ago| Known { who: who(name, false), applied: at(0), lost_ago };
    tracker.committed([change("x", 1, 1)], at(1), clock.0, clock.0);
    let hour = Duration::from_secs(3_600);
    tracker.learn(vec![known("a", None), known("c", None), known("d", Some(hour))], clock.0);
    for node in ["a", "b"] {
        tracker.heard(&name(node), at(1), clock.pass(10));
    }
    let (receipt, _) = tracker.receipt("x").unwrap();
    assert_eq!(states(&receipt), [NodeState::Applied, NodeState::Applied, NodeState::Pending]);
    swept(&mut tracker, clock.pass(5_100));
    assert!(!tracker.receipt("x").unwrap().0.complete);
    tracker.learn(vec![known("a", Some(hour))], clock.0);
    let told: Vec<_> =
        swept(&mut tracker, clock.0).registered.into_iter().map(|(who, _)| who).collect();
    assert_eq!(told, [who("a", false)], "it is not lost");
}
