//! Pin, unpin, pins.

use serde_json::json;
use wcdn_proto::pb::admin::v1::{PinStanding, PinState, PinnedId, WatchPinsResponse};

use super::{
    desk::{COMMITTED_AT_MS, Desk},
    program::{Shell, id},
};

fn standing(state: PinState, held: u32) -> PinStanding {
    PinStanding { state: state.into(), held, expected: 4, ..PinStanding::default() }
}

fn pin(byte: u8, standing: PinStanding) -> PinnedId {
    PinnedId {
        id: id(byte),
        note: "front page".into(),
        by: "ops".into(),
        pinned_at_ms: COMMITTED_AT_MS,
        standing: Some(standing),
    }
}

fn pins() -> Vec<PinnedId> {
    let failed = PinStanding {
        failed: 1,
        reason: "eu-2: no origin has the blob".into(),
        ..standing(PinState::Degraded, 3)
    };
    let requested = standing(PinState::Requested, 0);
    vec![pin(1, standing(PinState::Held, 4)), pin(2, failed), pin(3, requested)]
}

#[tokio::test]
async fn pins_are_listed_over_all_pages_with_how_far_each_is() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    assert_eq!(shell.run("pins").await.done(), "nothing is pinned\n");
    desk.state().pins = pins();
    let expected = "\
ID                                           STATE      HELD  SINCE                     BY   NOTE        REASON
AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE  held       4/4   2026-11-25T12:00:00.250Z  ops  front page
AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI  degraded   3/4   2026-11-25T12:00:00.250Z  ops  front page  eu-2: no origin has the blob
AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM  requested  0/4   2026-11-25T12:00:00.250Z  ops  front page
";
    assert_eq!(shell.run("pins").await.done(), expected);
    let printed = shell.run("pins --json").await.json();
    let degraded = json!({
        "id": id(2), "state": "degraded", "held": 3, "expected": 4, "overBudget": 0, "failed": 1,
        "reason": "eu-2: no origin has the blob", "note": "front page", "by": "ops",
        "pinnedAt": "2026-11-25T12:00:00.250Z",
    });
    assert_eq!(printed["pins"][1], degraded);
    assert_eq!(printed["pins"][0]["reason"], json!(null));
}

#[tokio::test]
async fn pins_of_one_state_are_listed_alone() {
    let desk = Desk::start().await;
    desk.state().pins = pins();
    let shell = Shell::of(&desk);
    let printed = shell.run("pins --state requested --json").await.json();
    assert_eq!(printed["pins"].as_array().map(Vec::len), Some(1));
    assert_eq!(printed["pins"][0]["id"], json!(id(3)));
    let none = shell.run("pins --state over-budget").await.done();
    assert_eq!(none, "nothing pinned is over_budget\n");
}

#[tokio::test]
async fn pin_and_unpin_say_what_they_did() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let line = format!("pin {} --note front --idempotency-token t1", id(1));
    assert_eq!(shell.run(&line).await.done(), "pin of 1 id is committed at 1:42 as chg_1\n");
    let expected =
        format!("PinRequest {{ ids: [{:?}], note: \"front\", idempotency_token: \"t1\" }}", id(1));
    assert_eq!(desk.state().asked.join("\n"), expected);
    let printed = shell.run(&format!("unpin {} {}", id(1), id(2))).await.done();
    assert_eq!(printed, "unpin of 2 ids is committed at 1:42 as chg_1\n");
    let printed = shell.run(&format!("pin {} --json", id(1))).await.json();
    assert_eq!(printed["change"]["kind"], "pin");
    let list = shell.file("ids", &format!("{} # the logo\n{}\n", id(1), id(2)));
    let printed = shell.run(&format!("pin --file {} -q", list.display())).await.done();
    assert_eq!(printed, "chg_1\n");
}

#[tokio::test]
async fn waiting_ends_once_every_pin_is_held() {
    let desk = Desk::start().await;
    desk.state().told_of_pins = vec![
        WatchPinsResponse { requested: 1, filling: 1, ..WatchPinsResponse::default() },
        WatchPinsResponse { held: 2, ..WatchPinsResponse::default() },
    ];
    // The first stream breaks off, and is opened again.
    desk.state().breaks = 1;
    let shell = Shell::of(&desk);
    let printed = shell.run(&format!("pin {} {} --wait", id(1), id(2))).await.done();
    assert_eq!(printed, "pin of 2 ids is committed at 1:42 as chg_1\n2 of 2 pins held\n");
    let printed = shell.run(&format!("pin {} --wait --json", id(1))).await.json();
    let counts = json!({
        "requested": 0, "filling": 0, "held": 2, "degraded": 0, "overBudget": 0, "unpinned": 0,
    });
    assert_eq!((&printed["counts"], &printed["troubled"]), (&counts, &json!([])));
}

#[tokio::test]
async fn a_pin_that_cannot_be_held_is_named_with_the_reason_and_exits_with_5() {
    let desk = Desk::start().await;
    let over = PinStanding {
        over_budget: 2,
        reason: "eu-1: 64 MiB are full".into(),
        ..standing(PinState::OverBudget, 2)
    };
    desk.state().told_of_pins = vec![WatchPinsResponse {
        held: 1,
        over_budget: 1,
        troubled: vec![pin(2, over)],
        ..WatchPinsResponse::default()
    }];
    let ran = Shell::of(&desk).run(&format!("pin {} {} --wait", id(1), id(2))).await;
    let expected = format!(
        "pin of 2 ids is committed at 1:42 as chg_1\n{:<43}  STATE        HELD  REASON\n\
         {}  over_budget  2/4   eu-1: 64 MiB are full\n1 of 2 pins held; 1 over budget\n",
        "ID",
        id(2)
    );
    assert_eq!((ran.code, ran.stdout), (Some(5), expected));
}

#[tokio::test]
async fn waiting_for_pins_ends_when_its_time_is_over() {
    let desk = Desk::start().await;
    desk.state().told_of_pins =
        vec![WatchPinsResponse { filling: 1, ..WatchPinsResponse::default() }];
    desk.state().hangs = true;
    let ran = Shell::of(&desk).run(&format!("pin {} --wait --timeout 2s", id(1))).await;
    assert_eq!(ran.code, Some(5));
    let told = "wcdn: the pins of chg_1 are not all held after 2s: 0 of 1 pin held; 1 filling; \
                nodes go on, see `wcdn pins`";
    assert_eq!(ran.stderr.lines().last(), Some(told));
}
