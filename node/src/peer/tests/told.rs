//! What other regions vouch for, and what origins then send.

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::scene::{FakePeer, PATIENCE, Reply, Scene, at, blob, note};
use crate::{
    cache::{
        Lookup,
        entry::{Key, Level, Part},
    },
    edge::response::Source,
    peer::wire::Refusal,
};

/// A peer that is of no use.
async fn useless() -> FakePeer {
    FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Refused(Refusal::Failed)).await
}

#[tokio::test]
async fn what_another_region_checked_is_not_checked_again_until_it_is_purged() {
    let (id, body) = blob(1, 60_000);
    let (scene, origin) = Scene::new(&id, body.clone(), useless().await.address).await;
    scene.notes.hear(&note(&id, &body));
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.source, got.level()), (Source::Walrus, Level::Attested));
    assert_eq!((got.bytes() == body, scene.checks("match")), (true, 0));
    scene.purge(id, at(1, 1));
    let got = scene.get(id).await.unwrap();
    assert_eq!(
        (got.level(), scene.checks("match"), origin.asked.lock().len()),
        (Level::Full, 1, 2)
    );
}

#[tokio::test]
async fn bytes_that_another_region_does_not_vouch_for_are_checked() {
    let (id, body) = blob(2, 60_000);
    let (scene, _origin) = Scene::new(&id, body.clone(), useless().await.address).await;
    let (other, other_body) = blob(3, 60_000);
    scene.notes.hear(&note(&id, &other_body));
    scene.notes.hear(&note(&other, &body));
    let got = scene.get(id).await.unwrap();
    assert_eq!((got.level(), scene.checks("match")), (Level::Full, 1));
}

#[tokio::test]
async fn wrong_bytes_that_a_stolen_key_tells_of_are_found_by_checking_again() {
    let (id, body) = blob(4, 60_000);
    let wrong = Bytes::from([&body[1..], b"x"].concat());
    let (scene, _origin) = Scene::with(&id, wrong.clone(), useless().await.address, |config| {
        config.verify.recheck = 1.0;
    })
    .await;
    scene.notes.hear(&note(&id, &wrong));
    assert_eq!(scene.get(id).await.unwrap().level(), Level::Attested);
    let key = Key { id, part: Part::Whole };
    let found_out = async {
        while matches!(scene.cache.lookup(&key), Lookup::Hit(_)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found_out).await.expect("it is found out");
    assert_eq!(scene.metrics.false_attestations.get(), 1);
    assert!(
        scene.get(id).await.is_err(),
        "the only origin lies, and nobody vouches for it any more"
    );
}
