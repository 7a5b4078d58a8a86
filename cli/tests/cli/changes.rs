//! Purge, block, unblock, barrier, and receipts that are there already.

use serde_json::json;
use tokio::net::TcpListener;
use wcdn_proto::{
    BlobId,
    pb::{
        admin::v1::{NodeReceipt, NodeState},
        edge::v1::{Outcome, ReadBack, RedisOutcome},
    },
};

use super::{
    desk::Desk,
    program::{Shell, id},
};

/// A node that applied the change, and told what it removed.
pub(crate) fn applied(node: &str, after_us: u64, redis: RedisOutcome) -> NodeReceipt {
    NodeReceipt {
        node: node.into(),
        region: node.rsplit_once('-').expect("a region and a number").0.into(),
        state: NodeState::Applied.into(),
        applied_after_us: after_us,
        outcome: Some(Outcome {
            memory_removed: 1,
            redis: redis.into(),
            redis_removed: 2,
            read_back: ReadBack::Clean.into(),
            ..Outcome::default()
        }),
    }
}

/// A node that did not, or not yet.
pub(crate) fn other(node: &str, state: NodeState) -> NodeReceipt {
    let region = node.rsplit_once('-').expect("a region and a number").0.into();
    NodeReceipt { node: node.into(), region, state: state.into(), ..NodeReceipt::default() }
}

#[tokio::test]
async fn a_purge_names_the_change_and_where_it_stands_in_the_log() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let line = format!("purge {} {} --force --idempotency-token t1", id(1), id(2));
    assert_eq!(shell.run(&line).await.done(), "purge of 2 ids is committed at 1:42 as chg_1\n");
    let asked = desk.state().asked.join("\n");
    let expected = format!(
        "PurgeRequest {{ ids: [{:?}, {:?}], all: false, force: true, idempotency_token: \"t1\" }}",
        id(1),
        id(2)
    );
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_sent_again_under_the_same_token() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    for command in ["purge", "block", "unblock", "pin", "unpin"] {
        desk.state().losses = 1;
        shell.run(&format!("{command} {}", id(1))).await.done();
        let asked = std::mem::take(&mut desk.state().asked);
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert_eq!(asked[0], asked[1]);
        assert!(asked[0].contains("idempotency_token: \"cli-"), "{asked:?}");
    }
}

#[tokio::test]
async fn where_one_control_plane_is_gone_another_is_asked_for_the_same_change() {
    let (one, other) = (Desk::start().await, Desk::start().await);
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gone = free.local_addr().expect("a bound socket has an address");
    drop(free);
    let all = format!("{gone}, {},{}", one.url(), other.url());
    let shell = Shell::of(&one).set("WCDN_ENDPOINT", all);
    shell.run(&format!("purge {}", id(1))).await.done();
    assert_eq!((one.state().asked.len(), other.state().asked.len()), (1, 0));
    one.state().losses = 1;
    shell.run(&format!("purge {}", id(2))).await.done();
    assert_eq!(one.state().asked[1], other.state().asked[0], "token and all");
    let told = shell.run(&format!("status --endpoint {gone},{gone}")).await.failed(4);
    assert!(told.starts_with(&format!("cannot reach {gone}: ")), "{told}");
    let told = shell.run(&format!("status --endpoint {gone},")).await.failed(2);
    assert!(told.starts_with("\"\" is no address: "), "{told}");
}

#[tokio::test]
async fn whoever_does_not_know_what_became_of_a_change_is_told_its_token() {
    let desk = Desk::start().await;
    desk.state().losses = 3;
    let shell = Shell::of(&desk);
    let told = shell.run(&format!("purge {}", id(1))).await.failed(4);
    let (_, token) = told.split_once("--idempotency-token ").expect("it is shown");
    assert!(desk.state().asked[1].contains(&format!("{token:?}")), "{told}");
    let told = shell.run("barrier").await.failed(4);
    assert!(!told.contains("token"), "{told}");
}

#[tokio::test]
async fn a_time_that_is_no_longer_known_is_not_shown_as_none_at_all() {
    let desk = Desk::start().await;
    desk.tell(vec![applied("eu-west-1", 0, RedisOutcome::Removed)]);
    let shell = Shell::of(&desk);
    let printed = shell.run("purge --all --wait --json").await.json();
    assert_eq!(printed["nodes"][0]["appliedAfterMs"], json!(null));
    let printed = shell.run("receipt chg_1").await.done();
    assert!(!printed.contains(" ms"), "{printed}");
}

#[tokio::test]
async fn a_change_in_json_is_one_document() {
    let desk = Desk::start().await;
    let printed = Shell::of(&desk).run(&format!("purge {} --json", id(1))).await.json();
    let change = json!({
        "id": "chg_1", "kind": "purge", "first": "1:41", "last": "1:42",
        "committedAt": "2026-11-25T12:00:00.250Z", "ids": 1, "by": "ci",
    });
    assert_eq!(printed, json!({ "change": change }));
}

#[tokio::test]
async fn a_quiet_change_prints_only_its_id() {
    let desk = Desk::start().await;
    desk.tell(vec![applied("eu-west-1", 4_000, RedisOutcome::Removed)]);
    let shell = Shell::of(&desk);
    assert_eq!(shell.run(&format!("block {} -q", id(1))).await.done(), "chg_1\n");
    assert_eq!(shell.run("purge --all --wait --quiet").await.done(), "chg_1\n");
}

#[tokio::test]
async fn a_purge_of_everything_says_so() {
    let desk = Desk::start().await;
    let printed = Shell::of(&desk).run("purge --all").await.done();
    assert_eq!(printed, "purge of everything is committed at 1:42 as chg_1\n");
    assert!(desk.state().asked[0].contains("ids: [], all: true, force: false"));
}

#[tokio::test]
async fn ids_come_from_a_file_or_a_pipe_each_once() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let list = format!("# stale\n{}\n{} # twice\n\n{}\n", id(1), id(2), id(1));
    shell.file("ids.txt", &list);
    let from_file = shell.run("purge --from-file ids.txt").await.done();
    let piped = shell.pipe(&list, &format!("purge {} --from-file -", id(2))).await.done();
    assert_eq!(from_file, piped);
    let asked = &desk.state().asked;
    assert!(asked[0].contains(&format!("ids: [{:?}, {:?}]", id(1), id(2))), "{asked:?}");
    assert!(asked[1].contains(&format!("ids: [{:?}, {:?}]", id(2), id(1))), "{asked:?}");
}

#[tokio::test]
async fn as_many_ids_as_a_purge_may_name_go_into_one_call() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let numbered = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        BlobId::from_bytes(bytes).to_string()
    };
    let mut list: Vec<String> = (0..100_000).map(numbered).collect();
    let printed = shell.pipe(&list.join("\n"), "purge --from-file -").await.done();
    assert_eq!(printed, "purge of 100000 ids is committed at 1:42 as chg_1\n");
    list.push(numbered(100_000));
    let told = shell.pipe(&list.join("\n"), "purge --from-file -").await.failed(2);
    let most = "100001 ids are more than the 100000 that fit into one change; split them";
    assert_eq!(told, most);
}

#[tokio::test]
async fn an_id_that_looks_like_an_option_needs_no_quoting() {
    let desk = Desk::start().await;
    let dashed = id(0xfb);
    assert!(dashed.starts_with('-'), "{dashed}");
    let printed = Shell::of(&desk).run(&format!("purge {dashed} --force")).await.done();
    assert_eq!(printed, "purge of 1 id is committed at 1:42 as chg_1\n");
}

#[tokio::test]
async fn block_and_unblock_say_what_they_did() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let blocked = shell.run(&format!("block {} --reason court-order", id(1))).await.done();
    assert_eq!(blocked, "block of 1 id is committed at 1:42 as chg_1\n");
    let unblocked = shell.run(&format!("unblock {}", id(1))).await.done();
    assert_eq!(unblocked, "unblock of 1 id is committed at 1:42 as chg_1\n");
    let json = shell.run(&format!("unblock {} --json", id(1))).await.json();
    assert_eq!(json["change"]["kind"], "unblock");
    let asked = &desk.state().asked;
    assert!(asked[0].contains("reason: \"court-order\""), "{asked:?}");
    assert!(asked[1].starts_with("UnblockRequest"), "{asked:?}");
}

#[tokio::test]
async fn a_receipt_has_a_line_for_each_node_and_a_summary() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    desk.tell(vec![
        applied("eu-west-1", 4_210, RedisOutcome::Removed),
        applied("us-west-1", 37_400, RedisOutcome::None),
        applied("us-west-2", 12_000, RedisOutcome::Unreachable),
    ]);
    let printed = shell.run(&format!("purge {} --wait", id(1))).await.done();
    let expected = "\
purge of 1 id is committed at 1:42 as chg_1
NODE       REGION   STATE    AFTER   MEMORY  REDIS        READ BACK
eu-west-1  eu-west  applied  4.3 ms  1       2            clean
us-west-1  us-west  applied  38 ms   1       none         clean
us-west-2  us-west  applied  12 ms   1       unreachable  clean
3 of 3 nodes in 38 ms
";
    assert_eq!(printed, expected);
    let (_, receipt) = expected.split_once('\n').expect("lines");
    assert_eq!(shell.run("receipt chg_1").await.done(), receipt);
    assert_eq!(shell.run("receipt chg_1 --wait").await.done(), receipt);
    assert_eq!(shell.run("barrier --wait -q").await.done(), "chg_1\n");
}

#[tokio::test]
async fn a_receipt_in_json_has_what_the_nodes_told() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    desk.tell(vec![applied("eu-west-1", 4_250, RedisOutcome::Removed)]);
    let printed = shell.run("barrier --wait --json").await.json();
    let node = json!({
        "node": "eu-west-1", "region": "eu-west", "state": "applied", "appliedAfterMs": 4.25,
        "memoryRemoved": 1, "fillsMarked": 0, "redis": "removed", "redisRemoved": 2,
        "readBack": "clean",
    });
    assert_eq!(printed["change"]["kind"], "barrier");
    assert_eq!(printed["nodes"], json!([node]));
    assert_eq!((&printed["settled"], &printed["complete"]), (&json!(true), &json!(true)));
    assert_eq!(shell.run("receipt chg_1 --json").await.json(), printed);
}

#[tokio::test]
async fn nodes_that_did_not_apply_are_named_and_exit_with_5() {
    let desk = Desk::start().await;
    desk.tell(vec![
        applied("eu-west-1", 4_210, RedisOutcome::Removed),
        other("eu-west-2", NodeState::Lost),
        other("us-west-1", NodeState::Unconfirmed),
        other("us-west-2", NodeState::Fenced),
    ]);
    let ran = Shell::of(&desk).run("barrier --wait").await;
    let expected = "\
barrier is committed at 1:42 as chg_1
NODE       REGION   STATE        AFTER   MEMORY  REDIS  READ BACK
eu-west-1  eu-west  applied      4.3 ms  1       2      clean
eu-west-2  eu-west  lost         -       -       -      -
us-west-1  us-west  unconfirmed  -       -       -      -
us-west-2  us-west  fenced       -       -       -      -
1 of 4 nodes in 4.3 ms; not applied: eu-west-2 (lost), us-west-1 (unconfirmed), us-west-2 (fenced)
";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(5), expected, ""));
}

#[tokio::test]
async fn a_receipt_that_still_grows_exits_with_5() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    desk.tell(vec![other("eu-west-1", NodeState::Pending)]);
    shell.run("barrier").await.done();
    let ran = shell.run("receipt chg_1").await;
    assert_eq!(ran.code, Some(5));
    assert!(ran.stdout.ends_with("0 of 1 node; not applied: eu-west-1 (pending)\n"), "{ran:?}");
}
