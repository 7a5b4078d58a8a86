mod race;
mod scene;

use wcdn_proto::QuiltPatchId;

use self::scene::{LEASE, Scene, at, events, id};
use super::*;
use crate::{
    cache::{Lookup, entry::Part},
    events::{Follows, disk::Disk},
};

fn purge(ids: &[BlobId]) -> Change {
    Change::Purge(Purge::Ids(ids.to_vec()))
}

#[tokio::test]
async fn a_purge_takes_every_part_of_a_blob_and_nothing_of_others() {
    let scene = Scene::new().await;
    for part in [Part::Whole, Part::Slice(3), Part::Patch { start: 1, end: 2 }] {
        scene.admit(id(1), part, at(1, 5));
    }
    scene.admit(id(2), Part::Whole, at(1, 5));
    scene.applier.apply(&events(at(1, 6), vec![purge(&[id(1)])]));
    assert_eq!(scene.cache.memory().snapshot().count(), 1);
    assert!(matches!(scene.lookup(id(2), Part::Whole), Lookup::Hit(_)));
    let told = scene.outcomes.after(0, 10).outcomes;
    assert_eq!((told.len(), told[0].memory_removed), (1, 3));
    assert_eq!(told[0].read_back(), wcdn_proto::pb::edge::v1::ReadBack::Clean);
    scene.admit(id(1), Part::Whole, at(1, 5));
    assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Miss), "it came too late");
    scene.admit(id(1), Part::Whole, at(1, 6));
    assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Hit(_)));
}

#[tokio::test]
async fn what_is_read_back_is_every_part_of_a_blob() {
    let scene = Scene::new().await;
    for (seq, part) in (1..).zip([Part::Probe, Part::Slice(3), Part::Patch { start: 1, end: 2 }]) {
        scene.admit(id(1), part, at(1, seq));
        assert!(!scene.cache.still_holds(&id(1)));
        // The fence alone, so that it is still there.
        scene.log.removed.remove(&[id(1)], at(1, seq + 1));
        assert!(scene.cache.still_holds(&id(1)) && scene.cache.still_holds_any(), "{part:?}");
        assert_eq!(scene.cache.remove_all_of(&id(1)), 1);
        assert!(!scene.cache.still_holds(&id(1)) && !scene.cache.still_holds_any(), "{part:?}");
    }
}

#[tokio::test]
async fn events_that_come_twice_or_late_change_nothing_more() {
    let scene = Scene::new().await;
    let first =
        events(at(1, 6), vec![purge(&[id(1)]), Change::Block(vec![ContentId::Blob(id(2))])]);
    let second = events(at(1, 8), vec![Change::Unblock(vec![ContentId::Blob(id(2))])]);
    scene.applier.apply(&second);
    scene.applier.apply(&first);
    scene.log.positions.advance(at(1, 8));
    scene.log.blocked.forget_ends(at(1, 8));
    scene.applier.apply(&first);
    assert!(!scene.log.withholds(&ContentId::Blob(id(2))));
    assert_eq!(scene.outcomes.after(0, 10).outcomes.len(), 3);
    assert_eq!(scene.log.positions.known(), at(1, 8));
}

#[tokio::test]
async fn a_change_that_is_not_known_is_a_purge_of_everything_unless_it_may_be_ignored() {
    for (is_ignorable, left) in [(true, 1), (false, 0)] {
        let scene = Scene::new().await;
        scene.admit(id(1), Part::Whole, at(1, 5));
        scene.applier.apply(&events(at(1, 6), vec![Change::Unknown { is_ignorable }]));
        let hits = matches!(scene.lookup(id(1), Part::Whole), Lookup::Hit(_));
        assert_eq!(u8::from(hits), left);
    }
}

#[tokio::test]
async fn a_new_log_proves_nothing_that_was_fetched_under_the_old_and_keeps_its_blocks() {
    let scene = Scene::new().await;
    let block = Change::Block(vec![ContentId::Blob(id(9))]);
    scene.applier.apply(&events(at(1, 6), vec![block]));
    scene.admit(id(1), Part::Whole, at(1, 6));
    scene.applier.apply(&events(at(2, 4), vec![Change::Barrier]));
    assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Miss));
    assert!(scene.log.withholds(&ContentId::Blob(id(9))));
    scene.applier.apply(&events(at(1, 7), vec![Change::Unblock(vec![ContentId::Blob(id(9))])]));
    assert!(scene.log.withholds(&ContentId::Blob(id(9))), "the old log is over");
    scene.admit(id(1), Part::Whole, at(2, 4));
    assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Hit(_)));
}

#[tokio::test]
async fn a_snapshot_says_what_is_removed_and_withheld_and_lets_a_node_begin() {
    let scene = Scene::following(Follows::Log(LEASE)).await;
    assert!(!scene.log.has_begun());
    let file = QuiltPatchId::new(id(4), 1, 2).unwrap();
    let slot = wcdn_proto::removal_slot(&id(1));
    let snapshot = Snapshot {
        position: Some(at(3, 40)),
        removals: Some(Removals { epoch: 3, floor: 10, slots: vec![(slot, 30)] }),
        blocked: vec![ContentId::Patch(file)],
        pinned: Vec::new(),
    };
    assert!(scene.applier.replace(snapshot.clone()).await);
    assert!(scene.log.has_begun() && scene.log.positions.has_caught_up());
    assert!(scene.log.withholds(&ContentId::Patch(file)));
    assert!(scene.log.removed.covers(&id(1), at(3, 29)));
    assert!(!scene.log.removed.covers(&id(1), at(3, 30)));
    assert!(scene.log.removed.covers(&id(2), at(3, 9)), "under the floor");
    let old = Snapshot { position: Some(at(2, 99)), ..snapshot.clone() };
    assert!(!scene.applier.replace(old).await);
    let unreadable = Snapshot { removals: None, position: Some(at(3, 50)), ..snapshot };
    assert!(scene.applier.replace(unreadable).await);
    assert!(scene.log.removed.covers(&id(2), at(3, 49)));
}

#[tokio::test]
async fn a_snapshot_of_what_is_true_already_changes_nothing() {
    let scene = Scene::following(Follows::Log(LEASE)).await;
    let snapshot = |seq| Snapshot {
        position: Some(at(1, seq)),
        removals: Some(Removals { epoch: 1, floor: 0, slots: Vec::new() }),
        blocked: Vec::new(),
        pinned: Vec::new(),
    };
    assert!(scene.applier.replace(snapshot(5)).await);
    let block = Change::Block(vec![ContentId::Blob(id(9))]);
    scene.applier.apply(&events(at(1, 6), vec![block]));
    scene.log.positions.advance(at(1, 6));
    scene.admit(id(1), Part::Whole, at(1, 6));
    for seq in [4, 6] {
        assert!(scene.applier.replace(snapshot(seq)).await, "all of it is true");
        assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Hit(_)), "{seq}");
        assert!(scene.log.withholds(&ContentId::Blob(id(9))));
    }
}

#[tokio::test]
async fn a_block_is_on_the_disk_when_it_counts_as_applied() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::with_disk(home.path()).await;
    for n in 9..=11 {
        let block = Change::Block(vec![ContentId::Blob(id(n))]);
        scene.applier.apply(&events(at(1, n.into()), vec![block]));
    }
    scene.applier.keep().await;
    let node = "edge-1".parse().unwrap();
    let (_, kept) = Disk::open(home.path(), &node, Arc::default()).unwrap();
    let after_a_crash = Log::new(Follows::Log(LEASE), Some(&kept), Arc::default());
    assert!((9..=11).all(|n| after_a_crash.withholds(&ContentId::Blob(id(n)))));
}

#[tokio::test]
async fn more_blocks_than_may_wait_for_the_disk_are_kept_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let scene = Scene::with_disk(home.path()).await;
    let blob = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        ContentId::Blob(BlobId::from_bytes(bytes))
    };
    for (seq, from) in (1..).zip((0..=MAX_UNKEPT).step_by(1_000)) {
        let block = Change::Block((from..from + 1_000).map(blob).collect());
        scene.applier.apply(&events(at(1, seq), vec![block]));
    }
    assert!(matches!(*scene.applier.unkept.lock(), Unkept::All));
    scene.applier.keep().await;
    let node = "edge-1".parse().unwrap();
    let (_, kept) = Disk::open(home.path(), &node, Arc::default()).unwrap();
    assert_eq!(kept.words.len(), MAX_UNKEPT + 1_000);
}

#[tokio::test]
async fn a_second_snapshot_of_the_same_place_costs_nothing_that_was_fetched_since() {
    let scene = Scene::new().await;
    let snapshot = Snapshot {
        position: Some(at(2, 9)),
        removals: Some(Removals { epoch: 2, floor: 3, slots: vec![] }),
        blocked: vec![],
        pinned: vec![],
    };
    scene.admit(id(1), Part::Whole, at(1, 5));
    assert!(scene.applier.replace(snapshot.clone()).await);
    scene.admit(id(2), Part::Whole, at(2, 9));
    assert!(scene.applier.replace(snapshot.clone()).await);
    assert!(matches!(scene.lookup(id(1), Part::Whole), Lookup::Miss));
    assert!(matches!(scene.lookup(id(2), Part::Whole), Lookup::Hit(_)));
    let later = Snapshot { position: Some(at(2, 10)), ..snapshot };
    assert!(scene.applier.replace(later).await);
    assert_eq!(scene.cache.memory().snapshot().count(), 0, "that one may remove anything");
}
