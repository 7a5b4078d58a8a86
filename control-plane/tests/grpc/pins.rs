//! Pins, as operators see them.

use tonic::Code;
use wcdn_proto::{
    BlobId, QuiltPatchId,
    pb::{
        admin::v1::{
            ListPinsRequest, PinRequest, PinStanding, PinState as State, PinnedId, PurgeRequest,
            UnpinRequest, WatchPinsRequest, WatchPinsResponse,
        },
        edge::v1::{GetSnapshotRequest, Keeping, PinState, get_snapshot_response::Part},
    },
};

use crate::stage::{FakeEdge, Stage, all, blob, next, reason};

async fn pin(stage: &mut Stage, ids: Vec<String>, note: &str) {
    let request = PinRequest { ids, note: note.to_owned(), ..PinRequest::default() };
    let change = stage.admin.pin(stage.keyed(request)).await.unwrap().into_inner().change.unwrap();
    assert_eq!(change.kind, "pin");
}

async fn list(stage: &mut Stage, request: ListPinsRequest) -> (Vec<PinnedId>, String) {
    let listed = stage.admin.list_pins(stage.keyed(request)).await.unwrap().into_inner();
    (listed.pins, listed.next_page_token)
}

async fn standing(stage: &mut Stage, n: u8) -> PinStanding {
    let (pins, _) = list(stage, ListPinsRequest::default()).await;
    pins.into_iter().find(|pin| pin.id == blob(n)).unwrap().standing.unwrap()
}

fn state(n: u8, keeping: Keeping, reason: &str) -> PinState {
    let id = vec![n; 32].into();
    PinState { id, keeping: keeping.into(), reason: reason.to_owned() }
}

async fn purge(stage: &mut Stage, request: PurgeRequest) -> Result<(), tonic::Status> {
    stage.admin.purge(stage.keyed(request)).await.map(|_| ())
}

#[tokio::test]
async fn what_is_pinned_is_listed_until_it_is_unpinned_and_through_restarts() {
    let mut stage = Stage::begin().await;
    let file = QuiltPatchId::new(BlobId::from_bytes([3; 32]), 1, 2).unwrap();
    pin(&mut stage, vec![blob(1), blob(2), file.to_string()], "front page").await;
    let mut stage = stage.restart(|_| {}).await;
    let pages = ListPinsRequest { page_size: 2, ..ListPinsRequest::default() };
    let (first, token) = list(&mut stage, pages.clone()).await;
    assert_eq!(first.len(), 2);
    assert_eq!((first[0].note.as_str(), first[0].by.as_str()), ("front page", "first"));
    assert!(first[0].pinned_at_ms > 0);
    assert_eq!(first[0].standing.as_ref().unwrap().state(), State::Requested);
    let (second, token) = list(&mut stage, ListPinsRequest { page_token: token, ..pages }).await;
    let mut ids: Vec<_> = first.into_iter().chain(second).map(|pin| pin.id).collect();
    ids.sort();
    let mut expected = [blob(1), blob(2), blob(3)];
    expected.sort();
    assert_eq!(
        (ids.as_slice(), token.as_str()),
        (&expected[..], ""),
        "a file stands for its quilt"
    );
    let request = UnpinRequest { ids: vec![blob(1), blob(3)], ..UnpinRequest::default() };
    stage.admin.unpin(stage.keyed(request)).await.unwrap();
    let (left, _) = list(&mut stage, ListPinsRequest::default()).await;
    assert_eq!(left.into_iter().map(|pin| pin.id).collect::<Vec<_>>(), [blob(2)]);
}

#[tokio::test]
async fn what_is_pinned_is_not_purged_without_force_and_then_stays_pinned() {
    let mut stage = Stage::begin().await;
    pin(&mut stage, (1..6).map(blob).collect(), "").await;
    let ids = |ids: &[u8]| ids.iter().map(|n| blob(*n)).collect();
    let some = PurgeRequest { ids: ids(&[4, 9]), ..PurgeRequest::default() };
    let refused = purge(&mut stage, some.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "PINNED".into()));
    let told = format!("1 of the blobs are pinned: {}; unpin", blob(4));
    assert!(refused.message().contains(&told), "{refused:?}");
    let all = PurgeRequest { all: true, ..PurgeRequest::default() };
    let refused = purge(&mut stage, all.clone()).await.unwrap_err();
    assert!(refused.message().contains(", and 2 more; unpin"), "{refused:?}");
    purge(&mut stage, PurgeRequest { ids: ids(&[9]), ..PurgeRequest::default() }).await.unwrap();
    purge(&mut stage, PurgeRequest { force: true, ..some }).await.unwrap();
    purge(&mut stage, PurgeRequest { force: true, ..all }).await.unwrap();
    assert_eq!(list(&mut stage, ListPinsRequest::default()).await.0.len(), 5);
}

#[tokio::test]
async fn no_more_blobs_are_pinned_than_there_is_room_for() {
    let mut stage = Stage::with(|config| config.limits.max_pins = 2).await;
    pin(&mut stage, vec![blob(1), blob(2)], "").await;
    pin(&mut stage, vec![blob(1), blob(2)], "again").await;
    let request = PinRequest { ids: vec![blob(3)], ..PinRequest::default() };
    let refused = stage.admin.pin(stage.keyed(request)).await.unwrap_err();
    let full = (Code::ResourceExhausted, "TOO_MANY_PINS".to_owned());
    assert_eq!((refused.code(), reason(&refused)), full);
}

#[tokio::test]
async fn a_snapshot_tells_what_is_pinned() {
    let mut stage = Stage::begin().await;
    pin(&mut stage, vec![blob(1)], "").await;
    let snapshot = stage.edge.get_snapshot(stage.as_edge(GetSnapshotRequest {})).await.unwrap();
    let parts = all(snapshot.into_inner()).await.unwrap();
    let pinned = parts.into_iter().filter_map(|part| match part.part {
        Some(Part::Pinned(pinned)) => Some(pinned.ids),
        _ => None,
    });
    assert_eq!(pinned.flatten().collect::<Vec<_>>(), [vec![1; 32]]);
}

/// The next message in which as many are held.
async fn held(stream: &mut tonic::Streaming<WatchPinsResponse>, count: u32) -> WatchPinsResponse {
    loop {
        let told = next(stream).await.unwrap();
        if told.held == count {
            return told;
        }
    }
}

#[tokio::test]
async fn a_pin_is_watched_until_every_node_holds_it_or_says_why_not() {
    let mut stage = Stage::begin().await;
    let (a, b) = (stage.edge_named("a", None).await, stage.edge_named("b", None).await);
    pin(&mut stage, vec![blob(1), blob(2), blob(3)], "").await;
    let ids = vec![blob(1), blob(2), blob(3), blob(9)];
    let watch = stage.admin.watch_pins(stage.keyed(WatchPinsRequest { ids })).await.unwrap();
    let mut watch = watch.into_inner();
    let first = next(&mut watch).await.unwrap();
    assert_eq!((first.requested, first.unpinned), (3, 1));
    a.keeps(true, (1..4).map(|n| state(n, Keeping::Held, "")).collect()).await;
    let states = vec![
        state(1, Keeping::Held, ""),
        state(2, Keeping::OverBudget, "64 MiB are full"),
        state(3, Keeping::Filling, ""),
    ];
    b.keeps(true, states).await;
    let told = held(&mut watch, 1).await;
    assert_eq!((told.over_budget, told.filling + told.requested), (1, 1));
    let troubled = told.troubled[0].standing.clone().unwrap();
    assert_eq!(
        (told.troubled[0].id.clone(), troubled.reason),
        (blob(2), "b: 64 MiB are full".into())
    );
    b.keeps(false, vec![state(3, Keeping::Held, "")]).await;
    held(&mut watch, 2).await;
    assert_eq!(watch.message().await.unwrap(), None, "nothing more is to be expected");
    let over = ListPinsRequest { state: State::OverBudget.into(), ..ListPinsRequest::default() };
    let (over, _) = list(&mut stage, over).await;
    assert_eq!(over.into_iter().map(|pin| pin.id).collect::<Vec<_>>(), [blob(2)]);
}

async fn degraded(stage: &mut Stage, why: &str) -> PinStanding {
    loop {
        let standing = standing(stage, 1).await;
        if standing.state() == State::Degraded {
            return standing;
        }
        assert_ne!(standing.state(), State::Requested, "{why}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pin_whose_holder_is_gone_is_degraded() {
    let mut stage = Stage::with(|config| {
        config.receipts.lost_after = "300ms".parse().unwrap();
        config.receipts.lease = "200ms".parse().unwrap();
    })
    .await;
    let (a, b) = (stage.edge_named("a", None).await, stage.edge_named("b", None).await);
    pin(&mut stage, vec![blob(1)], "").await;
    for edge in [&a, &b] {
        edge.keeps(true, vec![state(1, Keeping::Held, "")]).await;
    }
    while standing(&mut stage, 1).await.state() != State::Held {}
    let _joins = stage.edge_named("c", None).await;
    let FakeEdge { up, .. } = a;
    drop(up);
    let standing = degraded(&mut stage, "one still holds it").await;
    assert_eq!((standing.held, standing.expected), (1, 2));
}

#[tokio::test]
async fn a_report_of_pins_that_makes_no_sense_ends_the_session() {
    let mut stage = Stage::begin().await;
    let mut edge = stage.edge_named("a", None).await;
    let wrong = PinState { id: vec![1; 31].into(), ..PinState::default() };
    edge.keeps(true, vec![wrong]).await;
    let refused = edge.next().await.unwrap_err();
    assert!(refused.message().contains("report.pins.states[0].id"), "{refused:?}");
    let mut edge = stage.edge_named("b", None).await;
    edge.keeps(true, vec![state(1, Keeping::Held, ""); 4_097]).await;
    let refused = edge.next().await.unwrap_err();
    assert!(refused.message().contains("report.pins.states has 4097 entries"), "{refused:?}");
}
