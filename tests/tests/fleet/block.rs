//! A block withholds, everywhere, at once, and until it is ended.

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use wcdn_dev::Topology;
use wcdn_proto::{Span, pb::admin::v1::NodeState};
use wcdn_tests::{
    Fleet, bytes,
    client::Client,
    eventually,
    operator::{Operator, line},
    program::EdgeProcess,
};

/// A control plane and its edges, with what they keep in a folder.
async fn fleet(data: &Path, change: impl FnOnce(&mut Topology)) -> (Fleet, Operator) {
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.data = Some(data.to_owned());
        change(topology);
    })
    .await;
    let operator = fleet.operator();
    operator.sees(fleet.cluster.edges().len()).await;
    (fleet, operator)
}

/// What every edge answers to a path.
async fn statuses(fleet: &Fleet, method: &Method, path: &str) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for edge in 0..fleet.cluster.edges().len() {
        let asking = fleet.client.request(method.clone(), &fleet.edge(edge, path));
        statuses.push(asking.send().await.status);
    }
    statuses
}

const WITHHELD: StatusCode = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;

#[tokio::test]
async fn a_blocked_blob_is_451_on_nine_edges_by_every_path_until_it_is_unblocked() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |topology| topology.edges_per_region = 3).await;
    let url = format!("{}/v1/blobs", fleet.publisher());
    let stored = fleet.client.request(Method::PUT, &url).body(bytes(1, 9_000)).send().await.json();
    let object = &stored["newlyCreated"]["blobObject"];
    let (id, object) = (object["blobId"].as_str().unwrap(), object["id"].as_str().unwrap());
    let bystander = format!("/cdn/{}", fleet.store(bytes(2, 9_000)).await);
    let paths = [
        format!("/cdn/{id}"),
        format!("/v1/blobs/{id}"),
        format!("/v1/blobs/{id}/byte-range?start=1&length=5"),
        format!("/v1/blobs/by-object-id/{object}"),
    ];
    for path in paths.iter().chain([&bystander]) {
        assert_eq!(statuses(&fleet, &Method::GET, path).await, [StatusCode::OK; 9], "{path}");
    }
    let fetched = fleet.fetches(&id.parse().unwrap()).await;
    let receipt = operator.block(&[id]).await;
    assert_eq!(receipt.nodes.len(), 9);
    for path in &paths {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(statuses(&fleet, &method, path).await, [WITHHELD; 9], "{method} {path}");
        }
    }
    let etag = format!("\"{id}\"");
    let url = fleet.edge(4, &paths[0]);
    let asking = fleet.client.request(Method::GET, &url).header("if-none-match", &etag);
    assert_eq!(asking.send().await.status, WITHHELD, "not even 304");
    let part = fleet.client.range(&fleet.edge(5, &paths[0]), "bytes=0-9").await;
    assert_eq!((part.status, part.code().as_str()), (WITHHELD, "FORBIDDEN_BLOB"));
    assert_eq!(part.header("cache-control"), "no-store");
    assert_eq!(statuses(&fleet, &Method::GET, &bystander).await, [StatusCode::OK; 9]);
    assert_eq!(fleet.fetches(&id.parse().unwrap()).await, fetched, "nobody asks for it");
    assert_eq!(operator.blocks().await, [id]);
    operator.unblock(&[id]).await;
    for path in &paths {
        assert_eq!(statuses(&fleet, &Method::GET, path).await, [StatusCode::OK; 9], "{path}");
    }
}

#[tokio::test]
async fn a_blocked_file_is_451_and_its_neighbours_are_served_until_the_quilt_is_blocked() {
    let data = tempfile::tempdir().unwrap();
    let (fleet, operator) = fleet(data.path(), |_| {}).await;
    let files = [("a.txt", bytes(3, 700), "text/plain"), ("b.txt", bytes(4, 900), "text/plain")];
    let (quilt, stored) = fleet.store_quilt(&files).await;
    let patch = |n: usize| stored["storedQuiltBlobs"][n]["quiltPatchId"].as_str().unwrap();
    let of_file = |name: &str, patch: &str| {
        [
            format!("/cdn/{quilt}/{name}"),
            format!("/cdn/{patch}"),
            format!("/v1/blobs/by-quilt-id/{quilt}/{name}"),
            format!("/v1/blobs/by-quilt-patch-id/{patch}"),
        ]
    };
    let (withheld, served) = (of_file("a.txt", patch(0)), of_file("b.txt", patch(1)));
    for path in withheld.iter().chain(&served) {
        assert_eq!(statuses(&fleet, &Method::GET, path).await, [StatusCode::OK; 3], "{path}");
    }
    operator.block(&[patch(0)]).await;
    for (paths, status) in [(&withheld, WITHHELD), (&served, StatusCode::OK)] {
        for path in paths {
            assert_eq!(statuses(&fleet, &Method::GET, path).await, [status; 3], "{path}");
        }
    }
    operator.block(&[quilt]).await;
    let list = format!("/v1/quilts/{quilt}/patches");
    for path in withheld.iter().chain(&served).chain([&list]) {
        assert_eq!(statuses(&fleet, &Method::GET, path).await, [WITHHELD; 3], "{path}");
    }
}

/// A response that runs.
async fn begun(client: &Client, url: &str) -> Incoming {
    let (status, _, mut body) = client.request(Method::GET, url).open().await.unwrap();
    assert_eq!(status, StatusCode::OK);
    body.frame().await.expect("a body begins").unwrap();
    body
}

/// Whether it ends as if it were whole.
async fn is_whole(mut body: Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn responses_that_run_are_cut_by_a_block_and_by_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let length = 24 << 20;
    let (fleet, operator) = fleet(data.path(), |topology| topology.max_body = length).await;
    // More than the sockets and windows between the two hold.
    let id = fleet.store(Bytes::from(vec![7; length])).await;
    let other = fleet.store(Bytes::from(vec![8; length])).await;
    let url = |id: &_| fleet.edge(0, &format!("/cdn/{id}"));
    for id in [&id, &other] {
        assert_eq!(fleet.client.get(&url(id)).await.body.len(), length);
    }
    let (http2, beside) = (Client::http2(), Client::http2());
    let (first, second) = (begun(&fleet.client, &url(&id)).await, begun(&http2, &url(&id)).await);
    let bystanders = (begun(&fleet.client, &url(&other)).await, begun(&beside, &url(&other)).await);
    // A purge does not touch what runs.
    operator.purge(&[&other]).await;
    operator.block(&[id]).await;
    assert!(!is_whole(first).await, "over HTTP/1.1");
    assert!(!is_whole(second).await, "over HTTP/2");
    assert!(is_whole(bystanders.0).await && is_whole(bystanders.1).await);
    assert_eq!(fleet.metric("wcdn_events_responses_cut_total", "").await, 2.0);
    assert_eq!(http2.get(&url(&id)).await.status, WITHHELD, "on another connection");
}

#[tokio::test]
async fn a_block_outlasts_a_restart_of_everything() {
    let data = tempfile::tempdir().unwrap();
    let (before, operator) = fleet(data.path(), |_| {}).await;
    let (id, other) = (before.store(bytes(5, 9_000)).await, before.store(bytes(6, 9_000)).await);
    operator.block(&[id]).await;
    before.stop().await;
    let (after, operator) = fleet(data.path(), |_| {}).await;
    let (path, bystander) = (format!("/cdn/{id}"), format!("/cdn/{other}"));
    assert_eq!(statuses(&after, &Method::GET, &path).await, [WITHHELD; 3]);
    assert_eq!(statuses(&after, &Method::GET, &bystander).await, [StatusCode::OK; 3]);
    assert_eq!(operator.blocks().await, [id.to_string()]);
    operator.unblock(&[id]).await;
    assert_eq!(statuses(&after, &Method::GET, &path).await, [StatusCode::OK; 3]);
}

#[tokio::test]
async fn an_edge_killed_right_after_a_block_withholds_without_its_control_plane() {
    let data = tempfile::tempdir().unwrap();
    let (mut fleet, operator) = fleet(data.path(), |topology| topology.edges_per_region = 0).await;
    let id = fleet.store(bytes(7, 9_000)).await;
    let mut edge = EdgeProcess::of(&fleet, data.path(), "killed", |_| {}).await;
    operator.sees(1).await;
    let client = Client::default();
    let status =
        async |edge: &EdgeProcess| client.get(&format!("{}/cdn/{id}", edge.url)).await.status;
    assert_eq!(status(&edge).await, StatusCode::OK);
    operator.block(&[id]).await;
    edge.kill();
    fleet.stop_desk().await;
    edge.start_again().await;
    assert_eq!(status(&edge).await, WITHHELD);
    fleet.start_desk().await;
    let operator = fleet.operator();
    operator.sees(1).await;
    operator.unblock(&[id]).await;
    eventually("it is served", || async { status(&edge).await == StatusCode::OK }).await;
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_the_word_on_a_block_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let (mut fleet, operator) = fleet(data.path(), |topology| {
        topology.edges_per_region = 0;
        // For longer than the disk hangs, nobody gives it up.
        (topology.control.receipts.lease, topology.control.receipts.lost_after) =
            (Span::secs(60), Span::secs(60));
    })
    .await;
    let (id, other) = (fleet.store(bytes(8, 9_000)).await, fleet.store(bytes(9, 9_000)).await);
    let mut edge = EdgeProcess::of(&fleet, data.path(), "hung", |_| {}).await;
    operator.sees(1).await;
    let client = Client::default();
    let get = async |edge: &EdgeProcess, id| client.get(&format!("{}/cdn/{id}", edge.url)).await;
    for id in [id, other] {
        assert_eq!(get(&edge, id).await.status, StatusCode::OK);
    }
    // Whoever opens it waits until somebody reads from it.
    let state = data.path().join("edges").join("hung");
    let (journal, fifo) = (state.join("blocks.journal"), state.join("fifo"));
    fs::remove_file(&journal).unwrap();
    assert!(Command::new("mkfifo").arg(&journal).status().unwrap().success());

    let block = operator.begin_block(&[id]).await;
    eventually("it is in force", || async { get(&edge, id).await.status == WITHHELD }).await;
    let fetched = fleet.fetches(&other).await;
    let purge = operator.begin_purge(&[other]).await;
    eventually("what comes after is, too", || async {
        get(&edge, other).await;
        fleet.fetches(&other).await > fetched
    })
    .await;
    let hangs = async |edge: &EdgeProcess| {
        let page = client.get(&format!("{}/metrics", edge.admin_url)).await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        page.lines().any(|it| it.starts_with("wcdn_events_disk_hangs{") && it.ends_with(" 1"))
    };
    eventually("the operator is told", || async { hangs(&edge).await }).await;
    for change in [&block, &purge] {
        let receipt = operator.receipt(change).await;
        assert_eq!(line(&receipt, "hung").unwrap().state(), NodeState::Pending, "{receipt:?}");
    }

    fs::rename(&journal, &fifo).unwrap();
    let _reader = fs::File::open(&fifo).unwrap();
    for change in [&block, &purge] {
        operator.complete(change).await;
    }
    assert!(!hangs(&edge).await);
    edge.kill();
    fleet.stop_desk().await;
    edge.start_again().await;
    assert_eq!(get(&edge, id).await.status, WITHHELD, "it was kept");
}
