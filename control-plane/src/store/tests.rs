//! The store keeps its promises.

mod audit;
mod versions;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use wcdn_gossip::frame::SigningKey;
use wcdn_proto::{
    BlobId, ContentId, Purge, Scopes,
    pb::admin::v1::{NodeReceipt, NodeState, Receipt},
};

use super::{
    backup::*,
    follow::Following,
    log::Most,
    prune::Retention,
    stores::{On, on_both},
    *,
};
use crate::{
    api_key::ApiKey,
    auth::{Author, Settings},
    change::{Asked, Recorded, Request},
};

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&[7; 32]))
}

const MOST: Most = Most { blocks: 1_000, pins: 1_000 };

async fn append(store: &Store, asked: Vec<Asked>) -> wcdn_proto::Position {
    let request = |asked| Request { asked, by: Author::program("test"), token: None };
    store
        .append(&key(), MOST, &asked.into_iter().map(request).collect::<Vec<_>>())
        .await
        .unwrap()
        .head
}

fn blob(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

fn asked() -> impl Strategy<Value = Asked> {
    let ids = || proptest::collection::vec((0..6_u8).prop_map(blob), 1..4);
    let contents = move || ids().prop_map(|ids| ids.into_iter().map(ContentId::Blob).collect());
    prop_oneof![
        4 => ids().prop_map(|ids| Asked::ForcedPurge(Purge::Ids(ids))),
        1 => Just(Asked::ForcedPurge(Purge::All)),
        2 => contents().prop_map(|ids| Asked::Block { ids, reason: String::new() }),
        2 => contents().prop_map(Asked::Unblock),
        2 => ids().prop_map(|ids| Asked::Pin { ids, note: String::new() }),
        2 => ids().prop_map(Asked::Unpin),
        1 => Just(Asked::Barrier),
    ]
}

/// Forgets all but this many frames, however young.
async fn keep_only(store: &Store, max_frames: u64) -> u64 {
    let upto = store.beyond(max_frames).await.unwrap();
    store.prune(Retention { before_ms: 0, upto }, turn(store).await).await.unwrap()
}

/// The right to prune.
async fn turn(store: &Store) -> jobs::Fence {
    store.take_job("prune", "test", Duration::ZERO).await.unwrap().unwrap()
}

impl Store {
    /// Does to the file what nobody should.
    pub(crate) async fn run(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.writer).await.unwrap();
    }

    /// Another pool, past the log.
    pub(crate) async fn put_pool(&self, pool: &wcdn_proto::pb::edge::v1::OriginPool) {
        sqlx::query("INSERT INTO pool (one, bytes) VALUES (1, $1)")
            .bind(prost::Message::encode_to_vec(pool))
            .execute(&self.writer)
            .await
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_log_that_forgot_its_beginning_amounts_to_the_same(
        batches in proptest::collection::vec(proptest::collection::vec(asked(), 1..6), 1..8),
        kept in 0..6_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            forgets(On::Sqlite, batches.clone(), kept).await;
            forgets(On::Postgres, batches, kept).await;
        });
    }
}

async fn forgets(on: On, batches: Vec<Vec<Asked>>, kept: u64) {
    let (_fresh, store) = on.store().await;
    let frames = batches.len() as u64;
    for batch in batches {
        append(&store, batch).await;
    }
    let whole = store.fold().await.unwrap();
    let pruned = keep_only(&store, kept).await;
    assert!(pruned <= frames && (kept > 0 || pruned > 0));
    assert!(store.fold().await.unwrap() == whole);
    let next = append(&store, vec![Asked::ForcedPurge(Purge::Ids(vec![blob(1)]))]).await;
    keep_only(&store, 0).await;
    let state = store.fold().await.unwrap();
    assert_eq!(state.position(), next);
    assert_eq!(store.pruned().await.unwrap(), next.seq);
    assert!(state.removed().any(|(_, seq)| seq == next.seq));
    store.close().await;
}

on_both!(
    young_frames_stay_and_old_ones_go,
    a_clock_that_was_set_back_makes_no_hole_in_the_log,
    changes_and_receipts_are_forgotten_with_the_log_and_tokens_work_no_longer,
    frames_are_found_from_the_middle_of_one,
    receipts_of_several_control_planes_name_whom_any_of_them_waited_for,
    what_follows_a_position_is_read_as_it_was_committed,
    a_key_is_known_by_its_hash_alone,
    nodes_are_remembered_with_their_lease_and_since_when_they_are_lost,
);

async fn young_frames_stay_and_old_ones_go(on: On) {
    let (_fresh, store) = on.store().await;
    let head = append(&store, vec![Asked::Barrier]).await;
    let retention = |before_ms| Retention { before_ms, upto: 0 };
    let turn = turn(&store).await;
    assert_eq!(store.prune(retention(now_ms() - 60_000), turn).await.unwrap(), 0);
    assert_eq!(store.frames_after(0).await.unwrap().len(), 1);
    assert_eq!(store.prune(retention(now_ms() + 60_000), turn).await.unwrap(), 1);
    assert!(store.frames_after(0).await.unwrap().is_empty());
    assert_eq!(store.head().await.unwrap(), head);
}

async fn a_clock_that_was_set_back_makes_no_hole_in_the_log(on: On) {
    let (_fresh, store) = on.store().await;
    append(&store, vec![Asked::Barrier]).await;
    append(&store, vec![Asked::Barrier]).await;
    let later = now_ms() + 3_600_000;
    sqlx::query("UPDATE frames SET committed_at_ms = $1 WHERE first_seq = 1")
        .bind(sql(later))
        .execute(&store.writer)
        .await
        .unwrap();
    let retention = |before_ms| Retention { before_ms, upto: 0 };
    let turn = turn(&store).await;
    assert_eq!(store.prune(retention(now_ms() + 60_000), turn).await.unwrap(), 0);
    assert_eq!(store.prune(retention(later + 1), turn).await.unwrap(), 2);
}

async fn changes_and_receipts_are_forgotten_with_the_log_and_tokens_work_no_longer(on: On) {
    let (_fresh, store) = on.store().await;
    let turn = turn(&store).await;
    let request = || Request {
        asked: Asked::Barrier,
        by: Author::program("test"),
        token: Some("once".to_owned()),
    };
    let first = store.append(&key(), MOST, &[request()]).await.unwrap().new.remove(0);
    let receipt = wcdn_proto::pb::admin::v1::Receipt {
        change: Some(first.to_wire()),
        settled: true,
        ..Default::default()
    };
    store.keep_receipts(std::slice::from_ref(&receipt)).await.unwrap();
    let kept = store.change(&first.id).await.unwrap().unwrap();
    assert_eq!(kept, (first.clone(), Some(receipt)));
    assert!(store.unsettled(0, 10).await.unwrap().is_empty());
    store.prune_changes(first.committed_at_ms, now_ms(), turn).await.unwrap();
    assert!(store.append(&key(), MOST, &[request()]).await.unwrap().new.is_empty());
    store.prune_changes(now_ms() + 60_000, now_ms(), turn).await.unwrap();
    assert!(store.change(&first.id).await.unwrap().is_none());
    let second = store.append(&key(), MOST, &[request()]).await.unwrap().new.remove(0);
    assert_eq!(store.unsettled(0, 10).await.unwrap(), [second]);
}

async fn receipts_of_several_control_planes_name_whom_any_of_them_waited_for(on: On) {
    let (_fresh, store) = on.store().await;
    let request = || Request { asked: Asked::Barrier, by: Author::program("test"), token: None };
    let requests: Vec<_> = (0..300).map(|_| request()).collect();
    let changes = store.append(&key(), MOST, &requests).await.unwrap().new;
    let receipts = |lines: &[(&str, NodeState)]| -> Vec<Receipt> {
        let line = |(node, state): &(&str, NodeState)| NodeReceipt {
            node: (*node).to_owned(),
            state: (*state).into(),
            ..Default::default()
        };
        let nodes: Vec<_> = lines.iter().map(line).collect();
        let complete = lines.iter().all(|(_, state)| *state == NodeState::Applied);
        let change = |change: &Recorded| Some(change.to_wire());
        let receipt =
            |it| Receipt { change: change(it), nodes: nodes.clone(), complete, settled: true };
        changes.iter().rev().map(receipt).collect()
    };
    let (one, other) = (("one", NodeState::Applied), ("other", NodeState::Unconfirmed));
    for (kept, names, complete) in [
        (&[one][..], 1, true),
        (&[other], 2, false),
        (&[one], 2, false),
        (&[("other", NodeState::Applied)], 2, true),
        (&[other], 2, true),
    ] {
        store.keep_receipts(&receipts(kept)).await.unwrap();
        for change in changes.iter().step_by(99) {
            let kept = store.change(&change.id).await.unwrap().unwrap().1.unwrap();
            assert_eq!((kept.nodes.len(), kept.complete, kept.settled), (names, complete, true));
        }
    }
    let ids = [changes[0].id.clone(), "chg_never".to_owned()];
    assert_eq!(store.those_there(&ids).await.unwrap(), [ids[0].clone()].into());
}

async fn what_follows_a_position_is_read_as_it_was_committed(on: On) {
    let (_fresh, store) = on.store().await;
    let begin = store.head().await.unwrap();
    assert!(matches!(store.after(begin).await.unwrap(), Following::Nothing));
    append(&store, vec![Asked::Barrier, Asked::Purge(Purge::All)]).await;
    let head = append(&store, vec![Asked::Barrier]).await;
    let Following::More(part) = store.after(Position { seq: 1, ..begin }).await.unwrap() else {
        panic!("nothing follows");
    };
    let lasts: Vec<u64> = part.frames.iter().map(|frame| frame.last().seq).collect();
    let firsts: Vec<u64> = part.changes.iter().map(|(change, _)| change.first.seq).collect();
    assert_eq!((lasts, firsts), (vec![2, 3], vec![2, 3]));
    assert!(part.changes.iter().all(|(_, since)| *since <= tokio::time::Instant::now()));
    assert!(matches!(store.after(head).await.unwrap(), Following::Nothing));
    keep_only(&store, 1).await;
    assert!(matches!(store.after(begin).await.unwrap(), Following::Anew));
    let beyond = Position { seq: 4, ..head };
    assert!(matches!(store.after(beyond).await, Err(StoreError::Replaced)));
    let raised = store.raise_if_replaced(beyond).await.unwrap();
    assert!(raised.epoch > head.epoch);
    assert_eq!(store.raise_if_replaced(beyond).await.unwrap(), raised);
    assert!(matches!(store.after(head).await.unwrap(), Following::Anew));
    // As after a promotion.
    store.run("UPDATE head SET lineage = 'of before'").await;
    let request = Request { asked: Asked::Barrier, by: Author::program("test"), token: None };
    let replaced = store.append(&key(), MOST, &[request]).await;
    assert!(matches!(replaced, Err(StoreError::Replaced)));
    assert!(matches!(store.head().await, Err(StoreError::Replaced)));
    assert!(store.raise_if_replaced(raised).await.unwrap() > raised);
}

async fn frames_are_found_from_the_middle_of_one(on: On) {
    let (_fresh, store) = on.store().await;
    append(&store, vec![Asked::Barrier, Asked::Barrier, Asked::Barrier]).await;
    append(&store, vec![Asked::Barrier]).await;
    let last = |frames: Vec<read::StoredFrame>| -> Vec<u64> {
        frames.iter().map(|frame| frame.last_seq).collect()
    };
    assert_eq!(last(store.frames_after(0).await.unwrap()), [3, 4]);
    assert_eq!(last(store.frames_after(1).await.unwrap()), [3, 4]);
    assert_eq!(last(store.frames_after(3).await.unwrap()), [4]);
    assert!(store.frames_after(4).await.unwrap().is_empty());
    assert!(store.frames_after(u64::MAX).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restored_copy_begins_a_log_above_both() {
    let (fresh, store) = On::Sqlite.store().await;
    let path = fresh.path();
    let copy = fresh.folder.path().join("copy.db");
    let block = Asked::Block { ids: vec![ContentId::Blob(blob(1))], reason: String::new() };
    append(&store, vec![block]).await;
    backup(&path, &copy).await.unwrap();
    let present = store.raise_epoch(now_ms() + 3_600_000).await.unwrap();
    append(&store, vec![Asked::Barrier]).await;
    store.close().await;
    let replaced = restore(&copy, &path).await.unwrap().unwrap();
    let restored = Store::open(&Place::File(path.clone())).await.unwrap();
    let head = restored.head().await.unwrap();
    assert_eq!(head, wcdn_proto::Position { epoch: present.epoch + 1, seq: 0 });
    assert_eq!(restored.list_blocks(&[], 10).await.unwrap().len(), 1);
    assert!(restored.frames_after(0).await.unwrap().is_empty());
    let before = Store::open(&Place::File(replaced)).await.unwrap();
    assert_eq!(before.head().await.unwrap(), wcdn_proto::Position { seq: 1, ..present });
}

#[tokio::test]
async fn a_copy_replaces_no_file_and_no_store_that_is_in_use() {
    let (fresh, _store) = On::Sqlite.store().await;
    let path = fresh.path();
    let copy = fresh.folder.path().join("copy.db");
    backup(&path, &copy).await.unwrap();
    assert!(matches!(backup(&path, &copy).await, Err(StoreError::File { .. })));
    let claim = Claim::take(&path).unwrap();
    assert!(matches!(restore(&copy, &path).await, Err(StoreError::Claimed { .. })));
    drop(claim);
    restore(&copy, &path).await.unwrap();
    let none = fresh.folder.path().join("none.db");
    assert!(matches!(restore(&none, &path).await, Err(StoreError::File { .. })));
    assert!(matches!(backup(&none, &copy).await, Err(StoreError::File { .. })));
}

#[tokio::test]
async fn a_copy_replaces_a_store_that_is_damaged() {
    let (fresh, store) = On::Sqlite.store().await;
    let before = append(&store, vec![Asked::Barrier]).await;
    let (copy, path) = (fresh.folder.path().join("copy.db"), fresh.folder.path().join("b.db"));
    backup(&fresh.path(), &copy).await.unwrap();
    let damaged = "this is not a database, and it is long enough to be sure of that";
    std::fs::write(&path, damaged).unwrap();
    let replaced = restore(&copy, &path).await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(replaced).unwrap(), damaged);
    let head = Store::open(&Place::File(path.clone())).await.unwrap().head().await.unwrap();
    assert!(head.epoch > before.epoch);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    std::fs::write(&path, "this is not a database, and it is long enough to be sure of that")
        .unwrap();
    let refused = Store::open(&Place::File(path.clone())).await.unwrap_err();
    assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
}

async fn a_key_is_known_by_its_hash_alone(on: On) {
    let (_fresh, store) = on.store().await;
    assert!(!store.has_keys().await.unwrap());
    let key = ApiKey::generate();
    assert!(store.add_key("ci", &key, Scopes::ALL, &Author::program("test")).await.unwrap());
    assert!(
        !store
            .add_key("ci", &ApiKey::generate(), Scopes::ALL, &Author::program("test"))
            .await
            .unwrap()
    );
    let pepper = store.pepper().await.unwrap();
    let found = store.presented(&pepper.hash(key.expose())).await.unwrap().unwrap();
    assert_eq!((found.key.name.as_str(), found.until_ms), ("ci", None));
    assert_eq!(found.key.settings, Settings::unrestricted());
    let other = pepper.hash(ApiKey::generate().expose());
    assert!(store.presented(&other).await.unwrap().is_none());
    let (_other, other_store) = on.store().await;
    let foreign = other_store.pepper().await.unwrap().hash(key.expose());
    assert!(store.presented(&foreign).await.unwrap().is_none());
}

async fn nodes_are_remembered_with_their_lease_and_since_when_they_are_lost(on: On) {
    let (_fresh, store) = on.store().await;
    let who = |n: u16| crate::tracker::Registered {
        node: format!("n{n:04}").parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        incarnation: u64::MAX,
        version: "1".to_owned(),
        edge_url: "http://a".to_owned(),
        strict: n.is_multiple_of(2),
        lease: Duration::from_secs(n.into()),
    };
    let applied = wcdn_proto::Position { epoch: 3, seq: 4 };
    // More than one statement takes.
    let all: Vec<_> = (0..1_500).map(|n| (who(n), applied)).collect();
    store.remember(&all, &[]).await.unwrap();
    store.remember(&all[..2], &[who(1).node, who(1_499).node]).await.unwrap();
    let known = store.nodes().await.unwrap();
    assert_eq!((known.len(), &known[0].who, known[0].applied), (1_500, &who(0), applied));
    let lost: Vec<_> = known.iter().filter(|it| it.lost_ago.is_some()).collect();
    assert_eq!(lost.iter().map(|it| &it.who).collect::<Vec<_>>(), [&who(1), &who(1_499)]);
    assert!(lost[0].lost_ago.unwrap() < Duration::from_secs(60));
    store.remember(&all[1..2], &[]).await.unwrap();
    let known = store.nodes().await.unwrap();
    assert_eq!(known.iter().filter(|it| it.lost_ago.is_some()).count(), 1, "one is back");
}
