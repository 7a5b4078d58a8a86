//! The system with each part in a process of its own, as `wcdn-dev --processes` runs it.

use std::{path::Path, process::Stdio};

use http::{Method, StatusCode};
use tokio::process::{Child, Command};
use wcdn_dev::{Apart, Topology, apart::Run};
use wcdn_proto::pb::admin::v1::NodeState;
use wcdn_tests::{bytes, client::Client, eventually, operator::Operator, signal::Signal};

fn topology(data: &Path) -> Topology {
    let mut topology = Topology::for_tests();
    topology.control_plane = true;
    topology.data = Some(data.to_owned());
    topology
}

pub(crate) async fn store(apart: &Apart, body: bytes::Bytes) -> String {
    let publisher = &apart.ground().standin().expect("it has a Walrus").publisher_url;
    let url = format!("{publisher}/v1/blobs");
    let reply = Client::default().request(Method::PUT, &url).body(body).send().await;
    let id = reply.json()["newlyCreated"]["blobObject"]["blobId"].clone();
    id.as_str().expect("it is new").to_owned()
}

/// Kills the process of a part, and waits until it is gone with its ports.
pub(crate) async fn kill(run: &Run) {
    Signal::Kill.send(run.pid);
    let process = format!("/proc/{}", run.pid);
    eventually("the process is gone", || async { !Path::new(&process).exists() }).await;
}

pub(crate) async fn again(run: &Run, admin: &str) -> Child {
    let mut words = run.command.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().expect("it starts");
    let url = format!("{admin}/readyz");
    eventually("it is ready again", || async {
        let answer = Client::default().request(Method::GET, &url).response().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    })
    .await;
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_and_the_control_plane_are_killed_and_started_again_as_the_banner_says() {
    let data = tempfile::tempdir().unwrap();
    let apart = Apart::start(&topology(data.path())).await.unwrap();
    let desk = apart.desk();
    let operator = Operator::new(desk.grpc, &desk.key);
    operator.sees(3).await;
    let id = store(&apart, bytes(4_000, 1)).await;
    let source = async |url: &str| {
        let reply = Client::default().get(&format!("{url}/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.header("x-cache").to_owned()
    };
    for edge in apart.edges() {
        assert_eq!(source(&edge.url).await, "MISS");
        assert_eq!(source(&edge.url).await, "HIT");
    }

    let victim = &apart.edges()[2];
    kill(&victim.run).await;
    let change = operator.begin_purge(&[&id]).await;
    let _edge = again(&victim.run, &victim.admin_url).await;
    operator.complete(&change).await;
    for edge in apart.edges() {
        assert_eq!(source(&edge.url).await, "MISS", "{}", edge.name);
    }

    kill(&desk.run).await;
    for edge in apart.edges() {
        assert_eq!(source(&edge.url).await, "HIT", "{}", edge.name);
        let ready = Client::default().get(&format!("{}/readyz", edge.admin_url)).await;
        assert_eq!(ready.status, StatusCode::OK);
    }
    let _desk = again(&desk.run, &format!("http://{}", desk.admin)).await;
    operator.sees(3).await;
    let receipt = operator.purge(&[&id]).await;
    assert!(receipt.nodes.iter().all(|node| node.state() == NodeState::Applied), "{receipt:?}");
    apart.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_outlives_a_restart_of_everything() {
    let data = tempfile::tempdir().unwrap();
    let apart = Apart::start(&topology(data.path())).await.unwrap();
    let operator = Operator::new(apart.desk().grpc, &apart.desk().key);
    operator.sees(3).await;
    let id = store(&apart, bytes(4_000, 2)).await;
    operator.block(&[&id]).await;
    apart.stop().await;

    let apart = Apart::start(&topology(data.path())).await.unwrap();
    for edge in apart.edges() {
        let reply = Client::default().get(&format!("{}/cdn/{id}", edge.url)).await;
        assert_eq!(reply.status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "{}", edge.name);
    }
    apart.stop().await;
}
