//! What `--wait` shows meanwhile, and how it ends.

use wcdn_proto::pb::{admin::v1::NodeState, edge::v1::RedisOutcome};

use super::{
    changes::{applied, other},
    desk::Desk,
    program::{Shell, id},
};

#[tokio::test]
async fn progress_goes_to_standard_error_a_line_each_second() {
    let desk = Desk::start().await;
    let pending = other("us-west-1", NodeState::Pending);
    desk.tell(vec![applied("eu-west-1", 4_000, RedisOutcome::None), pending]);
    let mut running = Shell::of(&desk).start(&format!("purge {} --wait --json", id(1)));
    assert_eq!(running.error_line().await, "chg_1: 1 of 2 nodes; waiting for us-west-1");
    desk.tell(vec![
        applied("eu-west-1", 4_000, RedisOutcome::None),
        applied("us-west-1", 1_100_000, RedisOutcome::None),
    ]);
    let ran = running.end().await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("\"appliedAfterMs\":1100.0"), "{}", ran.stdout);
}

#[tokio::test]
async fn quiet_waiting_shows_no_progress() {
    let desk = Desk::start().await;
    desk.tell(vec![other("us-west-1", NodeState::Pending)]);
    let ran = Shell::of(&desk).run("barrier --wait --quiet --timeout 2s").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), "chg_1\n"));
    assert_eq!(ran.stderr.lines().count(), 1, "only the end is told: {}", ran.stderr);
}

#[tokio::test]
async fn waiting_ends_when_its_time_is_over_and_says_how_to_go_on() {
    let desk = Desk::start().await;
    desk.tell(vec![
        applied("eu-west-1", 4_000, RedisOutcome::None),
        other("us-west-1", NodeState::Pending),
    ]);
    let ran = Shell::of(&desk).run("barrier --wait --timeout 2s").await;
    assert_eq!(ran.code, Some(5));
    assert!(ran.stdout.contains("us-west-1  us-west  pending"), "{}", ran.stdout);
    let told = "wcdn: chg_1 is not settled after 2s: 1 of 2 nodes; waiting for us-west-1; \
                wait on by: wcdn receipt chg_1 --wait";
    assert_eq!(ran.stderr.lines().last(), Some(told));
}

#[tokio::test]
async fn an_interrupted_wait_names_the_change_and_exits_with_130() {
    let desk = Desk::start().await;
    desk.tell(vec![other("us-west-1", NodeState::Pending)]);
    let mut running = Shell::of(&desk).start("barrier --wait");
    assert_eq!(running.line().await, "barrier is committed at 1:42 as chg_1");
    assert_eq!(running.error_line().await, "chg_1: 0 of 1 node; waiting for us-west-1");
    running.interrupt();
    let ran = running.end().await;
    assert_eq!(ran.code, Some(130));
    let last = ran.stderr.lines().last();
    let told = "wcdn: interrupted, but chg_1 goes on: 0 of 1 node; waiting for us-west-1; \
                see it by: wcdn receipt chg_1";
    assert_eq!(last, Some(told));
}

#[tokio::test]
async fn a_control_plane_that_breaks_off_is_asked_again() {
    let desk = Desk::start().await;
    desk.state().breaks = 2;
    let unsettled = other("us-west-1", NodeState::Pending);
    desk.tell(vec![applied("eu-west-1", 4_000, RedisOutcome::None), unsettled]);
    let mut running = Shell::of(&desk).start("barrier --wait");
    running.error_line().await;
    assert_eq!(desk.state().breaks, 0, "it was cut off twice, and came back");
    desk.tell(vec![applied("eu-west-1", 4_000, RedisOutcome::None)]);
    let ran = running.end().await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.ends_with("1 of 1 node in 4.0 ms\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_receipt_of_an_unknown_change_is_refused() {
    let desk = Desk::start().await;
    for line in ["receipt chg_7", "receipt chg_7 --wait"] {
        let told = Shell::of(&desk).run(line).await.failed(1);
        let expected = format!("the receipt failed at {}: no change chg_7 (NOT_FOUND)", desk.url());
        assert_eq!(told, expected);
    }
}
