//! Preloads, as operators and edges see them.

use tonic::Code;
use wcdn_proto::pb::{
    admin::v1::{PreloadJob, PreloadRequest, WatchPreloadRequest},
    edge::v1::{Preload, Preloaded, Report, session_response::Kind as Down},
};

use crate::stage::{FakeEdge, Stage, all, blob, reason};

async fn begin(stage: &mut Stage, ids: Vec<String>) -> PreloadJob {
    let request = PreloadRequest { ids, ..PreloadRequest::default() };
    stage.admin.preload(stage.keyed(request)).await.unwrap().into_inner().job.unwrap()
}

async fn piece(edge: &mut FakeEdge) -> Preload {
    loop {
        if let Some(Down::Preload(piece)) = edge.next().await.unwrap().kind {
            return piece;
        }
    }
}

async fn tell(edge: &FakeEdge, piece: &Preload, failure: &str) {
    let outcome = |id: &bytes::Bytes| Preloaded {
        job: piece.job,
        id: id.clone(),
        length: 7,
        failure: failure.to_owned(),
    };
    let preloads = piece.ids.iter().map(outcome).collect();
    edge.send(Report { preloads, ..Report::default() }).await;
}

#[tokio::test]
async fn nodes_share_what_is_to_be_preloaded_and_its_end_is_told() {
    let mut stage = Stage::begin().await;
    let (mut a, mut b) = (stage.edge_named("a", None).await, stage.edge_named("b", None).await);
    let job = begin(&mut stage, vec![blob(1), blob(2)]).await;
    assert_eq!((job.settled, job.regions[0].wanted), (false, 2));
    let request = WatchPreloadRequest { job_id: job.id };
    let watch = stage.admin.watch_preload(stage.keyed(request)).await.unwrap().into_inner();
    let (first, second) = (piece(&mut a).await, piece(&mut b).await);
    assert_eq!((first.ids.len(), second.ids.len()), (1, 1));
    tell(&a, &first, "").await;
    tell(&b, &second, "no origin has the blob").await;
    let last = all(watch).await.unwrap().pop().unwrap().job.unwrap();
    let region = &last.regions[0];
    assert_eq!((region.done, region.failed, region.bytes, last.settled), (1, 1, 7, true));
    assert_eq!(last.failures[0].reason, "b: no origin has the blob");
}

#[tokio::test]
async fn what_a_node_leaves_undone_another_does() {
    let mut stage = Stage::begin().await;
    let mut a = stage.edge_named("a", None).await;
    let job = begin(&mut stage, (1..4).map(blob).collect()).await;
    let taken = piece(&mut a).await;
    assert_eq!(taken.ids.len(), 3);
    let FakeEdge { up, .. } = a;
    drop(up);
    let mut b = stage.edge_named("b", None).await;
    let again = piece(&mut b).await;
    assert_eq!(again.ids.len(), 3);
    tell(&b, &again, "").await;
    let request = WatchPreloadRequest { job_id: job.id };
    let watch = stage.admin.watch_preload(stage.keyed(request)).await.unwrap().into_inner();
    let last = all(watch).await.unwrap().pop().unwrap().job.unwrap();
    assert_eq!((last.settled, last.regions[0].done), (true, 3));
}

#[tokio::test]
async fn a_preload_that_nobody_could_do_or_that_is_unknown_is_refused() {
    let mut stage = Stage::begin().await;
    let request = PreloadRequest { ids: vec![blob(1)], ..PreloadRequest::default() };
    let refused = stage.admin.preload(stage.keyed(request.clone())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "NO_NODES".into()));
    let _edge = stage.edge_named("a", None).await;
    let elsewhere = PreloadRequest { regions: vec!["mars".to_owned()], ..request.clone() };
    let refused = stage.admin.preload(stage.keyed(elsewhere)).await.unwrap_err();
    assert!(refused.message().contains("region mars"), "{refused:?}");
    let wrong = PreloadRequest { regions: vec!["No Name".to_owned()], ..request };
    let refused = stage.admin.preload(stage.keyed(wrong)).await.unwrap_err();
    assert!(refused.message().contains("regions[0]"), "{refused:?}");
    let unknown = WatchPreloadRequest { job_id: "pre_1".to_owned() };
    let refused = stage.admin.watch_preload(stage.keyed(unknown)).await.unwrap_err();
    assert_eq!(reason(&refused), "PRELOAD_UNKNOWN");
}
