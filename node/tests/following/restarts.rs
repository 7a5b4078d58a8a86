//! What a node knows through restarts, and what it does while it knows nothing.

use bytes::Bytes;
use wcdn_node::events::positions::since_boot;
use wcdn_proto::{
    ContentId, Span,
    pb::edge::v1::{Origin, OriginPool},
};

use super::{Scene, eventually, viewer};

#[tokio::test]
async fn blocks_removals_and_origins_outlast_a_restart_without_any_control_plane() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from_static(b"some blob"));
    let other = scene.origin.store(Bytes::from_static(b"another blob"));
    let url = scene.origin.url.clone();
    scene.control_plane.said(|said| {
        let name = "given".to_owned();
        let origins = vec![Origin { name, url, trusted: true, ..Origin::default() }];
        said.origins = OriginPool { revision: 5, origins, ..OriginPool::default() };
    });
    let node = scene.ready().await;
    node.block(11, ContentId::Blob(id)).await;
    node.purge(12, other).await;
    let kept = async |node: &super::Running| {
        let page = viewer::get(node.node.admin_addr(), "/debug/origins").await.body;
        String::from_utf8(page).unwrap().contains("given")
    };
    eventually("the origins are there", async || kept(&node).await).await;
    node.stop().await;
    scene.control_plane.stop();
    let node = scene.start(|config| config.origins[0].url = "http://127.0.0.1:9".parse().unwrap());
    node.is_ready().await;
    assert_eq!(viewer::get(node.edge(), &format!("/cdn/{id}")).await.status, 451);
    assert_eq!(viewer::get(node.edge(), &format!("/cdn/{other}")).await.status, 200);
    assert!(kept(&node).await);
    let log = &node.node.following().unwrap().log;
    assert_eq!(log.positions.applied().seq, 12);
    assert!(log.removed.covers(&other, wcdn_proto::Position { epoch: 1, seq: 11 }));
    assert!(!log.positions.has_caught_up(), "until then Redis is left alone");
}

#[tokio::test]
async fn a_node_that_knows_nothing_serves_nothing_until_it_is_told_or_has_waited() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from_static(b"some blob"));
    scene.control_plane.stop();
    let path = format!("/cdn/{id}");
    let waiting = scene.start(|_| {});
    let reply = viewer::get(waiting.edge(), &path).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert!(String::from_utf8(reply.body).unwrap().contains("UNCONFIRMED"));
    assert_eq!(viewer::get(waiting.node.admin_addr(), "/readyz").await.status, 503);
    assert_eq!(viewer::get(waiting.edge(), "/status").await.status, 200);
    waiting.stop().await;
    let patient = scene.start(|config| config.control.start_grace = Span::millis(50));
    patient.is_ready().await;
    assert_eq!(viewer::get(patient.edge(), &path).await.status, 200);
}

#[tokio::test]
async fn a_node_that_is_not_confirmed_says_so_or_stops_if_it_is_strict() {
    let scene = Scene::new().await;
    let id = scene.origin.store(Bytes::from_static(b"some blob"));
    let path = format!("/cdn/{id}");
    for is_strict in [false, true] {
        let node = scene.start(|config| {
            config.node.state_dir = None;
            config.gossip.listen = Some(super::any());
            config.gossip.issuer_keys = vec!["ab".repeat(32)];
            config.cluster.strict = is_strict;
            config.cluster.lease = Span::secs(2);
        });
        node.is_ready().await;
        let positions = &node.node.following().unwrap().log.positions;
        let is_labelled = async || {
            let reply = viewer::get(node.edge(), &path).await;
            match is_strict {
                true => reply.status == 503,
                false => reply.header("cache-status").ends_with("unconfirmed"),
            }
        };
        assert!(is_labelled().await, "nothing was ever confirmed");
        positions.confirm_at(since_boot());
        assert!(!is_labelled().await);
        assert_eq!(viewer::get(node.edge(), &path).await.status, 200);
        eventually("the lease is over", is_labelled).await;
        assert_eq!(viewer::get(node.node.admin_addr(), "/readyz").await.status, 200);
    }
}
