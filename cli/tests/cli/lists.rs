//! Nodes, blocks, explain, status: what is, as tables and as JSON.

use serde_json::json;
use wcdn_proto::pb::{
    admin::v1::{BlockedId, Node, NodeHolding},
    edge::v1::{Holding, Keeping, PinState},
};

use super::{
    desk::{COMMITTED_AT_MS, Desk, at},
    program::{Shell, id},
};

fn nodes() -> Vec<Node> {
    let live = Node {
        node: "eu-west-1".into(),
        region: "eu-west".into(),
        version: "0.1.0".into(),
        edge_url: "http://10.0.0.5:8080".into(),
        applied: at(1, 42),
        state: "live".into(),
        confirmed_ago_ms: 350,
        has_session: true,
        strict: true,
    };
    let lost = Node {
        node: "us-1".into(),
        region: "us".into(),
        applied: at(1, 30),
        state: "lost".into(),
        confirmed_ago_ms: 61_000,
        ..Node::default()
    };
    vec![live, lost]
}

#[tokio::test]
async fn nodes_are_listed_with_how_far_each_is() {
    let desk = Desk::start().await;
    desk.state().nodes = nodes();
    let shell = Shell::of(&desk);
    let expected = "\
NODE       REGION   STATE          APPLIED  BEHIND  CONFIRMED   SESSION  VERSION  URL
eu-west-1  eu-west  live (strict)  1:42     0       350 ms ago  yes      0.1.0    http://10.0.0.5:8080
us-1       us       lost           1:30     12      61 s ago    no
1 of 2 nodes live; the log is at 1:42
";
    assert_eq!(shell.run("nodes").await.done(), expected);
    let quiet = shell.run("nodes --quiet").await.done();
    assert_eq!(quiet.lines().count(), 2, "no headings, no summary: {quiet}");
    let printed = shell.run("nodes --json").await.json();
    assert_eq!(printed["head"], "1:42");
    assert_eq!(
        printed["nodes"][0],
        json!({
            "node": "eu-west-1", "region": "eu-west", "state": "live", "applied": "1:42",
            "confirmedAgoMs": 350, "version": "0.1.0", "hasSession": true, "strict": true,
            "edgeUrl": "http://10.0.0.5:8080",
        })
    );
}

#[tokio::test]
async fn blocks_are_listed_over_all_pages() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    assert_eq!(shell.run("blocks").await.done(), "nothing is blocked\n");
    let block = |byte| BlockedId {
        id: id(byte),
        reason: format!("court \x1b[2J order {byte}"),
        by: "ops".into(),
        blocked_at_ms: COMMITTED_AT_MS,
    };
    desk.state().blocks = (1..=3).map(block).collect();
    let expected = "\
ID                                           SINCE                     BY   REASON
AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE  2026-11-25T12:00:00.250Z  ops  court  [2J order 1
AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI  2026-11-25T12:00:00.250Z  ops  court  [2J order 2
AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM  2026-11-25T12:00:00.250Z  ops  court  [2J order 3
";
    assert_eq!(shell.run("blocks").await.done(), expected);
    let printed = shell.run("blocks --json").await.json();
    assert_eq!(printed["blocks"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        printed["blocks"][2],
        json!({
            "id": id(3), "reason": "court \u{1b}[2J order 3", "by": "ops",
            "blockedAt": "2026-11-25T12:00:00.250Z",
        })
    );
}

#[tokio::test]
async fn explain_tells_what_each_node_holds_and_why_one_is_silent() {
    let desk = Desk::start().await;
    let holding = |node: &str, holding, unanswered: &str| NodeHolding {
        node: node.into(),
        region: "eu".into(),
        holding,
        unanswered: unanswered.into(),
        pin: None,
    };
    let held = Holding {
        tier: "memory".into(),
        length: 2 << 20,
        verified: "full".into(),
        content_type: "image/png".into(),
        token: at(1, 42),
        removed: at(1, 40),
        inserted_at_ms: COMMITTED_AT_MS,
        applied: at(1, 42),
        blocked: false,
        pinned: true,
    };
    let failed = PinState {
        keeping: Keeping::Failed.into(),
        reason: "no origin has the blob".into(),
        ..PinState::default()
    };
    let blocked = Holding { blocked: true, removed: at(1, 41), ..Holding::default() };
    desk.state().holdings = vec![
        holding("eu-1", Some(held), ""),
        holding("eu-2", Some(blocked), ""),
        holding("eu-3", None, "no session"),
        NodeHolding { pin: Some(failed), ..holding("eu-4", Some(Holding::default()), "") },
    ];
    let shell = Shell::of(&desk);
    let expected = format!(
        "\
NODE  REGION  HOLDS            LENGTH  VERIFIED  TOKEN  REMOVED  FETCHED                   NOTE
eu-1  eu      memory (pinned)  2 MiB   full      1:42   1:40     2026-11-25T12:00:00.250Z  image/png
eu-2  eu      nothing          -       -         -      1:41     -                         blocked
eu-3  eu      ?                -       -         -      -        -                         no answer: no session
eu-4  eu      nothing          -       -         -      -        -                         pin failed: no origin has the blob
1 of 4 nodes hold {}; it is blocked; it is pinned
",
        id(1)
    );
    assert_eq!(shell.run(&format!("explain {}", id(1))).await.done(), expected);
    let printed = shell.run(&format!("explain {} --json", id(1))).await.json();
    assert_eq!((&printed["id"], &printed["blocked"]), (&json!(id(1)), &json!(true)));
    assert_eq!(
        printed["nodes"][0]["holding"],
        json!({
            "tier": "memory", "blocked": false, "pinned": true, "length": 2_097_152, "verified": "full",
            "contentType": "image/png", "token": "1:42", "removed": "1:40",
            "fetchedAt": "2026-11-25T12:00:00.250Z", "applied": "1:42",
        })
    );
    let silent = json!({
        "node": "eu-3", "region": "eu", "unanswered": "no session", "holding": null, "pin": null,
    });
    assert_eq!(printed["nodes"][2], silent);
    let pin = json!({ "state": "failed", "reason": "no origin has the blob" });
    assert_eq!((&printed["pinned"], &printed["nodes"][3]["pin"]), (&json!(true), &pin));
}

#[tokio::test]
async fn status_is_that_of_the_control_plane() {
    let desk = Desk::start().await;
    let shell = Shell::of(&desk);
    let url = desk.url();
    let expected = format!(
        "{:<w$}  VERSION  LOG   SINCE SEQ  LIVE NODES\n{url}  0.1.0    1:42  7          3\n",
        "CONTROL PLANE",
        w = url.len()
    );
    assert_eq!(shell.run("status").await.done(), expected);
    let document = json!({ "endpoint": url, "version": "0.1.0", "head": "1:42", "floorSeq": 7, "nodesLive": 3 });
    assert_eq!(shell.run("status --json").await.json(), document);
    // Without a scheme, as most servers write their addresses.
    let bare = url.trim_start_matches("http://");
    let named = shell.run(&format!("status --json --endpoint {bare}")).await.json();
    assert_eq!(named["endpoint"], bare);
}
