//! The session with the control plane.

use std::{fs, os::unix::fs::PermissionsExt as _};

use bytes::Bytes;
use tonic::transport::{Certificate, Identity};
use wcdn_gossip::seam::{Catchup as _, CaughtUp};
use wcdn_proto::{
    BlobId, ContentId, Position, Purge, Span,
    pb::edge::v1::{Origin, OriginPool, ReadBack, RedisOutcome, session_response::Kind},
};

use super::{CLUSTER_KEY, Scene, control_plane::ControlPlane, eventually, viewer};

#[tokio::test]
async fn a_node_registers_takes_the_first_snapshot_and_reports_its_position() {
    let scene = Scene::new().await;
    let blocked = scene.origin.store(Bytes::from_static(b"blocked before"));
    scene.control_plane.said(|said| said.blocked = vec![blocked.as_bytes().to_vec()]);
    let node = scene.ready().await;
    assert_eq!(viewer::get(node.edge(), &format!("/cdn/{blocked}")).await.status, 451);
    let register = scene.control_plane.said(|said| said.registered[0].clone());
    assert_eq!((register.node.as_str(), register.region.as_str()), ("edge-1", "local"));
    assert_eq!(register.edge_url, format!("http://{}", node.edge()));
    assert!(register.incarnation > 0 && !register.strict);
    eventually("the position is reported", async || {
        scene.control_plane.said(|said| {
            let applied = |report: &wcdn_proto::pb::edge::v1::Report| report.applied;
            said.reports.iter().filter_map(applied).any(|at| (at.epoch, at.seq) == (1, 10))
        })
    })
    .await;
}

#[tokio::test]
async fn a_purge_is_reported_with_what_it_did_and_the_next_answer_is_fresh() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from(vec![1; 5000]));
    let node = scene.ready().await;
    let path = format!("/cdn/{id}");
    let cached = async || viewer::get(node.edge(), &path).await.header("x-cache").to_owned();
    assert_eq!((cached().await, cached().await), ("MISS".to_owned(), "HIT".to_owned()));
    node.purge(11, id).await;
    assert_eq!((cached().await, cached().await), ("MISS".to_owned(), "HIT".to_owned()));
    let outcome = || {
        scene.control_plane.said(|said| {
            let mut outcomes = said.reports.iter().flat_map(|report| report.outcomes.clone());
            outcomes.find(|outcome| outcome.position.is_some_and(|at| at.seq == 11))
        })
    };
    eventually("the outcome is reported", async || outcome().is_some()).await;
    let outcome = outcome().unwrap();
    assert_eq!((outcome.memory_removed, outcome.redis_removed), (1, 0));
    assert_eq!((outcome.redis(), outcome.read_back()), (RedisOutcome::None, ReadBack::Clean));
    for (name, value) in
        [("events_applied_seq", "11"), ("events_removed_slots", "1"), ("events_session", "1")]
    {
        assert_eq!(node.metric(name).await, value, "{name}");
    }
}

#[tokio::test]
async fn a_question_is_answered_with_what_the_node_holds() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from(vec![1; 5000]));
    let node = scene.ready().await;
    node.purge(11, id).await;
    assert_eq!(viewer::get(node.edge(), &format!("/cdn/{id}")).await.status, 200);
    node.block(12, ContentId::Blob(BlobId::from_bytes([9; 32]))).await;
    scene.control_plane.ask(1, id.as_bytes().to_vec()).await;
    scene.control_plane.ask(2, vec![9; 32]).await;
    scene.control_plane.ask(3, b"nonsense".to_vec()).await;
    let answers = || scene.control_plane.said(|said| said.answers.clone());
    eventually("all are answered", async || answers().len() == 3).await;
    let holding = |id| answers().into_iter().find(|it| it.id == id).unwrap().holding.unwrap();
    let held = holding(1);
    assert_eq!((held.tier.as_str(), held.verified.as_str(), held.length), ("memory", "full", 5000));
    assert_eq!(held.token.map(|at| at.seq), Some(11));
    assert_eq!(held.removed.map(|at| at.seq), Some(11));
    assert!(holding(2).blocked && holding(2).tier.is_empty());
    assert_eq!(holding(3), Default::default());
}

#[tokio::test]
async fn origins_of_the_control_plane_take_the_place_of_the_configured_ones() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from_static(b"some blob"));
    let node = scene.start(|config| config.origins[0].url = "http://127.0.0.1:9".parse().unwrap());
    node.is_ready().await;
    let status = async || viewer::get(node.edge(), &format!("/cdn/{id}")).await.status;
    assert_eq!(status().await, 502);
    let origin = |name: &str, url: &str| Origin {
        name: name.to_owned(),
        url: url.to_owned(),
        trusted: true,
        ..Origin::default()
    };
    let origins = vec![origin("given", &scene.origin.url), origin("no name", "no url")];
    scene
        .control_plane
        .send(Kind::Origins(OriginPool { revision: 1, origins, ..OriginPool::default() }))
        .await;
    eventually("they are asked", async || status().await == 200).await;
    scene.control_plane.send(Kind::Origins(OriginPool::default())).await;
    assert!(node.node.reload(node.node.config()).is_ok());
    let other = scene.origin.store(Bytes::from_static(b"another blob"));
    assert_eq!(viewer::get(node.edge(), &format!("/cdn/{other}")).await.status, 200);
}

/// A certificate for 127.0.0.1 that its own authority made, and its key.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn over_tls_each_side_shows_a_certificate_that_the_other_believes() {
    let scene = Scene::new().await;
    let (theirs, ours) = (certificate(), certificate());
    let identity = Identity::from_pem(&theirs.0, &theirs.1);
    let client_ca = Certificate::from_pem(&ours.0);
    let control_plane = ControlPlane::start_with_tls(&CLUSTER_KEY, identity, client_ca).await;
    control_plane.said(|said| said.head = (1, 10));
    let file = |name: &str, text: &str| {
        let path = scene.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Some(path)
    };
    let (ca, crt, key) = (file("ca", &theirs.0), file("crt", &ours.0), file("key", &ours.1));
    let node = scene.start(|config| {
        config.control.endpoints = vec![control_plane.url.clone()];
        (config.control.ca_file, config.control.certificate) = (ca.clone(), crt);
        config.control.key = key;
    });
    node.is_ready().await;
    let stranger = scene.start(|config| {
        config.node.state_dir = None;
        config.control.endpoints = vec![control_plane.url.clone()];
        config.control.ca_file = ca;
        config.control.start_grace = Span::secs(2);
    });
    stranger.is_ready().await;
    assert_eq!(control_plane.said(|said| said.registered.len()), 1, "a stranger has no session");
}

#[tokio::test]
async fn a_node_that_has_nothing_to_tell_says_that_it_is_there() {
    let scene = Scene::new().await;
    let _node = scene.ready().await;
    let reports = || scene.control_plane.said(|said| said.reports.len());
    eventually("the first reports are there", async || reports() >= 2).await;
    let before = reports();
    eventually("more come", async || reports() >= before + 2).await;
}

#[tokio::test]
async fn what_was_missed_comes_as_frames_or_as_a_snapshot_of_no_older_log() {
    let scene = Scene::new().await;
    let node = scene.ready().await;
    let following = node.node.following().unwrap();
    scene.control_plane.said(|said| said.frames = vec![Bytes::from_static(b"frame")]);
    match following.catchup.catch_up(Position { epoch: 1, seq: 10 }).await.unwrap() {
        CaughtUp::Frames(frames) => assert_eq!(frames, [Bytes::from_static(b"frame")]),
        CaughtUp::Snapshot(_) => panic!("the log reaches back"),
    }
    let id = BlobId::from_bytes([4; 32]);
    scene.control_plane.said(|said| {
        said.head = (2, 3);
        said.removed = vec![(wcdn_proto::removal_slot(&id), 2)];
    });
    let caught_up = following.catchup.catch_up(Position { epoch: 1, seq: 10 }).await.unwrap();
    assert!(matches!(caught_up, CaughtUp::Snapshot(Position { epoch: 2, seq: 3 })));
    assert!(following.log.removed.covers(&id, Position { epoch: 2, seq: 1 }));
    scene.control_plane.said(|said| said.head = (1, 99));
    let older = following.catchup.catch_up(Position { epoch: 2, seq: 3 }).await;
    assert!(older.is_err(), "an older log is not followed");
    // What still comes of it changes nothing.
    node.apply(100, wcdn_proto::Change::Purge(Purge::All)).await;
    assert_eq!(following.log.removed.floor(), 0);
}

#[tokio::test]
async fn the_event_plane_goes_on_from_the_snapshot_that_the_session_took() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from(vec![1; 5000]));
    let node = scene.ready().await;
    let path = format!("/cdn/{id}");
    assert_eq!(viewer::get(node.edge(), &path).await.header("x-cache"), "MISS");
    scene.control_plane.said(|said| said.head = (1, 12));
    let following = node.node.following().unwrap();
    let caught_up = following.catchup.catch_up(Position::ORIGIN).await.unwrap();
    assert!(matches!(caught_up, CaughtUp::Snapshot(Position { epoch: 1, seq: 10 })));
    assert_eq!(viewer::get(node.edge(), &path).await.header("x-cache"), "HIT");
}
