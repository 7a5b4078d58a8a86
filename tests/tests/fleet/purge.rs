//! A purge is true everywhere once its receipt says so.

use std::{collections::BTreeMap, process::Stdio};

use http::StatusCode;
use wcdn_proto::{
    BlobId, Span,
    pb::{
        admin::v1::{NodeState, PurgeRequest, Receipt},
        edge::v1::{ReadBack, RedisOutcome},
    },
};
use wcdn_tests::{
    Fleet, bytes, client::Reply, eventually, grpc_peer, operator::Operator, program::program,
};

/// Edges in each region.
const PER_REGION: usize = 3;

/// Nine edges in three regions, each with a Redis, and a control plane that knows them all.
async fn nine() -> (Fleet, Operator) {
    let fleet = Fleet::with(|topology| {
        topology.edges_per_region = 3;
        topology.control_plane = true;
        topology.redis = true;
        topology.edge.redis.timeout = Span::secs(2);
    })
    .await;
    let operator = fleet.operator();
    operator.sees(9).await;
    (fleet, operator)
}

/// Three edges, no Redis.
async fn three() -> (Fleet, Operator) {
    let fleet = Fleet::with(|topology| topology.control_plane = true).await;
    let operator = fleet.operator();
    operator.sees(3).await;
    (fleet, operator)
}

async fn get(fleet: &Fleet, edge: usize, path: &str) -> Reply {
    let reply = fleet.client.get(&fleet.edge(edge, path)).await;
    assert_eq!(reply.status, StatusCode::OK, "{path} of edge {edge}: {reply:?}");
    reply
}

fn is_hit(reply: &Reply) -> bool {
    reply.header("x-cache") == "HIT"
}

/// Fetches a path from every edge, and again until all of them have it in memory.
async fn everywhere(fleet: &Fleet, path: &str) {
    for edge in 0..fleet.cluster.edges().len() {
        eventually("it is in memory", || async {
            get(fleet, edge, path).await.header("x-source") == "memory"
        })
        .await;
    }
}

/// What one node tells of a purge in time may be little on a busy machine; all of it comes.
async fn told(operator: &Operator, receipt: &Receipt) -> Receipt {
    let change = receipt.change.as_ref().unwrap();
    eventually("every node has told", || async {
        operator.receipt(change).await.nodes.iter().all(|line| line.outcome.is_some())
    })
    .await;
    operator.receipt(change).await
}

#[tokio::test]
async fn a_receipt_names_nine_nodes_and_nothing_older_than_it_is_served() {
    let (fleet, operator) = nine().await;
    let (id, other) = (fleet.store(bytes(1, 50_000)).await, fleet.store(bytes(2, 40_000)).await);
    let (path, bystander) = (format!("/cdn/{id}"), format!("/cdn/{other}"));
    everywhere(&fleet, &path).await;
    everywhere(&fleet, &bystander).await;
    let (fetched, others) = (fleet.fetches(&id).await, fleet.fetches(&other).await);
    let receipt = operator.purge(&[id]).await;
    let change = receipt.change.clone().unwrap();
    let receipt = told(&operator, &receipt).await;
    names_all_nine(&receipt);
    for region in 0..3 {
        let first = get(&fleet, region * PER_REGION, &path).await;
        assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
        assert_eq!(first.body, bytes(1, 50_000));
    }
    everywhere(&fleet, &path).await;
    assert!(fleet.fetches(&id).await >= fetched + 3, "each region fetches it again");
    for holder in operator.explain(&id).await {
        let holding = holder.holding.expect("a live node answers");
        let (token, at) = (holding.token.unwrap(), change.last.unwrap());
        assert!((token.epoch, token.seq) >= (at.epoch, at.seq), "{} is older", holder.node);
    }
    for edge in 0..9 {
        assert_eq!(get(&fleet, edge, &bystander).await.header("x-source"), "memory");
    }
    assert_eq!(fleet.fetches(&other).await, others, "nobody fetches what was not purged");
}

fn names_all_nine(receipt: &Receipt) {
    let regions = ["asia-pacific", "eu-west", "us-west"];
    let names = regions.iter().flat_map(|region| (1..=3).map(move |n| format!("{region}-{n}")));
    let named: Vec<_> = receipt.nodes.iter().map(|line| line.node.clone()).collect();
    assert_eq!(named, names.collect::<Vec<_>>());
    let mut from_redis = BTreeMap::<&str, u64>::new();
    for line in &receipt.nodes {
        assert_eq!(line.state(), NodeState::Applied, "{line:?}");
        assert!((1..10_000_000).contains(&line.applied_after_us), "{line:?}");
        let outcome = line.outcome.as_ref().unwrap();
        assert_eq!(outcome.memory_removed, 1, "{line:?}");
        assert_eq!(outcome.redis(), RedisOutcome::Removed, "{line:?}");
        assert_eq!(outcome.read_back(), ReadBack::Clean, "{line:?}");
        *from_redis.entry(&line.region).or_default() += outcome.redis_removed;
    }
    assert_eq!(from_redis, BTreeMap::from(regions.map(|region| (region, 1))), "each Redis had it");
}

#[tokio::test]
async fn the_files_of_a_quilt_go_with_it_and_a_file_takes_the_quilt_along() {
    let (fleet, operator) = three().await;
    let files = [("a.txt", bytes(3, 700), "text/plain"), ("b.txt", bytes(4, 900), "text/plain")];
    let (quilt, stored) = fleet.store_quilt(&files).await;
    let patches = &stored["storedQuiltBlobs"];
    let patch = patches[0]["quiltPatchId"].as_str().unwrap();
    let paths = [
        format!("/cdn/{quilt}/a.txt"),
        format!("/cdn/{quilt}/b.txt"),
        format!("/cdn/{patch}"),
        format!("/v1/blobs/by-quilt-id/{quilt}/b.txt"),
        format!("/v1/quilts/{quilt}/patches"),
    ];
    for purged in [quilt.to_string(), patch.to_owned()] {
        for path in &paths {
            for edge in 0..3 {
                get(&fleet, edge, path).await;
            }
        }
        let fetched = fleet.fetches(&quilt).await;
        operator.purge(&[purged]).await;
        for edge in 0..3 {
            // Each edge begins with another path, so that each path is the first somewhere.
            let first = get(&fleet, edge, &paths[edge]).await;
            assert!(!is_hit(&first), "{}: {first:?}", paths[edge]);
            for path in &paths {
                get(&fleet, edge, path).await;
            }
        }
        assert_eq!(fleet.fetches(&quilt).await, fetched + 3, "each edge fetches the quilt once");
    }
}

#[tokio::test]
async fn everything_can_be_purged_at_once() {
    let (fleet, operator) = nine().await;
    let mut ids = Vec::new();
    for seed in 10..16 {
        let id = fleet.store(bytes(seed, 9_000)).await;
        everywhere(&fleet, &format!("/cdn/{id}")).await;
        ids.push((id, fleet.fetches(&id).await));
    }
    let receipt = told(&operator, &operator.purge_all().await).await;
    for line in &receipt.nodes {
        // Of everything the count is rough: the cache's engine does its sums in its own time.
        assert!((1..=6).contains(&line.outcome.as_ref().unwrap().memory_removed), "{line:?}");
    }
    for (id, fetched) in ids {
        for region in 0..3 {
            let first = get(&fleet, region * PER_REGION, &format!("/cdn/{id}")).await;
            assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
        }
        everywhere(&fleet, &format!("/cdn/{id}")).await;
        assert!(fleet.fetches(&id).await >= fetched + 3);
    }
}

#[tokio::test]
async fn the_same_request_under_the_same_token_is_one_purge() {
    let (fleet, operator) = three().await;
    let id = fleet.store(bytes(20, 5_000)).await;
    let purge = PurgeRequest {
        ids: vec![id.to_string()],
        idempotency_token: "deploy-417".into(),
        ..PurgeRequest::default()
    };
    let first = operator.commit(purge.clone()).await;
    operator.complete(&first).await;
    everywhere(&fleet, &format!("/cdn/{id}")).await;
    let again = operator.commit(purge.clone()).await;
    assert_eq!((&again.id, again.last), (&first.id, first.last));
    assert!(operator.complete(&again).await.complete);
    assert_eq!(operator.head().await, first.last.unwrap(), "nothing was added to the log");
    for edge in 0..3 {
        assert!(is_hit(&get(&fleet, edge, &format!("/cdn/{id}")).await), "nothing is purged again");
    }
    let other = PurgeRequest { idempotency_token: "deploy-418".into(), ..purge };
    assert_ne!(operator.commit(other).await.id, first.id);
}

#[tokio::test]
async fn the_command_line_prints_the_receipt() {
    let (fleet, _) = three().await;
    let id = fleet.store(bytes(21, 5_000)).await;
    everywhere(&fleet, &format!("/cdn/{id}")).await;
    let desk = fleet.cluster.desk().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(program("wcdn"));
    command.args(["purge", &id.to_string(), "--wait", "--timeout", "20s"]);
    command.env_clear().env("HOME", home.path());
    command.env("WCDN_ENDPOINT", format!("http://{}", desk.grpc)).env("WCDN_API_KEY", &desk.key);
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let (told, said) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr));
    assert!(ran.status.success(), "{told}{said:?}");
    for node in ["us-west-1", "eu-west-1", "asia-pacific-1"] {
        let line = told.lines().find(|line| line.starts_with(node)).unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words.get(2), Some(&"applied"), "{told}");
    }
    assert!(told.contains("3 of 3 nodes"), "{told}");
    missed_by_all(&fleet, &id).await;
}

async fn missed_by_all(fleet: &Fleet, id: &BlobId) {
    for edge in 0..3 {
        let reply = get(fleet, edge, &format!("/cdn/{id}")).await;
        assert_eq!(reply.header("x-cache"), "MISS", "edge {edge}");
    }
}

#[tokio::test]
async fn a_program_in_python_purges_without_generated_code() {
    let (fleet, _) = three().await;
    let id = fleet.store(bytes(22, 5_000)).await;
    everywhere(&fleet, &format!("/cdn/{id}")).await;
    let desk = fleet.cluster.desk().unwrap();
    let found = grpc_peer::purge(desk.grpc, &desk.key, &id.to_string()).await;
    assert!(found.services.contains(&"wcdn.admin.v1.AdminService".to_owned()), "{found:?}");
    assert_eq!(found.change["kind"], "purge");
    let last = found.receipts.last().expect("a receipt");
    assert_eq!(last["complete"], serde_json::json!(true));
    let nodes = last["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node["state"] == "NODE_STATE_APPLIED"), "{nodes:?}");
    missed_by_all(&fleet, &id).await;
}
