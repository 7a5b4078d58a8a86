//! Several control planes: a session with each of them.

use bytes::Bytes;
use wcdn_gossip::seam::{Catchup as _, CaughtUp};
use wcdn_proto::{
    BlobId, Position,
    pb::edge::v1::{Origin, OriginPool, session_response::Kind},
};

use super::{CLUSTER_KEY, Running, Scene, control_plane::ControlPlane, eventually, viewer};

/// The first is that of the scene.
async fn two(scene: &Scene) -> (ControlPlane, Running) {
    let second = ControlPlane::start(&CLUSTER_KEY).await;
    for control_plane in [&scene.control_plane, &second] {
        control_plane.said(|said| (said.head, said.last_outcome) = ((1, 10), Some(0)));
    }
    let urls = vec![scene.control_plane.url.clone(), second.url.clone()];
    let node = scene.start(|config| config.control.endpoints = urls);
    node.is_ready().await;
    eventually("there are two sessions", async || node.sessions().await == 2).await;
    (second, node)
}

async fn is_told(control_plane: &ControlPlane, outcomes: &[u64]) {
    eventually("it is told", async || control_plane.outcomes() == outcomes).await;
}

async fn purge(node: &Running, seq: u64) {
    node.purge(seq, BlobId::from_bytes([1; 32])).await;
}

#[tokio::test]
async fn every_control_plane_knows_the_node_and_is_told_what_events_did() {
    let scene = Scene::new().await;
    let (second, node) = two(&scene).await;
    for control_plane in [&scene.control_plane, &second] {
        assert_eq!(control_plane.said(|said| said.registered[0].node.clone()), "edge-1");
    }
    purge(&node, 11).await;
    for control_plane in [&scene.control_plane, &second] {
        is_told(control_plane, &[1]).await;
        control_plane.ask(1, vec![1; 32]).await;
        eventually("it answers", async || control_plane.said(|said| said.answers.len()) == 1).await;
    }
}

#[tokio::test]
async fn a_control_plane_that_comes_back_is_told_what_it_missed_and_forgot() {
    let scene = Scene::new().await;
    let (second, node) = two(&scene).await;
    purge(&node, 11).await;
    is_told(&scene.control_plane, &[1]).await;
    scene.control_plane.stop();
    eventually("one is gone", async || node.sessions().await == 1).await;
    purge(&node, 12).await;
    is_told(&second, &[1, 2]).await;
    let back = ControlPlane::start_at(&CLUSTER_KEY, scene.control_plane.address()).await;
    back.said(|said| (said.head, said.last_outcome) = ((1, 12), Some(0)));
    is_told(&back, &[1, 2]).await;
    let applied = back.said(|said| said.registered[0].applied);
    assert_eq!(applied.map(|at| at.seq), Some(12));
    eventually("there are two again", async || node.sessions().await == 2).await;
}

#[tokio::test]
async fn what_was_on_its_way_in_a_session_that_broke_is_told_in_the_next() {
    let scene = Scene::new().await;
    let (second, node) = two(&scene).await;
    for seq in 11..=13 {
        purge(&node, seq).await;
    }
    is_told(&second, &[1, 2, 3]).await;
    // Two were lost with the session.
    second.said(|said| said.last_outcome = Some(1));
    second.end_session();
    is_told(&second, &[1, 2, 3, 2, 3]).await;
    // Of a version that would count twice, nothing is told twice.
    second.said(|said| said.last_outcome = None);
    second.end_session();
    eventually("it has a session", async || second.said(|said| said.registered.len()) == 3).await;
    purge(&node, 14).await;
    is_told(&second, &[1, 2, 3, 2, 3, 4]).await;
    is_told(&scene.control_plane, &[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn two_ways_to_one_control_plane_make_one_session_and_the_other_steps_in() {
    let scene = Scene::new().await;
    let only = &scene.control_plane;
    only.said(|said| said.instance = 7);
    let urls = vec![only.url.clone(), only.another_way().await];
    let node = scene.start(|config| config.control.endpoints = urls);
    node.is_ready().await;
    let registered = || only.said(|said| said.registered.len());
    let reports = || only.said(|said| said.reports.len());
    eventually("both came", async || registered() >= 2).await;
    // Each second there is a report; an attempt of the other would be earlier.
    let is_calm = async || {
        let (tries, heard) = (registered(), reports());
        eventually("it is heard", async || reports() >= heard + 3).await;
        registered() == tries && node.sessions().await == 1
    };
    eventually("one waits for the other", is_calm).await;
    let tries = registered();
    only.end_session();
    eventually("a session begins again", async || registered() > tries).await;
    eventually("one waits for the other", is_calm).await;
}

#[tokio::test]
async fn the_log_is_read_from_whoever_has_its_frames_and_only_else_as_a_snapshot() {
    let scene = Scene::new().await;
    let (second, node) = two(&scene).await;
    let following = node.node.following().unwrap();
    let read = async |epoch, seq| following.catchup.catch_up(Position { epoch, seq }).await;
    // Of another log.
    scene.control_plane.said(|said| said.head = (2, 1));
    second.said(|said| said.frames = vec![Bytes::from_static(b"frame")]);
    for _ in 0..2 {
        let frames = read(1, 10).await.unwrap();
        assert!(
            matches!(frames, CaughtUp::Frames(frames) if frames == [Bytes::from_static(b"frame")])
        );
    }
    second.stop();
    eventually("it is gone", async || node.sessions().await == 1).await;
    let snapshot = read(1, 10).await.unwrap();
    assert!(matches!(snapshot, CaughtUp::Snapshot(Position { epoch: 2, seq: 1 })), "{snapshot:?}");
    scene.control_plane.said(|said| said.head = (1, 99));
    assert!(read(2, 1).await.is_err(), "nobody has more than an older log");
}

#[tokio::test]
async fn of_the_pools_of_several_control_planes_that_of_the_newest_log_is_in_force() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from_static(b"some blob"));
    let (second, node) = two(&scene).await;
    let pool = |revision, url: &str| {
        let (name, url) = ("given".to_owned(), url.to_owned());
        let origins = vec![Origin { name, url, trusted: true, ..Origin::default() }];
        Kind::Origins(OriginPool { revision, origins, ..OriginPool::default() })
    };
    let status = async || viewer::get(node.edge(), &format!("/cdn/{id}")).await.status;
    second.send(pool(7, "http://127.0.0.1:9")).await;
    eventually("that one is asked", async || status().await == 502).await;
    scene.control_plane.send(pool(6, &scene.origin.url)).await;
    scene.control_plane.ask(1, vec![1; 32]).await;
    let answers = || scene.control_plane.said(|said| said.answers.len());
    eventually("it was read", async || answers() == 1).await;
    assert_eq!(status().await, 502, "an older pool changes nothing");
    let restored = wcdn_proto::pb::event::v1::Position { epoch: 2, seq: 0 };
    scene.control_plane.send(Kind::Head(restored)).await;
    scene.control_plane.send(pool(3, &scene.origin.url)).await;
    eventually("that of the restored log is", async || status().await == 200).await;
}
