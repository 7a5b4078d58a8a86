//! What a node makes of a peer that serves, fails, or refuses.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio_util::task::TaskTracker;
use wcdn_proto::ContentId;

use super::{
    origin::Asks,
    scene::{FakePeer, KEY, PATIENCE, Piece, Reply, Scene, at, blob, found, honest, rest, vouched},
};
use crate::{
    cache::{
        Lookup,
        entry::{Key, Level, Part},
        fill::{Had, Ready, Want, error::FillError},
        negative::Absence,
    },
    edge::response::Source,
    events::words::Word,
    peer::wire::{Found, Refusal},
};

#[tokio::test]
async fn a_blob_comes_through_its_owner_without_another_check() {
    for length in [0, 1, 60_000, 1_800_000] {
        let (id, body) = blob(1, length);
        let peer = FakePeer::start(&TaskTracker::new(), honest(id, body.clone())).await;
        let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
        let got = scene.get(id).await.unwrap();
        assert_eq!((got.source, got.level()), (Source::Peer, Level::Attested), "{length} bytes");
        assert!(got.bytes() == body && got.entry.record().token == at(1, 0));
        assert!(got.entry.age() >= Duration::from_secs(5), "it is as old as at the peer");
        assert_eq!(scene.get(id).await.unwrap().source, Source::Memory);
        assert_eq!((origin.asked.lock().len(), scene.checks("match")), (0, 0));
        assert_eq!(peer.asked.lock().len(), 1);
    }
}

#[tokio::test]
async fn what_the_owner_did_not_check_is_checked_here() {
    let (id, body) = blob(2, 60_000);
    let bytes = body.clone();
    let answer = move |_: &_| Reply::Found(found(&bytes), rest(&bytes, 0), None);
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.level()), (Source::Peer, Level::Full));
    assert_eq!((got.bytes() == body, origin.asked.lock().len()), (true, 0));
}

#[tokio::test]
async fn where_the_owner_breaks_off_an_origin_goes_on_at_that_byte() {
    let (id, body) = blob(3, 1_800_000);
    let bytes = body.clone();
    let answer = move |_: &_| {
        let mut pieces = rest(&bytes, 0);
        pieces.truncate(150);
        pieces.push(Piece::Break);
        Reply::Found(found(&bytes), pieces, None)
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.level()), (Source::Walrus, Level::Full));
    assert!(got.bytes() == body);
    assert_eq!(got.entry.record().token, at(1, 0), "as old as its oldest part");
    let asked = origin.asked.lock().clone();
    assert!(asked.len() == 1 && asked[0].is_some_and(|from| from <= 1_500_000), "{asked:?}");
    assert_eq!(scene.metrics.peer.resumed.get(), u64::from(asked[0] > Some(0)));
}

#[tokio::test]
async fn an_owner_that_is_gone_costs_nothing_but_a_fetch_and_is_left_alone() {
    let (id, body) = blob(4, 1_000);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (scene, origin) = Scene::new(&id, body.clone(), address).await;
    assert!(scene.asks_peers(id));
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.level()), (Source::Walrus, Level::Full));
    assert_eq!(*origin.asked.lock(), [None]);
    assert!(!scene.asks_peers(id));
}

#[tokio::test]
async fn an_owner_that_says_nothing_is_not_waited_for() {
    let (id, body) = blob(5, 1_000);
    let peer = FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Nothing).await;
    let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
    let began = tokio::time::Instant::now();
    assert_eq!(scene.get(id).await.unwrap().source, Source::Walrus);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!((peer.asked.lock().len(), origin.asked.lock().len()), (1, 1));
}

#[tokio::test]
async fn an_owner_whose_body_stands_still_is_left_at_the_byte_reached() {
    let (id, body) = blob(6, 1_800_000);
    let bytes = body.clone();
    let answer = move |_: &_| {
        let mut pieces = rest(&bytes, 0);
        pieces.insert(100, Piece::Stall);
        Reply::Found(found(&bytes), pieces, None)
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, origin) = Scene::with(&id, body.clone(), peer.address, |config| {
        config.fetch.idle_timeout = wcdn_proto::Span::millis(200);
    })
    .await;
    let got = scene.get(id).await.unwrap();
    assert!(got.bytes() == body && got.source == Source::Walrus);
    assert_eq!(*origin.asked.lock(), [Some(1_000_000)]);
    assert!(!scene.asks_peers(id), "it is left alone for a while");
}

#[tokio::test]
async fn what_origins_do_not_give_is_believed_for_the_rest_of_its_time() {
    let (id, body) = blob(7, 1_000);
    for absence in [Absence::NotFound, Absence::Blocked] {
        let age = Duration::from_millis(1_500);
        let refusal = Refusal::Absent { absence, token: at(1, 0), age };
        let peer = FakePeer::start(&TaskTracker::new(), move |_: &_| Reply::Refused(refusal)).await;
        let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
        match *scene.get(id).await.unwrap_err() {
            FillError::NotFound => assert_eq!(absence, Absence::NotFound),
            FillError::Blocked => assert_eq!(absence, Absence::Blocked),
            ref other => panic!("{other:?}"),
        }
        assert_eq!(origin.asked.lock().len(), 0);
        let refused = scene.cache.refused(&id).unwrap();
        assert!(refused.absence == absence && refused.age() >= age, "{refused:?}");
        scene.purge(id, at(1, 1));
        assert_eq!(scene.cache.refused(&id), None, "it may be there by now");
    }
}

#[tokio::test]
async fn refusals_that_are_none_of_ours_send_us_to_origins() {
    let (id, body) = blob(8, 1_000);
    let busy = Refusal::Busy(Some(Duration::from_secs(60)));
    for refusal in [
        busy,
        Refusal::Behind,
        Refusal::Failed,
        Refusal::Slow,
        Refusal::Malformed,
        Refusal::Withheld,
    ] {
        let peer = FakePeer::start(&TaskTracker::new(), move |_: &_| Reply::Refused(refusal)).await;
        let (scene, _) = Scene::new(&id, body.clone(), peer.address).await;
        let got = scene.get(id).await.unwrap();
        assert_eq!((got.source, got.bytes() == body), (Source::Walrus, true), "{refusal:?}");
        let is_left_alone = [busy, Refusal::Slow].contains(&refusal);
        assert_eq!(scene.asks_peers(id), !is_left_alone, "{refusal:?}");
    }
}

#[tokio::test]
async fn an_owner_whom_no_origin_serves_is_left_alone_in_time() {
    let (id, body) = blob(13, 1_000);
    let failing = |_: &_| Reply::Refused(Refusal::Failed);
    let peer = FakePeer::start(&TaskTracker::new(), failing).await;
    let (scene, _) = Scene::new(&id, body.clone(), peer.address).await;
    for asked in 1..=3 {
        assert_eq!(scene.get(id).await.unwrap().source, Source::Walrus);
        assert_eq!(peer.asked.lock().len(), asked);
        scene.cache.remove_all_of(&id);
    }
    assert!(!scene.asks_peers(id));
}

#[tokio::test]
async fn the_only_origin_is_asked_again_after_a_peer_was_faster_and_broke_off() {
    let (id, body) = blob(14, 1_800_000);
    let origin_asked = Arc::<OnceLock<Asks>>::default();
    let (bytes, asked) = (body.clone(), origin_asked.clone());
    let answer = move |_: &_| {
        let mut pieces = rest(&bytes, 0);
        pieces.truncate(150);
        pieces.push(Piece::Break);
        let asked = asked.clone();
        let is_so = move || asked.get().is_some_and(|asked| !asked.lock().is_empty());
        Reply::Once(Box::new(is_so), Box::new(Reply::Found(found(&bytes), pieces, None)))
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
    origin.holds_first.store(true, Relaxed);
    origin_asked.set(origin.asked.clone()).unwrap();
    let got = scene.get(id).await.unwrap();
    assert!(got.bytes() == body && got.source == Source::Walrus);
    let asked = origin.asked.lock().clone();
    assert!(asked.len() == 2 && asked[0].is_none(), "{asked:?}");
}

#[tokio::test]
async fn a_length_that_an_owner_has_by_hearsay_is_not_believed() {
    let (id, body) = blob(15, 60_000);
    let bytes = body.clone();
    for (source, total, is_believed) in [
        (Source::Walrus, 1_000_000, false),
        (Source::Peer, 1_000_000, false),
        (Source::Memory, 1_000_000, true),
    ] {
        let said = Found { source, total, ..found(&bytes) };
        let bytes = body.clone();
        let answer = move |_: &_| Reply::Found(said, rest(&bytes, 0), None);
        let peer = FakePeer::start(&TaskTracker::new(), answer).await;
        let (scene, origin) = Scene::with(&id, body.clone(), peer.address, |config| {
            config.cache.memory = wcdn_proto::ByteSize::mib(4);
        })
        .await;
        let (key, payer) = (Key { id, part: Part::Whole }, scene.payer());
        let had = scene.fills.have(key, None, &payer, Want::Whole, PATIENCE).await;
        match had.unwrap() {
            Had::Filled { ready: Ready::Entry(entry, Source::Walrus), .. } => {
                assert_eq!((entry.record().level, is_believed), (Level::Full, false));
            }
            Had::Filled { ready: Ready::Large { total, .. }, .. } => {
                assert_eq!((total, is_believed), (1_000_000, true));
            }
            other => panic!("{source:?}: {other:?}"),
        }
        assert_eq!(origin.asked.lock().len(), usize::from(!is_believed));
    }
}

#[tokio::test]
async fn what_is_withheld_here_too_is_not_asked_of_origins() {
    let (id, body) = blob(9, 1_000);
    let peer =
        FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Refused(Refusal::Withheld)).await;
    let (scene, origin) = Scene::new(&id, body, peer.address).await;
    let word = Word { at: at(1, 0), is_set: true };
    scene.log.blocked.hear(&[ContentId::Blob(id)], word);
    assert!(matches!(*scene.get(id).await.unwrap_err(), FillError::Withheld));
    assert_eq!(origin.asked.lock().len(), 0);
}

#[tokio::test]
async fn a_peer_is_asked_for_nothing_older_than_a_removal_and_not_believed_to_be_newer() {
    let (id, body) = blob(10, 1_000);
    let peer = FakePeer::start(&TaskTracker::new(), honest(id, body.clone())).await;
    let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
    scene.purge(id, at(1, 5));
    let got = scene.get(id).await.unwrap();
    assert_eq!(peer.asked.lock()[0].least, at(1, 5));
    assert_eq!((got.source, got.entry.record().token), (Source::Walrus, at(1, 5)));
    assert_eq!(origin.asked.lock().len(), 1);
}

#[tokio::test]
async fn a_peer_that_knows_more_of_the_log_counts_as_if_it_knew_no_more() {
    let (id, body) = blob(11, 1_000);
    let bytes = body.clone();
    let answer = move |_: &_| {
        let found = Found { token: at(9, 9), ..found(&bytes) };
        Reply::Found(found, rest(&bytes, 0), vouched(&KEY, &id, &bytes))
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, _origin) = Scene::new(&id, body, peer.address).await;
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.entry.record().token), (Source::Peer, at(1, 0)));
    scene.purge(id, at(1, 1));
    assert!(matches!(scene.cache.lookup(&Key { id, part: Part::Whole }), Lookup::Miss));
}

#[tokio::test]
async fn readers_have_the_bytes_of_a_peer_as_they_come_and_the_end_with_what_it_vouches_for() {
    let (id, body) = blob(12, 1_800_000);
    let bytes = body.clone();
    let answer = move |_: &_| {
        let mut pieces = rest(&bytes, 0);
        pieces.push(Piece::Stall);
        Reply::Found(found(&bytes), pieces, vouched(&KEY, &id, &bytes))
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, _origin) = Scene::new(&id, body.clone(), peer.address).await;
    let (key, patience) = (Key { id, part: Part::Whole }, PATIENCE);
    let had = scene.fills.have(key, None, &scene.payer(), Want::Beginning, patience).await;
    let Had::Filled { ready: Ready::Streaming(head), mut reader, .. } = had.unwrap() else {
        panic!("it streams");
    };
    assert_eq!((head.source, head.total), (Source::Peer, 1_800_000));
    let (mut range, mut read) = (0..1_800_000, Vec::new());
    while range.start < 1_800_000 - (64 << 10) {
        let piece = reader.next(&range).await.unwrap().unwrap();
        range.start += piece.len() as u64;
        read.extend_from_slice(&piece);
    }
    assert!(read == body[..read.len()] && range.start == 1_800_000 - (64 << 10));
    let waiting = tokio::time::timeout(Duration::from_millis(50), reader.next(&range)).await;
    assert!(waiting.is_err(), "the end is not vouched for yet");
}
