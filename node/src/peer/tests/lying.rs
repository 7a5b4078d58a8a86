//! Peers that say what is not so.

use bytes::Bytes;
use http::HeaderMap;
use tokio_util::task::TaskTracker;

use super::scene::{FakePeer, KEY, PATIENCE, Piece, Reply, Scene, blob, found, rest, vouched};
use crate::{
    cache::{
        Lookup,
        entry::{Key, Level, Part},
    },
    edge::response::Source,
    peer::wire::Found,
};

/// A peer that gives these bytes for everything.
async fn giving(body: Bytes, trailers: Option<HeaderMap>) -> FakePeer {
    let answer = move |_: &_| Reply::Found(found(&body), rest(&body, 0), trailers.clone());
    FakePeer::start(&TaskTracker::new(), answer).await
}

fn other(body: &Bytes) -> Bytes {
    let mut wrong = body.to_vec();
    wrong[700] ^= 1;
    wrong.into()
}

#[tokio::test]
async fn wrong_bytes_that_nobody_of_the_cluster_vouches_for_are_dropped() {
    let (id, body) = blob(1, 60_000);
    let wrong = other(&body);
    let (other_blob, _) = blob(2, 60_000);
    let forged = [
        None,
        vouched(&[8; 32], &id, &wrong),
        vouched(&KEY, &other_blob, &wrong),
        vouched(&KEY, &id, &body),
    ];
    for trailers in forged {
        let peer = giving(wrong.clone(), trailers).await;
        let (scene, origin) = Scene::new(&id, body.clone(), peer.address).await;
        let got = scene.get(id).await.unwrap();
        assert_eq!((got.source, got.level()), (Source::Walrus, Level::Full));
        assert!(got.bytes() == body);
        assert_eq!((origin.asked.lock().len(), scene.checks("mismatch")), (1, 1));
        assert!(!scene.asks_peers(id), "whoever lied is left alone");
    }
}

#[tokio::test]
async fn wrong_bytes_that_a_stolen_key_vouches_for_are_found_by_checking_again() {
    let (id, body) = blob(3, 60_000);
    let wrong = other(&body);
    let peer = giving(wrong.clone(), vouched(&KEY, &id, &wrong)).await;
    let (scene, _origin) = Scene::with(&id, body.clone(), peer.address, |config| {
        config.verify.recheck = 1.0;
    })
    .await;
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.level()), (Source::Peer, Level::Attested));
    let key = Key { id, part: Part::Whole };
    let found_out = async {
        while scene.metrics.false_attestations.get() == 0
            || matches!(scene.cache.lookup(&key), Lookup::Hit(_))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found_out).await.expect("it is found out");
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.bytes() == body), (Source::Walrus, true));
}

#[tokio::test]
async fn sound_bytes_that_are_checked_again_become_full() {
    let (id, body) = blob(4, 60_000);
    let peer = giving(body.clone(), vouched(&KEY, &id, &body)).await;
    let (scene, _origin) = Scene::with(&id, body.clone(), peer.address, |config| {
        config.verify.recheck = 1.0;
    })
    .await;
    assert_eq!(scene.get(id).await.unwrap().level(), Level::Attested);
    let checked = async {
        while scene.get(id).await.unwrap().level() != Level::Full {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, checked).await.expect("it is checked");
    assert_eq!(scene.metrics.false_attestations.get(), 0);
}

#[tokio::test]
async fn bodies_of_another_length_than_was_said_are_not_taken() {
    let (id, body) = blob(5, 60_000);
    let (short, long) = (body.slice(..59_999), [&body[..], b"x"].concat());
    for pieces in [vec![Piece::Bytes(short)], vec![Piece::Bytes(long.into())], vec![]] {
        let (said, trailers) = (found(&body), vouched(&KEY, &id, &body));
        let answer = move |_: &_| Reply::Found(said, pieces.clone(), trailers.clone());
        let peer = FakePeer::start(&TaskTracker::new(), answer).await;
        let (scene, _origin) = Scene::new(&id, body.clone(), peer.address).await;
        let got = scene.get(id).await.unwrap();
        assert!(got.bytes() == body && got.source == Source::Walrus);
    }
}

#[tokio::test]
async fn a_length_that_no_blob_has_is_not_believed() {
    let (id, body) = blob(6, 60_000);
    let said = Found { total: u64::MAX, ..found(&body) };
    let bytes = body.clone();
    let answer = move |_: &_| Reply::Found(said, rest(&bytes, 0), None);
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, _origin) = Scene::new(&id, body.clone(), peer.address).await;
    let got = scene.get(id).await.unwrap();
    assert!(got.bytes() == body && got.source == Source::Walrus);
}

#[tokio::test]
async fn a_part_that_was_wrong_is_traced_to_the_peer_that_gave_it() {
    let (id, body) = blob(7, 200_000);
    let wrong = other(&body);
    let answer = move |_: &_| {
        let mut pieces = rest(&wrong, 0);
        pieces.truncate(10);
        pieces.push(Piece::Stall);
        Reply::Found(found(&wrong), pieces, None)
    };
    let peer = FakePeer::start(&TaskTracker::new(), answer).await;
    let (scene, origin) = Scene::with(&id, body.clone(), peer.address, |config| {
        config.fetch.idle_timeout = wcdn_proto::Span::millis(100);
    })
    .await;
    let got = scene.get(id).await.unwrap();
    assert!(got.bytes() == body && got.level() == Level::Full);
    assert_eq!(*origin.asked.lock(), [Some(100_000), None], "the rest, then all of it");
    assert_eq!(scene.metrics.peer.requested("lied"), 1);
}
