//! Several control planes on one database: one is killed, all are cut off from it, another server takes
//! its place.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;
use wcdn_dev::{Apart, Topology, apart::DeskPart, banner::Banner, desk::Desk};
use wcdn_postgres::Postgres;
use wcdn_proto::{
    Span,
    pb::admin::v1::{BarrierRequest, admin_service_client::AdminServiceClient},
};
use wcdn_tests::{
    Fleet, bytes,
    client::Client,
    eventually,
    operator::Operator,
    relay::Relay,
    storm::{Caller, Storm},
};

use crate::{
    apart::{again, kill, store},
    weather_desk::{
        assert_blocked, assert_fetched_again, assert_held, assert_serves_alone, held_everywhere,
    },
};

const EDGES: usize = 3;

fn replicas(topology: &mut Topology) {
    topology.control_plane = true;
    topology.control_planes = 2;
    topology.control.store.acquire_timeout = Span::secs(1);
    topology.control.store.statement_timeout = Span::secs(2);
    // Nodes that share a machine with whoever compiles may be late.
    topology.control.receipts.lease = Span::secs(30);
    topology.control.receipts.lost_after = Span::secs(60);
    topology.edge.cluster.lease = Span::secs(30);
}

/// Waits until every node is live there, by session or datagram.
async fn knows_all(operator: &Operator) {
    eventually("the nodes are live", || async {
        operator.nodes().await.iter().filter(|node| node.state == "live").count() == EDGES
    })
    .await;
}

async fn operators(fleet: &Fleet) -> Vec<Operator> {
    let desks = fleet.cluster.desks();
    let operators: Vec<_> = desks.map(|desk| Operator::new(desk.grpc, &desk.key)).collect();
    for operator in &operators {
        knows_all(operator).await;
    }
    operators
}

/// What a barrier is answered.
async fn barrier(desk: &Desk) -> Result<(), Status> {
    let channel = Channel::from_shared(format!("http://{}", desk.grpc)).unwrap();
    let mut admin = AdminServiceClient::new(channel.connect_lazy());
    let mut request = Request::new(BarrierRequest {});
    request.metadata_mut().insert("x-api-key", desk.key.parse().unwrap());
    admin.barrier(request).await.map(drop)
}

async fn assert_store_failed(desk: &Desk) {
    let began = Instant::now();
    let refused = barrier(desk).await.unwrap_err();
    let reason = refused.get_error_details().error_info().unwrap().reason.clone();
    assert_eq!((refused.code(), reason), (Code::Unavailable, "STORE_FAILED".to_owned()));
    assert!(refused.message().contains("store"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?}", began.elapsed());
}

async fn eventually_writes(fleet: &Fleet) {
    eventually("every control plane writes again", || async {
        for desk in fleet.cluster.desks() {
            if barrier(desk).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_through_two_hold_when_one_is_killed_among_them() {
    let mut topology = Topology::for_tests();
    replicas(&mut topology);
    let apart = Apart::start(&topology).await.unwrap();
    let [one, two] = apart.desks() else { panic!("there are two") };
    let told = Banner::of_apart(&apart).text(None);
    for word in [one.grpc.to_string(), two.grpc.to_string(), "postgres://".to_owned()] {
        assert!(told.contains(&word), "{word} is missing in {told}");
    }
    let operator = |desk: &DeskPart| Operator::new(desk.grpc, &desk.key);
    for desk in [one, two] {
        knows_all(&operator(desk)).await;
    }
    let source = async |url: &str, id: &str| {
        let reply = Client::default().get(&format!("{url}/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.header("x-cache").to_owned()
    };
    let mut purged = Vec::new();
    for seed in 0..20 {
        let id = store(&apart, bytes(seed, 500)).await;
        for edge in apart.edges() {
            source(&edge.url, &id).await;
        }
        purged.push(id);
    }
    let ids: Vec<_> = purged.iter().map(|id| id.parse().unwrap()).collect();

    let callers = [one, two].map(|desk| Caller::new(desk.grpc, &desk.key));
    let storms = [Storm::begin(&callers[0], &ids[..10]), Storm::begin(&callers[1], &ids[10..])];
    for storm in &storms {
        storm.goes_on(100).await;
    }
    kill(&one.run).await;
    storms[1].goes_on(100).await;
    let _one = again(&one.run, &format!("http://{}", one.admin)).await;
    storms[0].goes_on(100).await;
    let mut changes = Vec::new();
    for storm in storms {
        changes.extend(storm.end().await);
    }

    let epoch = changes[0].last.unwrap().epoch;
    for caller in &callers {
        let log = caller.log(epoch).await.unwrap();
        assert!(log.iter().copied().eq(1..=log.len() as u64), "a gap: {log:?}");
        let is_there = |seq| seq >= 1 && seq <= log.len() as u64;
        assert!(changes.iter().all(|it| is_there(it.last.unwrap().seq)), "not in the log");
    }
    let mut seqs: Vec<_> = changes.iter().map(|change| change.last.unwrap()).collect();
    assert!(seqs.iter().all(|at| at.epoch == epoch));
    seqs.sort_unstable_by_key(|at| at.seq);
    seqs.dedup();
    assert_eq!(seqs.len(), changes.len(), "each has a place of its own");
    for desk in [two, one] {
        let operator = operator(desk);
        for change in &changes {
            eventually("its receipt is complete, wherever one asks", || async {
                let receipt = operator.receipt(change).await;
                receipt.complete && receipt.nodes.len() == EDGES
            })
            .await;
        }
    }
    for edge in apart.edges() {
        for id in &purged {
            assert_eq!(source(&edge.url, id).await, "MISS", "{} holds what was purged", edge.name);
        }
    }
    apart.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_serve_on_while_no_control_plane_reaches_the_database_and_all_goes_on_after_it() {
    let mut server = Postgres::temporary().await.unwrap();
    server.listen(&[("fsync", "off")]).await.unwrap();
    let way = Relay::bind().await.unwrap();
    way.lead_to(([127, 0, 0, 1], server.port()).into());
    let url = format!("postgres://wcdn@{}/postgres", way.address());
    let fleet = Fleet::with(|topology| {
        replicas(topology);
        topology.control.store.url = Some(url.parse().unwrap());
    })
    .await;
    let operators = operators(&fleet).await;
    let held = held_everywhere(&fleet, 0..3).await;
    let purged = held_everywhere(&fleet, 10..14).await;
    operators[0].purge(&purged[..1]).await;
    operators[1].purge(&purged[1..2]).await;

    way.cut();
    for desk in fleet.cluster.desks() {
        assert_store_failed(desk).await;
        // Whoever asks again hears the same.
        assert_store_failed(desk).await;
    }
    assert_serves_alone(&fleet, &held, 1_000).await;
    way.heal();
    eventually_writes(&fleet).await;
    operators[0].purge(&purged[2..3]).await;
    operators[1].purge(&purged[3..]).await;
    assert_fetched_again(&fleet, &purged).await;
    assert_held(&fleet, &held).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_purged_is_served_when_a_standby_that_lagged_is_promoted() {
    let mut primary = Postgres::temporary().await.unwrap();
    primary.listen(&[("fsync", "off")]).await.unwrap();
    let mut standby = primary.temporary_standby().await.unwrap();
    standby.listen(&[("fsync", "off")]).await.unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let url = format!("postgres://wcdn@{hosts}/postgres");
    let fleet = Fleet::with(|topology| {
        replicas(topology);
        topology.control.store.url = Some(url.parse().unwrap());
    })
    .await;
    let operators = operators(&fleet).await;
    let held = held_everywhere(&fleet, 0..4).await;
    let purged = held_everywhere(&fleet, 10..14).await;
    let before = operators[0].purge(&purged[..2]).await.change.unwrap().last.unwrap();
    // The standby stops following; what is acknowledged from now on is lost with the primary.
    standby.stop();
    operators[1].purge(&purged[2..]).await;
    operators[0].block(&held[..1]).await;
    primary.kill();
    assert_serves_alone(&fleet, &held[1..], 1_000).await;
    standby.listen(&[("fsync", "off")]).await.unwrap();
    standby.promote().await.unwrap();

    eventually_writes(&fleet).await;
    for operator in &operators {
        let receipt = operator.barrier().await;
        assert!(receipt.change.unwrap().last.unwrap().epoch > before.epoch);
    }
    // Neither purge is undone, though one is in no log; nor is the block; what nobody purged is fetched
    // again, since nobody can tell.
    assert_fetched_again(&fleet, &purged).await;
    assert_fetched_again(&fleet, &held[1..]).await;
    assert_blocked(&fleet, &held[0]).await;
    operators[1].unblock(&held[..1]).await;
    fleet.stop().await;
}
