//! Sessions of edges.

use tokio::time::timeout;
use tonic::Code;
use wcdn_proto::pb::{
    admin::v1::{
        BarrierRequest, ExplainRequest, GetOriginsRequest, GetReceiptRequest, ListNodesRequest,
        SetOriginsRequest,
    },
    edge::v1::{
        Answer, Holding, Origin, OriginPool, Outcome, Register, Report, SessionRequest,
        session_request::Kind as Up, session_response::Kind as Down,
    },
};

use crate::stage::{PATIENCE, Stage, blob, reason, register};

fn pool(revision: u64, name: &str) -> SetOriginsRequest {
    let (name, url) = (name.into(), "http://a.example".into());
    let origins = vec![Origin { name, url, trusted: true, ..Origin::default() }];
    SetOriginsRequest { pool: Some(OriginPool { revision, origins, ..OriginPool::default() }) }
}

#[tokio::test]
async fn an_edge_is_listed_with_what_it_said_and_how_it_stands() {
    let mut stage = Stage::begin().await;
    let edge = stage.edge_named("a", None).await;
    assert_eq!(edge.welcome.head.unwrap().seq, 0);
    assert_eq!(edge.pool.revision, 0);
    let change = stage.admin.barrier(stage.keyed(BarrierRequest {})).await.unwrap().into_inner();
    edge.report(&change.change.unwrap().last, vec![]).await;
    let listed = stage.admin.list_nodes(stage.keyed(ListNodesRequest {})).await.unwrap();
    let listed = listed.into_inner();
    assert_eq!(listed.head.unwrap().seq, 1);
    let node = &listed.nodes[0];
    assert_eq!((node.node.as_str(), node.state.as_str()), ("a", "live"));
    assert_eq!((node.region.as_str(), node.has_session), ("eu-west", true));
}

#[tokio::test]
async fn a_new_origin_pool_reaches_edges_at_once_and_replaces_the_one_it_names() {
    let mut stage = Stage::begin().await;
    let mut edge = stage.edge_named("a", None).await;
    let set = stage.admin.set_origins(stage.keyed(pool(0, "one"))).await.unwrap().into_inner();
    assert_eq!(set.pool.as_ref().unwrap().revision, 1);
    let Some(Down::Origins(pushed)) = edge.next().await.unwrap().kind else { panic!("no pool") };
    assert_eq!(Some(&pushed), set.pool.as_ref());
    let refused = stage.admin.set_origins(stage.keyed(pool(0, "two"))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Aborted, "ORIGINS_CHANGED".to_owned()));
    let mut stage = stage.restart(|_| {}).await;
    let got = stage.admin.get_origins(stage.keyed(GetOriginsRequest {})).await.unwrap();
    assert_eq!(got.into_inner().pool, set.pool);
    assert_eq!(stage.edge_named("a", None).await.pool.revision, 1);
}

#[tokio::test]
async fn every_live_edge_is_asked_what_it_holds_and_the_silent_are_named() {
    let mut stage = Stage::begin().await;
    let mut edge = stage.edge_named("a", None).await;
    let _silent = stage.edge_named("b", None).await;
    let answering = async {
        let Some(Down::Ask(ask)) = edge.next().await.unwrap().kind else { panic!("no question") };
        assert_eq!(ask.content.as_ref(), [1; 32]);
        let holding = Holding { tier: "memory".to_owned(), length: 7, ..Holding::default() };
        let answer = Answer { id: ask.id, holding: Some(holding) };
        edge.up.send(SessionRequest { kind: Some(Up::Answer(answer)) }).await.unwrap();
    };
    let request = stage.keyed(ExplainRequest { id: blob(1) });
    let (explained, ()) = tokio::join!(stage.admin.explain(request), answering);
    let nodes = explained.unwrap().into_inner().nodes;
    assert_eq!(nodes[0].holding.as_ref().unwrap().tier, "memory");
    assert!(nodes[1].holding.is_none());
    assert_eq!(nodes[1].unanswered, "it did not answer in time");
}

#[tokio::test]
async fn a_later_start_takes_over_and_an_earlier_one_is_refused() {
    let mut stage = Stage::begin().await;
    let mut first = stage.edge_named("a", None).await;
    let later = Register { incarnation: 2, ..register("a", None) };
    let _second = stage.register(later).await.unwrap();
    let ended = first.next().await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended)), (Code::Aborted, "SESSION_SUPERSEDED".to_owned()));
    let Err(refused) = stage.register(register("a", None)).await else { panic!("accepted") };
    assert_eq!((refused.code(), reason(&refused)), (Code::AlreadyExists, "NODE_NAME_TAKEN".into()));
    let listed = stage.admin.list_nodes(stage.keyed(ListNodesRequest {})).await.unwrap();
    assert!(listed.into_inner().nodes[0].has_session, "the end of the first is not the second's");
}

#[tokio::test]
async fn a_session_begins_with_who_it_is() {
    let mut stage = Stage::begin().await;
    let nameless = Register { node: "No Name".to_owned(), ..register("a", None) };
    let Err(refused) = stage.register(nameless).await else { panic!("accepted") };
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("register.node"), "{refused:?}");
    let first = SessionRequest { kind: Some(Up::Answer(Answer::default())) };
    let request = stage.as_edge(tokio_stream::once(first));
    let refused = stage.edge.session(request).await.unwrap_err();
    assert!(refused.message().contains("register"), "{refused:?}");
}

#[tokio::test]
async fn a_report_of_too_much_or_a_lease_without_end_is_refused() {
    let mut stage = Stage::begin().await;
    let mut edge = stage.edge_named("a", None).await;
    edge.report(&None, vec![Outcome::default(); 4_097]).await;
    let refused = edge.next().await.unwrap_err();
    assert!(refused.message().contains("report.outcomes has 4097 entries"), "{refused:?}");
    let endless = Register { lease_ms: u64::MAX, ..register("b", None) };
    let Err(refused) = stage.register(endless).await else { panic!("accepted") };
    assert!(refused.message().contains("register.lease_ms"), "{refused:?}");
}

#[tokio::test]
async fn what_a_broken_session_told_is_told_again_and_counts_once() {
    let mut stage = Stage::begin().await;
    let (first, _other) = (stage.edge_named("a", None).await, stage.edge_named("b", None).await);
    assert_eq!(first.welcome.last_outcome, Some(0));
    assert!(first.welcome.instance > 0);
    let change = stage.admin.barrier(stage.keyed(BarrierRequest {})).await.unwrap().into_inner();
    let change = change.change.unwrap();
    let outcome =
        |memory_removed| Outcome { position: change.last, memory_removed, ..Outcome::default() };
    let applied = Report { applied: change.last, ..Report::default() };
    let report = |first_outcome, outcomes| Report { outcomes, first_outcome, ..applied.clone() };
    first.send(report(1, vec![outcome(1), outcome(10)])).await;
    let request = GetReceiptRequest { change_id: change.id.clone() };
    let told = async |stage: &mut Stage, removed: u64| {
        let mut admin = stage.admin.clone();
        let receiving = async {
            loop {
                let answer = admin.get_receipt(stage.keyed(request.clone())).await.unwrap();
                let line = answer.into_inner().receipt.unwrap().nodes[0].clone();
                if line.outcome.is_some_and(|outcome| outcome.memory_removed >= removed) {
                    return line.outcome.unwrap().memory_removed;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, receiving).await.expect("it is told")
    };
    assert_eq!(told(&mut stage, 11).await, 11);
    drop(first);
    let second = stage.edge_named("a", None).await;
    assert_eq!(second.welcome.last_outcome, Some(2));
    second.send(report(2, vec![outcome(10), outcome(100)])).await;
    assert_eq!(told(&mut stage, 111).await, 111);
    // Another start counts anew.
    let later = Register { incarnation: 2, ..register("a", None) };
    let third = stage.register(later).await.unwrap();
    assert_eq!(third.welcome.last_outcome, Some(0));
    assert_eq!(third.welcome.instance, second.welcome.instance);
    third.send(report(1, vec![outcome(1_000)])).await;
    assert_eq!(told(&mut stage, 1_111).await, 1_111);
}
