//! Edges keep a session with every way to a control plane, and what they tell is told once.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
};

use http::StatusCode;
use wcdn_proto::{
    BlobId, Span,
    pb::{
        admin::v1::{Change, NodeReceipt},
        edge::v1::{Outcome, ReadBack},
    },
};
use wcdn_tests::{
    Fleet, bytes,
    control_plane::quiet_ports,
    dns::NameServer,
    eventually,
    far::Far,
    operator::{Operator, line},
    relay::Relay,
    wan::Weather,
};

const EDGES: usize = 3;

/// The last of them.
const LAST: usize = 2;
const LAST_NAME: &str = "asia-pacific-1";

/// More than a report has, and what else a session says in between: two reports and an empty one.
const TWO_REPORTS: usize = 100;

async fn held_everywhere(fleet: &Fleet, seeds: Range<u64>) -> Vec<BlobId> {
    let mut ids = Vec::new();
    for seed in seeds {
        let id = fleet.store(bytes(seed, 500)).await;
        for edge in 0..EDGES {
            let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        }
        ids.push(id);
    }
    ids
}

/// Every node tells of a purge that it removed one entry, and found nothing after.
async fn is_told_once(operator: &Operator, change: &Change) {
    let outcomes = async || {
        let receipt = operator.receipt(change).await;
        let told = receipt.nodes.iter().filter_map(|line| line.outcome);
        told.collect::<Vec<Outcome>>()
    };
    eventually("every node has told", async || outcomes().await.len() == EDGES).await;
    for outcome in outcomes().await {
        assert_eq!((outcome.memory_removed, outcome.read_back()), (1, ReadBack::Clean));
    }
}

/// So many sessions that an edge has by this endpoint.
async fn sessions(fleet: &Fleet, edge: usize, endpoint: &str) -> f64 {
    fleet.metric_of(edge, "wcdn_events_session", endpoint).await
}

async fn one_session_each(fleet: &Fleet, endpoint: &str) {
    for edge in 0..EDGES {
        eventually("the edge has one session", async || {
            sessions(fleet, edge, endpoint).await == 1.0 && sessions(fleet, edge, "").await == 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_lost_with_a_session_is_told_in_the_next_and_counts_once() {
    let far = Far::start(Weather::fine(), 1, |_| {}).await;
    let (operator, way) = (far.fleet.operator(), far.way(LAST));
    operator.sees(EDGES).await;
    let ids = held_everywhere(&far.fleet, 0..2).await;
    way.lose();
    let change = operator.begin_purge(&ids[..1]).await;
    // By datagrams.
    operator.applied_by(LAST_NAME, &change).await;
    let lost = way.lost();
    eventually("what it did is lost", async || way.lost() >= lost + TWO_REPORTS).await;
    let receipt = operator.receipt(&change).await;
    let told = |line: Option<&NodeReceipt>| line.is_some_and(|line| line.outcome.is_some());
    assert!(!told(line(&receipt, LAST_NAME)), "{receipt:?}");
    way.sever();
    is_told_once(&operator, &change).await;
    // What was told before a session broke is not told again.
    far.way(0).sever();
    operator.sees(EDGES).await;
    let next = operator.begin_purge(&ids[1..]).await;
    is_told_once(&operator, &next).await;
    is_told_once(&operator, &change).await;
}

#[tokio::test]
async fn an_endpoint_that_is_dead_costs_nothing_and_is_taken_when_it_comes_up() {
    let (grpc, admin) = quiet_ports();
    let way = Relay::bind().await.unwrap();
    let (dead, alive) = (format!("http://{}", way.address()), format!("http://127.0.0.1:{grpc}"));
    let mut fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.control_ports = Some((grpc, admin));
        topology.edge.control.endpoints = vec![dead.clone(), alive.clone()];
    })
    .await;
    let operator = fleet.operator();
    operator.sees(EDGES).await;
    one_session_each(&fleet, &alive).await;
    let ids = held_everywhere(&fleet, 0..3).await;
    is_told_once(&operator, &operator.begin_purge(&ids[..1]).await).await;

    // It is the same control plane, which has one session with a node: the later one.
    way.lead_to(fleet.cluster.desk().unwrap().grpc);
    one_session_each(&fleet, &dead).await;
    operator.sees(EDGES).await;
    is_told_once(&operator, &operator.begin_purge(&ids[1..2]).await).await;

    fleet.stop_desk().await;
    for edge in 0..EDGES {
        eventually("the session is over", async || sessions(&fleet, edge, "").await == 0.0).await;
    }
    fleet.start_desk().await;
    operator.sees(EDGES).await;
    one_session_each(&fleet, "").await;
    is_told_once(&operator, &operator.begin_purge(&ids[2..]).await).await;
}

#[tokio::test]
async fn a_name_leads_to_all_of_its_addresses_and_is_looked_up_again() {
    let (grpc, admin) = quiet_ports();
    let at = |last| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), grpc);
    let others = [Relay::bind_at(at(2)).await.unwrap(), Relay::bind_at(at(3)).await.unwrap()];
    let dns = NameServer::start().await;
    dns.name("control.test", &["127.0.0.1"]);
    let endpoint = format!("http://control.test:{grpc}");
    let mut fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.control_ports = Some((grpc, admin));
        topology.edge.control.endpoints = vec![endpoint.clone()];
        topology.edge.control.start_grace = Span::secs(60);
        topology.edge.dns.servers = vec![dns.address()];
    })
    .await;
    let operator = fleet.operator();
    operator.sees(EDGES).await;
    one_session_each(&fleet, &endpoint).await;
    assert!(others.iter().all(|other| other.clients() == 0));

    // The control plane moves, and stands behind two addresses.
    dns.name("control.test", &["127.0.0.2", "127.0.0.3"]);
    fleet.stop_desk().await;
    for other in &others {
        eventually("every edge tries it", async || other.clients() >= EDGES).await;
    }
    fleet.start_desk().await;
    others.iter().for_each(|other| other.lead_to(at(1)));
    operator.sees(EDGES).await;
    one_session_each(&fleet, &endpoint).await;
    let ids = held_everywhere(&fleet, 0..1).await;
    is_told_once(&operator, &operator.begin_purge(&ids).await).await;
}
