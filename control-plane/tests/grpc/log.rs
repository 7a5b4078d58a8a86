//! The log, as it can be read, and what happens when it is another one.

use bytes::Bytes;
use tonic::Code;
use wcdn_control_plane::commands;
use wcdn_gossip::frame::{Frame, IssuerKeys, SigningKey};
use wcdn_proto::{
    BlobId, ContentId, Events, REMOVAL_SLOTS,
    pb::{
        admin::v1::{
            BarrierRequest, BlockRequest, GetStatusRequest, ListBlocksRequest, PurgeRequest,
            TailEventsRequest, UnblockRequest,
        },
        edge::v1::{GetSnapshotRequest, Register, ReplayRequest, get_snapshot_response::Part},
        event::v1::{Position, event::Change},
    },
    removal_slot,
};

use crate::stage::{Stage, all, blob, next, reason, register};

async fn barrier(stage: &mut Stage) -> Position {
    let answer = stage.admin.barrier(stage.keyed(BarrierRequest {})).await.unwrap();
    answer.into_inner().change.unwrap().last.unwrap()
}

pub(crate) async fn encoded(stage: &mut Stage, after: Position) -> Vec<Bytes> {
    let request = stage.as_edge(ReplayRequest { after: Some(after) });
    let parts = all(stage.edge.replay(request).await.unwrap().into_inner()).await.unwrap();
    parts.into_iter().flat_map(|part| part.frames).collect()
}

async fn replay(stage: &mut Stage, after: Position) -> Vec<Events> {
    let keys = IssuerKeys::new(vec![stage.plane.issuer_key()]);
    let frames = encoded(stage, after).await.into_iter();
    frames.map(|frame| Frame::open(frame, &keys).unwrap().events().clone()).collect()
}

async fn epoch(stage: &mut Stage) -> u64 {
    let status = stage.admin.get_status(stage.keyed(GetStatusRequest {})).await.unwrap();
    status.into_inner().head.unwrap().epoch
}

#[tokio::test]
async fn frames_can_be_read_again_and_are_signed() {
    let mut stage = Stage::begin().await;
    let first = barrier(&mut stage).await;
    let second = barrier(&mut stage).await;
    let seqs = |frames: Vec<Events>| -> Vec<u64> { frames.iter().map(|it| it.first.seq).collect() };
    assert_eq!(seqs(replay(&mut stage, Position { seq: 0, ..first }).await), [1, 2]);
    assert_eq!(seqs(replay(&mut stage, first).await), [2]);
    assert!(replay(&mut stage, second).await.is_empty());
    for elsewhere in [
        Position { epoch: first.epoch - 1, seq: 1 },
        Position { seq: 3, ..first },
        Position { epoch: 0, seq: 0 },
        Position { seq: u64::MAX, ..first },
    ] {
        let request = stage.as_edge(ReplayRequest { after: Some(elsewhere) });
        let refused = stage.edge.replay(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::OutOfRange, "LOG_TRUNCATED".into()));
    }
}

#[tokio::test]
async fn a_hundred_thousand_ids_go_out_and_come_back_in_parts() {
    let mut stage = Stage::begin().await;
    let id = |n: u32| BlobId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes());
    let ids: Vec<_> = (0..100_000).map(|n| id(n).to_string()).collect();
    let request = stage.keyed(PurgeRequest { ids, ..Default::default() });
    let change = stage.admin.purge(request).await.unwrap().into_inner().change.unwrap();
    assert_eq!(change.ids, 100_000);
    let frames = replay(&mut stage, Position { seq: 0, ..change.first.unwrap() }).await;
    assert_eq!(frames.last().unwrap().last().seq, change.last.unwrap().seq);
}

#[tokio::test]
async fn what_was_pruned_cannot_be_replayed_and_is_in_the_snapshot() {
    let mut stage = Stage::with(|config| config.log.max_frames = 1_024).await;
    let id = |n: u32| BlobId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes());
    let ids: Vec<_> = (0..30_000).map(|n| id(n).to_string()).collect();
    let request = stage.keyed(PurgeRequest { ids, ..Default::default() });
    let change = stage.admin.purge(request).await.unwrap().into_inner().change.unwrap();
    let begin = Position { seq: 0, ..change.first.unwrap() };
    // Old frames go when it starts, and each minute.
    let mut stage = stage.restart(|_| {}).await;
    let floor = pruned(&mut stage).await;
    assert_eq!(floor, change.last.unwrap().seq - 1_024 + 1);
    let request = stage.as_edge(ReplayRequest { after: Some(begin) });
    let refused = stage.edge.replay(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::OutOfRange, "LOG_TRUNCATED".into()));
    let first = replay(&mut stage, Position { seq: floor - 1, ..begin }).await[0].first.seq;
    assert_eq!(first, floor);
    let request = stage.as_edge(GetSnapshotRequest {});
    let parts = all(stage.edge.get_snapshot(request).await.unwrap().into_inner()).await.unwrap();
    let slots = parts.into_iter().filter_map(|part| match part.part {
        Some(Part::Removed(removed)) => Some(removed.slots),
        _ => None,
    });
    let told: std::collections::BTreeSet<u32> = slots.flatten().collect();
    assert_eq!(told, (0..30_000).map(|n| removal_slot(&id(n))).collect());
}

/// The floor, once there is one; it is asked for as fast as it is answered.
async fn pruned(stage: &mut Stage) -> u64 {
    let look = async {
        loop {
            let request = stage.keyed(GetStatusRequest {});
            let floor = stage.admin.get_status(request).await.unwrap().into_inner().floor_seq;
            if floor > 1 {
                return floor;
            }
        }
    };
    let within = std::time::Duration::from_secs(20);
    tokio::time::timeout(within, look).await.expect("old frames go")
}

#[tokio::test]
async fn a_snapshot_has_what_was_removed_and_what_is_withheld() {
    let mut stage = Stage::begin().await;
    let purge = PurgeRequest { ids: vec![blob(1)], ..Default::default() };
    stage.admin.purge(stage.keyed(purge)).await.unwrap();
    stage.admin.purge(stage.keyed(PurgeRequest { all: true, ..Default::default() })).await.unwrap();
    let block = BlockRequest { ids: vec![blob(2), blob(3)], ..Default::default() };
    stage.admin.block(stage.keyed(block)).await.unwrap();
    let unblock = UnblockRequest { ids: vec![blob(3)], ..Default::default() };
    stage.admin.unblock(stage.keyed(unblock)).await.unwrap();
    // The same after a restart, when it comes from the file.
    let mut stage = stage.restart(|_| {}).await;
    let request = stage.as_edge(GetSnapshotRequest {});
    let parts = all(stage.edge.get_snapshot(request).await.unwrap().into_inner()).await.unwrap();
    let mut parts = parts.into_iter().map(|part| part.part.unwrap());
    let Some(Part::Head(head)) = parts.next() else { panic!("no head") };
    assert_eq!((head.position.unwrap().seq, head.floor_seq, head.slots), (4, 2, REMOVAL_SLOTS));
    let Some(Part::Removed(removed)) = parts.next() else { panic!("nothing removed") };
    let slot = removal_slot(&BlobId::from_bytes([1; 32]));
    assert_eq!((removed.slots, removed.seqs), (vec![slot], vec![1]));
    let Some(Part::Blocked(blocked)) = parts.next() else { panic!("nothing withheld") };
    let content = ContentId::Blob(BlobId::from_bytes([2; 32]));
    assert_eq!(blocked.ids, [content.to_vec()]);
    assert!(parts.next().is_none());
}

#[tokio::test]
async fn the_tail_tells_what_was_and_then_what_comes() {
    let mut stage = Stage::begin().await;
    let first = barrier(&mut stage).await;
    let purge = PurgeRequest { ids: vec![blob(1)], ..Default::default() };
    stage.admin.purge(stage.keyed(purge)).await.unwrap();
    let request = stage.keyed(TailEventsRequest { after: Some(first), follow: true });
    let mut tail = stage.admin.tail_events(request).await.unwrap().into_inner();
    let told = next(&mut tail).await.unwrap();
    assert_eq!(told.position.unwrap().seq, 2);
    let Some(Change::Purge(purged)) = told.event.unwrap().change else { panic!("no purge") };
    assert_eq!(purged.ids[0].as_ref(), [1; 32]);
    barrier(&mut stage).await;
    assert_eq!(next(&mut tail).await.unwrap().position.unwrap().seq, 3);
    let whole = stage.keyed(TailEventsRequest { after: Some(Position::default()), follow: false });
    let whole = all(stage.admin.tail_events(whole).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(whole.len(), 3);
}

#[tokio::test]
async fn what_is_withheld_is_listed_in_pages() {
    let mut stage = Stage::begin().await;
    let ids = (1..=5).map(blob).collect();
    let block = BlockRequest { ids, reason: "a court said so".into(), ..Default::default() };
    stage.admin.block(stage.keyed(block)).await.unwrap();
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = stage.keyed(ListBlocksRequest { page_size: 2, page_token });
        let page = stage.admin.list_blocks(page).await.unwrap().into_inner();
        assert!(page.blocks.len() <= 2);
        listed.extend(page.blocks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        listed.iter().map(|it| it.id.clone()).collect::<Vec<_>>(),
        (1..=5).map(blob).collect::<Vec<_>>()
    );
    assert_eq!((listed[0].reason.as_str(), listed[0].by.as_str()), ("a court said so", "first"));
    let wrong = stage.keyed(ListBlocksRequest { page_size: 2, page_token: "!".into() });
    assert_eq!(stage.admin.list_blocks(wrong).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn positions_go_on_without_a_gap_after_a_restart() {
    let mut stage = Stage::begin().await;
    let before = barrier(&mut stage).await;
    let mut stage = stage.restart(|_| {}).await;
    let after = barrier(&mut stage).await;
    assert_eq!(after, Position { seq: before.seq + 1, ..before });
}

#[tokio::test]
async fn a_restored_copy_begins_a_new_log() {
    let mut stage = Stage::begin().await;
    let copy = stage.folder.path().join("copy.db");
    barrier(&mut stage).await;
    commands::backup(&stage.config.store, &copy).await.unwrap();
    let before = barrier(&mut stage).await;
    assert!(commands::restore(&copy, &stage.config.store).await.is_err(), "it is in use");
    let (folder, config, key) = stage.stop().await;
    commands::restore(&copy, &config.store).await.unwrap();
    let mut stage = Stage::resume(folder, config, key).await;
    let after = barrier(&mut stage).await;
    assert!(after.epoch > before.epoch);
    assert_eq!(after.seq, 1);
}

/// A control plane on an older copy of its store, the last event of the newer one, and its frame.
async fn put_back() -> (Stage, Position, Bytes) {
    let mut stage = Stage::begin().await;
    let copy = stage.folder.path().join("copy.db");
    let kept = barrier(&mut stage).await;
    commands::backup(&stage.config.store, &copy).await.unwrap();
    let applied = barrier(&mut stage).await;
    let newest = encoded(&mut stage, kept).await.remove(0);
    let stage = stage
        .restart(|store| {
            for suffix in ["-wal", "-shm"] {
                drop(std::fs::remove_file(format!("{}{suffix}", store.display())));
            }
            std::fs::copy(&copy, store).unwrap();
        })
        .await;
    (stage, applied, newest)
}

#[tokio::test]
async fn an_older_file_that_was_put_back_by_hand_is_noticed_and_a_new_log_begins() {
    let (mut stage, applied, proof) = put_back().await;
    let mut early = stage.edge_named("early", Some(Position { seq: 1, ..applied })).await;
    assert_eq!(epoch(&mut stage).await, applied.epoch, "nothing is known yet");
    // It has not applied what it holds, which proves as much.
    let late = Position { seq: 1, ..applied };
    let late = Register { proof, ..register("late", Some(late)) };
    let edge = stage.register(late).await.unwrap();
    assert!(edge.welcome.head.unwrap().epoch > applied.epoch);
    let ended = loop {
        // It may be told the new head before.
        if let Err(ended) = early.next().await {
            break ended;
        }
    };
    assert_eq!(reason(&ended), "EPOCH_RAISED");
    let next = barrier(&mut stage).await;
    assert_eq!((next.epoch, next.seq), (epoch(&mut stage).await, 1));
}

#[tokio::test]
async fn an_edge_that_only_claims_to_be_ahead_changes_nothing_and_is_refused() {
    let (mut stage, applied, proof) = put_back().await;
    let forged = Frame::pack(
        &SigningKey::from_seed(&[7; 32]),
        wcdn_proto::Position { epoch: applied.epoch, seq: 9 },
        0,
        vec![wcdn_proto::Change::Barrier],
    );
    let mut damaged = proof.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let old = encoded(&mut stage, Position { seq: 0, ..applied }).await.remove(0);
    for proof in [Bytes::new(), forged[0].encoded().clone(), damaged.into(), old] {
        let claim = Register { proof, ..register("thief", Some(applied)) };
        let Err(refused) = stage.register(claim).await else { panic!("accepted") };
        let expected = (Code::FailedPrecondition, "POSITION_UNPROVEN".to_owned());
        assert_eq!((refused.code(), reason(&refused)), expected);
    }
    let mut quiet = stage.edge_named("quiet", None).await;
    quiet.report(&Some(Position { epoch: u64::MAX, seq: 1 }), vec![]).await;
    assert_eq!(reason(&quiet.next().await.unwrap_err()), "POSITION_UNPROVEN");
    assert_eq!(epoch(&mut stage).await, applied.epoch);
}
