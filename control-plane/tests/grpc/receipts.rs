//! Receipts: who has applied a change, told as it becomes known.

use sqlx::Connection as _;
use tokio::time::timeout;
use tonic::Code;
use wcdn_proto::pb::{
    admin::v1::{
        Change, GetReceiptRequest, ListNodesRequest, NodeState, PurgeRequest, Receipt,
        WatchReceiptRequest,
    },
    edge::v1::{Outcome, ReadBack, RedisOutcome},
    event::v1::Position,
};

use crate::stage::{Stage, all, blob, next, reason};

async fn purge(stage: &mut Stage, n: u8) -> Change {
    let request = stage.keyed(PurgeRequest { ids: vec![blob(n)], ..Default::default() });
    stage.admin.purge(request).await.unwrap().into_inner().change.unwrap()
}

async fn receipt(stage: &mut Stage, change: &Change) -> Receipt {
    let request = stage.keyed(GetReceiptRequest { change_id: change.id.clone() });
    stage.admin.get_receipt(request).await.unwrap().into_inner().receipt.unwrap()
}

fn watch(change: &Change) -> WatchReceiptRequest {
    WatchReceiptRequest { change_id: change.id.clone() }
}

fn outcome(change: &Change) -> Outcome {
    Outcome {
        position: change.last,
        memory_removed: 1,
        redis: RedisOutcome::Removed.into(),
        redis_removed: 1,
        read_back: ReadBack::Clean.into(),
        ..Outcome::default()
    }
}

#[tokio::test]
async fn a_receipt_grows_with_each_edge_and_its_stream_ends_when_all_is_told() {
    let mut stage = Stage::begin().await;
    let a = stage.edge_named("a", None).await;
    let b = stage.edge_named("b", None).await;
    let change = purge(&mut stage, 1).await;
    assert_eq!((change.kind.as_str(), change.ids, change.by.as_str()), ("purge", 1, "first"));
    let request = stage.keyed(watch(&change));
    let mut stream = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    let first = next(&mut stream).await.unwrap().receipt.unwrap();
    assert_eq!(first.change.as_ref(), Some(&change));
    assert!(first.nodes.iter().all(|node| node.state() == NodeState::Pending));
    a.report(&change.last, vec![outcome(&change)]).await;
    let second = next(&mut stream).await.unwrap().receipt.unwrap();
    let states: Vec<_> = second.nodes.iter().map(|node| node.state()).collect();
    assert_eq!(states, [NodeState::Applied, NodeState::Pending]);
    assert!(!second.settled);
    b.report(&change.last, vec![outcome(&change)]).await;
    let rest = all(stream).await.unwrap();
    let last = rest.last().unwrap().receipt.clone().unwrap();
    assert!(last.settled && last.complete);
    for node in &last.nodes {
        assert!(node.applied_after_us > 0);
        assert_eq!(node.outcome.as_ref().unwrap().read_back(), ReadBack::Clean);
    }
    assert_eq!(receipt(&mut stage, &change).await, last);
}

#[tokio::test]
async fn an_edge_that_is_silent_is_named_and_one_that_is_gone_is_lost() {
    let mut stage = Stage::with(|config| {
        config.receipts.lease = "300ms".parse().unwrap();
        config.receipts.lost_after = "600ms".parse().unwrap();
    })
    .await;
    let live = stage.edge_named("live", None).await;
    let _silent = stage.edge_named("silent", None).await;
    drop(stage.edge_named("dead", None).await);
    let change = purge(&mut stage, 1).await;
    live.report(&change.last, vec![outcome(&change)]).await;
    let request = stage.keyed(watch(&change));
    let stream = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    let told = all(stream).await.unwrap();
    let last = told.last().unwrap().receipt.clone().unwrap();
    assert!(last.settled && !last.complete);
    let named: Vec<_> = last.nodes.iter().map(|it| (it.node.as_str(), it.state())).collect();
    let expected = [NodeState::Applied, NodeState::Unconfirmed];
    assert_eq!(named[1..], [("live", expected[0]), ("silent", expected[1])]);
    assert!(matches!(named[0], ("dead", NodeState::Unconfirmed | NodeState::Lost)), "{named:?}");
    eventually_lost(&mut stage, "dead").await;
    let next_change = purge(&mut stage, 2).await;
    let nodes = receipt(&mut stage, &next_change).await.nodes;
    let dead = nodes.iter().find(|node| node.node == "dead").expect("it is named");
    assert_eq!(dead.state(), NodeState::Lost, "and nobody waits for it");
}

/// Until the list of nodes says so; it is asked again as fast as it answers.
async fn eventually_lost(stage: &mut Stage, name: &str) {
    let look = async {
        loop {
            let request = stage.keyed(ListNodesRequest {});
            let nodes = stage.admin.list_nodes(request).await.unwrap().into_inner().nodes;
            if nodes.iter().any(|node| node.node == name && node.state == "lost") {
                return;
            }
        }
    };
    let within = std::time::Duration::from_secs(10);
    timeout(within, look).await.expect("the node is listed as lost");
}

#[tokio::test]
async fn a_receipt_outlives_the_process_that_wrote_it() {
    let mut stage = Stage::begin().await;
    let edge = stage.edge_named("a", None).await;
    let (kept, open) = (purge(&mut stage, 1).await, purge(&mut stage, 2).await);
    edge.report(&kept.last, vec![outcome(&kept)]).await;
    let request = stage.keyed(watch(&kept));
    let before = all(stage.admin.watch_receipt(request).await.unwrap().into_inner()).await.unwrap();
    let before = before.last().unwrap().receipt.clone().unwrap();
    let mut stage = stage.restart(|_| {}).await;
    let after = receipt(&mut stage, &kept).await;
    assert_eq!(after.change, before.change);
    let pending = receipt(&mut stage, &open).await;
    assert!(!pending.settled, "it waits for the node it knew: {pending:?}");
    let edge = stage.edge_named("a", kept.last).await;
    edge.report(&open.last, vec![outcome(&open)]).await;
    let request = stage.keyed(watch(&open));
    let told = all(stage.admin.watch_receipt(request).await.unwrap().into_inner()).await.unwrap();
    assert!(told.last().unwrap().receipt.as_ref().unwrap().complete);
}

#[tokio::test]
async fn a_receipt_that_is_no_longer_in_memory_is_watched_until_it_is_settled() {
    let mut stage = Stage::with(|config| {
        config.receipts.lease = "60s".parse().unwrap();
        config.receipts.lost_after = "60s".parse().unwrap();
    })
    .await;
    let _edge = stage.edge_named("a", None).await;
    let change = purge(&mut stage, 1).await;
    let (folder, config, key) = stage.stop().await;
    // Too old to be waited for when the process starts again.
    let url = format!("sqlite://{}", config.store.path.display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE changes SET committed_at_ms = committed_at_ms - 1200000")
        .execute(&mut store)
        .await
        .unwrap();
    store.close().await.unwrap();
    let mut stage = Stage::resume(folder, config, key).await;
    let request = stage.keyed(watch(&change));
    let mut stream = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    let first = next(&mut stream).await.unwrap().receipt.unwrap();
    assert!(!first.settled, "{first:?}");
    let edge = stage.edge_named("a", None).await;
    edge.report(&change.last, vec![]).await;
    let last = all(stream).await.unwrap().pop().unwrap().receipt.unwrap();
    assert!(last.settled && last.complete, "{last:?}");
    assert_eq!(last.nodes[0].applied_after_us, 0, "nobody knows when");
}

#[tokio::test]
async fn what_an_event_did_is_in_its_receipt_if_nodes_heard_of_it_first() {
    let mut stage = Stage::begin().await;
    let edge = stage.edge_named("a", None).await;
    let head = edge.welcome.head.unwrap();
    let next = Position { seq: head.seq + 1, ..head };
    edge.report(&None, vec![Outcome { position: Some(next), ..outcome(&Change::default()) }]).await;
    let change = purge(&mut stage, 1).await;
    assert_eq!(change.last, Some(next));
    edge.report(&change.last, vec![]).await;
    let request = stage.keyed(watch(&change));
    let told = all(stage.admin.watch_receipt(request).await.unwrap().into_inner()).await.unwrap();
    let last = told.last().unwrap().receipt.as_ref().unwrap();
    assert_eq!(last.nodes[0].outcome.map(|told| told.memory_removed), Some(1), "{last:?}");
}

#[tokio::test]
async fn a_change_that_never_was_has_no_receipt() {
    let mut stage = Stage::begin().await;
    let request = stage.keyed(GetReceiptRequest { change_id: "chg_none".to_owned() });
    let refused = stage.admin.get_receipt(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "CHANGE_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn the_same_token_is_one_change_also_after_a_restart() {
    let mut stage = Stage::begin().await;
    let request = |id| PurgeRequest {
        ids: vec![blob(id)],
        idempotency_token: "deploy-17".to_owned(),
        ..Default::default()
    };
    let first = stage.admin.purge(stage.keyed(request(1))).await.unwrap().into_inner();
    let mut stage = stage.restart(|_| {}).await;
    let again = stage.admin.purge(stage.keyed(request(1))).await.unwrap().into_inner();
    assert_eq!(first, again);
    let refused = stage.admin.purge(stage.keyed(request(2))).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "IDEMPOTENCY_TOKEN_REUSED".to_owned());
    assert_eq!((refused.code(), reason(&refused)), expected);
}
