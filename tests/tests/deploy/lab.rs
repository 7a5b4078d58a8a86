//! Three regions, each program in a network namespace of its own, far from each other.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use http::StatusCode;
use wcdn_proto::{BlobId, pb::admin::v1::NodeState};
use wcdn_tests::{
    bytes,
    client::{Client, Reply},
    eventually,
    lab::{Lab, impossible},
    operator::{assert_nothing_older, line},
    signal::Signal,
};

const EDGES: [&str; 6] =
    ["us-west-1", "us-west-2", "eu-west-1", "eu-west-2", "asia-pacific-1", "asia-pacific-2"];

/// Where the edges of the last region listen for the operator.
const FAR: &str = "10.77.0.31:4511";

/// Tells how long a machine takes to connect to an address, in milliseconds.
const CONNECT: &str = "
import socket, sys, time
host, port = sys.argv[1].split(':')
began = time.monotonic()
socket.create_connection((host, int(port)), 10).close()
print((time.monotonic() - began) * 1000)
";

async fn get(lab: &Lab, edge: &str, id: &BlobId) -> Reply {
    let url = format!("http://{}/cdn/{id}", lab.door(edge, "edge"));
    let reply = Client::default().get(&url).await;
    assert_eq!(reply.status, StatusCode::OK, "{edge}: {reply:?}");
    assert!(reply.complete, "{edge}");
    reply
}

/// The least of several tries: whoever is busy is late.
fn round_trip(lab: &Lab, from: &str) -> Duration {
    let connect = || -> f64 {
        lab.run(&["exec", from, "python3", "-c", CONNECT, FAR]).trim().parse().unwrap()
    };
    let least = (0..3).map(|_| connect()).fold(f64::INFINITY, f64::min);
    Duration::from_secs_f64(least / 1000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_was_cut_off_during_a_purge_serves_nothing_old_once_it_is_back() {
    if let Some(why) = impossible() {
        eprintln!("skipped: {why}");
        return;
    }
    let lab = Lab::up(&[]);
    let operator = lab.operator("control-plane-1");
    operator.sees(EDGES.len()).await;
    let id = lab.store(bytes(1, 40_000)).await;
    for edge in EDGES {
        get(&lab, edge, &id).await;
        assert_eq!(get(&lab, edge, &id).await.header("x-source"), "memory", "{edge}");
    }

    lab.run(&["partition", "asia-pacific"]);
    let change = operator.begin_purge(&[id]).await;
    let (far, near) = (&EDGES[4..], &EDGES[..4]);
    for edge in near {
        operator.applied_by(edge, &change).await;
    }
    let receipt = operator.settled(&change).await;
    assert!(receipt.settled && !receipt.complete, "{receipt:?}");
    for edge in far {
        let state = line(&receipt, edge).expect("it is named").state();
        assert!(matches!(state, NodeState::Unconfirmed | NodeState::Lost), "{edge}: {state:?}");
    }
    // It serves what it holds, and says that it may have been purged.
    eventually("the region that is cut off says so", || async {
        let reply = get(&lab, far[0], &id).await;
        assert_eq!(reply.header("x-source"), "memory");
        reply.header("cache-status").contains("unconfirmed")
    })
    .await;
    assert_ne!(get(&lab, near[0], &id).await.header("x-source"), "memory");

    lab.run(&["heal"]);
    for edge in far {
        operator.applied_by(edge, &change).await;
    }
    assert!(operator.complete(&change).await.complete, "it has come back in time");
    assert_eq!(get(&lab, far[0], &id).await.header("x-source"), "walrus");
    get(&lab, far[1], &id).await;
    assert_nothing_older(&operator, &id, &change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_between_regions_take_their_time() {
    if let Some(why) = impossible() {
        eprintln!("skipped: {why}");
        return;
    }
    let lab = Lab::up(&["--edges", "1"]);
    let there_and_back = Duration::from_millis(170);
    assert!(round_trip(&lab, "us-west") >= there_and_back);
    assert!(round_trip(&lab, "asia-pacific") < there_and_back, "it is next to itself");
    lab.run(&["delay", "us-west", "asia-pacific", "5", "0"]);
    assert!(round_trip(&lab, "us-west") < there_and_back);
    let delay = lab.status()["links"]
        .as_array()
        .unwrap()
        .iter()
        .any(|link| link["delay_ms"] == 5.0 && link["between"].as_array().unwrap().len() == 2);
    assert!(delay);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_lab_however_it_ends() {
    if let Some(why) = impossible() {
        eprintln!("skipped: {why}");
        return;
    }
    let options = ["--edges", "1", "--ideal"];
    let mut lab = Lab::up(&options);
    let status = lab.status();
    let own = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    let processes = lab.processes();
    assert_eq!(processes.len(), 3 + 1 + 1 + 3 + 1, "Redis, Walrus, the desk, edges, and the lab");
    let machines: Vec<u32> = processes.iter().copied().filter(|pid| *pid != own).collect();
    assert_eq!(networks(&machines).len(), machines.len(), "each machine has a network of its own");

    Signal::Kill.send(own);
    eventually("all processes end with the lab", || async { running(&processes).is_empty() }).await;
    lab.up_again(&options);
    let processes = lab.processes();
    lab.run(&["down"]);
    eventually("nothing of it runs", || async { running(&processes).is_empty() }).await;
}

fn networks(processes: &[u32]) -> BTreeSet<PathBuf> {
    let network = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    processes.iter().map(network).collect()
}

/// Those that run; whoever has ended and is not asked for by its parent does not.
fn running(processes: &[u32]) -> Vec<u32> {
    let runs = |pid: &&u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        status.is_ok_and(|status| !status.contains(") Z "))
    };
    processes.iter().filter(runs).copied().collect()
}
