//! Origins that fail somewhere, now and then, or on purpose: what edges and the control plane make of it
//! together, and that nobody is ejected for all on somebody's word.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};
use wcdn_node::config::OriginSpec;
use wcdn_proto::{
    BlobId, Span,
    pb::{
        admin::v1::OriginState,
        edge::v1::{Lie, OriginTraffic, Report},
    },
};
use wcdn_tests::{Fleet, bytes, eventually, forged::ForgedNode, operator::Operator, relay::Relay};

use crate::health::fleet;

const ALL: [&str; 3] = ["aggregator-1", "aggregator-2", "aggregator-3"];

/// Reads a blob that nobody has asked for yet.
async fn miss(fleet: &Fleet, edge: usize, seed: u64) -> StatusCode {
    let body = bytes(seed, 3_000);
    let id = fleet.store(body.clone()).await;
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    assert!(reply.status != StatusCode::OK || (reply.complete && reply.body == body));
    reply.status
}

/// Reads fresh blobs from an edge until it has met a lie of some origin.
async fn meet_a_lie(fleet: &Fleet, edge: usize, seed: u64) {
    let lies =
        async || fleet.metric_of(edge, "wcdn_origin_requests_total", "outcome=\"lied\"").await;
    let (before, mut seed) = (lies().await, seed);
    while lies().await == before {
        assert_eq!(miss(fleet, edge, seed).await, StatusCode::OK);
        seed += 1;
    }
}

/// The sum of a metric of the control plane.
async fn desk_metric(fleet: &Fleet, name: &str, labels: &str) -> f64 {
    let url = format!("http://{}/metrics", fleet.cluster.desk().unwrap().admin);
    let text = fleet.client.get(&url).await.body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn nobody_is_ejected(operator: &Operator) {
    let pool = operator.pool().await;
    assert!(pool.origins.iter().all(|origin| !origin.ejected), "{pool:?}");
}

#[tokio::test]
async fn all_origins_dead_for_one_region_are_told_by_it_and_ejected_for_nobody() {
    let mut ways = Vec::new();
    for _ in ALL {
        ways.push(Relay::bind().await.unwrap());
    }
    let specs = ALL.iter().zip(&ways).map(|(name, way)| {
        let url = format!("http://{}", way.address());
        OriginSpec::new(name.parse().unwrap(), url.parse().unwrap())
    });
    let specs: Vec<_> = specs.collect();
    let fleet = fleet(|topology| topology.origin_ways = vec![specs]).await;
    for (n, way) in ways.iter().enumerate() {
        way.lead_to(fleet.aggregator(n).trim_start_matches("http://").parse().unwrap());
    }
    let operator = fleet.operator();
    let cached = fleet.store(bytes(1, 5_000)).await;
    let path = format!("/cdn/{cached}");
    assert_eq!(fleet.get(&path).await.status, StatusCode::OK);

    ways.iter().for_each(Relay::cut);
    eventually("the region tells of it", || async {
        let misses = join_all((0..4).map(|_| miss(&fleet, 0, rand::random()))).await;
        assert!(misses.iter().all(|status| status.is_server_error()), "{misses:?}");
        let health = operator.health().await;
        let mut aggregators = health.iter().filter(|health| !health.regions.is_empty());
        aggregators.clone().count() == ALL.len()
            && aggregators.all(|health| {
                let region = &health.regions[0];
                let traffic = region.traffic.as_ref().unwrap();
                region.region == "us-west" && traffic.timed_out > 0
            })
    })
    .await;
    eventually("origins that fail a region are degraded, and why is said", || async {
        let health = operator.health().await;
        health.iter().filter(|health| health.reason.starts_with("us-west: ")).count() >= 1
    })
    .await;
    assert_eq!(fleet.get(&path).await.status, StatusCode::OK, "hits go on there");
    for n in 0..6 {
        let edge = 1 + n % 2;
        assert_eq!(miss(&fleet, edge, 1_000 + n as u64).await, StatusCode::OK, "and all elsewhere");
    }
    for name in ALL {
        let state = operator.state_of(name).await;
        assert!(matches!(state, OriginState::Healthy | OriginState::Degraded), "{name}: {state:?}");
    }
    nobody_is_ejected(&operator).await;

    ways.iter().for_each(Relay::heal);
    eventually("the region is served again", || async {
        miss(&fleet, 0, rand::random()).await == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn one_that_takes_nine_seconds_or_answers_pages_is_told_with_why_and_seen_by_no_viewer() {
    for (fault, reason) in [
        (json!({"latency_ms": 9_000}), "no answer within 500ms"),
        (json!({"html": true}), "answers 200 for a blob that does not exist, not 404"),
    ] {
        let fleet = fleet(|_| {}).await;
        let operator = fleet.operator();
        fleet.fault(1, fault.clone()).await;
        for n in 0..12 {
            assert_eq!(miss(&fleet, n % 3, n as u64).await, StatusCode::OK, "{fault}");
        }
        eventually("it is found out", || async {
            let health = operator.health_of("aggregator-2").await;
            matches!(health.state(), OriginState::Unhealthy | OriginState::Ejected)
                && health.reason == reason
        })
        .await;
        let change = operator.health_of("aggregator-2").await.changes.pop().unwrap();
        assert_eq!(change.reason, reason);
        for other in ["aggregator-1", "aggregator-3"] {
            assert_eq!(operator.state_of(other).await, OriginState::Healthy);
        }
    }
}

#[tokio::test]
async fn one_that_comes_and_goes_changes_its_state_a_few_times_only() {
    let fleet = fleet(|_| {}).await;
    let operator = fleet.operator();
    let rounds = async || {
        desk_metric(&fleet, "wcdn_origin_health_probes_total", "origin=\"aggregator-1\"").await
    };
    for n in 0..16 {
        let is_bad = n % 2 == 0;
        fleet.fault(0, if is_bad { json!({"status": 500}) } else { json!({}) }).await;
        let before = rounds().await;
        eventually("three rounds pass", || async { rounds().await >= before + 3.0 }).await;
        assert_eq!(miss(&fleet, n % 3, 500 + n as u64).await, StatusCode::OK);
    }
    let changes = desk_metric(&fleet, "wcdn_origin_health_changes_total", "").await;
    assert!((1.0..=10.0).contains(&changes), "{changes} changes in 16 turns");
    let others = [operator.state_of("aggregator-2").await, operator.state_of("aggregator-3").await];
    assert_eq!(others, [OriginState::Healthy; 2]);
}

/// A node that is not there, with a session.
async fn forged(fleet: &Fleet, name: &str) -> ForgedNode {
    let grpc = fleet.cluster.desk().unwrap().grpc;
    let key = fleet.cluster.edges()[0].node().config().cluster.key_file.clone().unwrap();
    ForgedNode::join(grpc, &key, name, "eu-west").await
}

fn accusation(blobs: &[BlobId]) -> Report {
    let accused = ALL.iter().flat_map(|name| blobs.iter().map(move |blob| (name, blob)));
    let lies = (1..).zip(accused).map(|(seq, (name, blob))| Lie {
        origin: (*name).to_owned(),
        content: blob.as_bytes().to_vec().into(),
        seq,
        at_ms: 0,
    });
    let traffic = |name: &&str| OriginTraffic {
        origin: (*name).to_owned(),
        requests: 1_000,
        lies: 1_000,
        ..OriginTraffic::default()
    };
    let origins = ALL.iter().map(traffic).collect();
    Report { lies: lies.collect(), origins, ..Report::default() }
}

#[tokio::test]
async fn a_node_with_bad_memory_that_accuses_everybody_ejects_nobody() {
    let fleet = fleet(|_| {}).await;
    let operator = fleet.operator();
    let mut blobs = Vec::new();
    for n in 0..10 {
        blobs.push(fleet.store(bytes(n, 3_000)).await);
    }
    let node = forged(&fleet, "bad-memory").await;
    // Where it begins, then a thousand lies of everybody.
    let begin = |name: &&str| OriginTraffic { origin: (*name).to_owned(), ..Default::default() };
    let origins = ALL.iter().map(begin).collect();
    node.report(Report { origins, ..Report::default() }).await;
    node.report(accusation(&blobs)).await;
    let claims = async |result: &str| {
        let labels = format!("result=\"{result}\"");
        desk_metric(&fleet, "wcdn_origin_health_claims_total", &labels).await
    };
    eventually("it is not believed any more", || async { claims("doubted").await >= 20.0 }).await;
    assert_eq!((claims("false").await, claims("true").await), (3.0, 0.0));
    nobody_is_ejected(&operator).await;
    for name in ALL {
        let health = operator.health_of(name).await;
        assert_ne!(health.state(), OriginState::Unhealthy, "{health:?}");
        assert_eq!(health.lied_at_ms, 0);
        assert!(health.probes.iter().all(|probe| probe.result == "ok"), "{health:?}");
    }
    // Others are believed all the same.
    fleet.fault(1, json!({"corrupt": true})).await;
    meet_a_lie(&fleet, 0, 5_000).await;
    operator.sees_origin("aggregator-2", OriginState::Ejected).await;
    assert_eq!(claims("true").await, 1.0);
}

#[tokio::test]
async fn who_lies_to_an_edge_is_ejected_for_all_and_returns_when_it_is_honest_again() {
    let fleet = fleet(|topology| topology.control.health.return_after = 2).await;
    let operator = fleet.operator();
    fleet.fault(2, json!({"corrupt": true})).await;
    meet_a_lie(&fleet, 0, 0).await;
    let met = Instant::now();
    for edge in fleet.cluster.edges() {
        let url = format!("{}/debug/origins", edge.admin_url);
        eventually("every edge knows", || async {
            fleet.client.get(&url).await.json()["origins"][2]["ejected_for_all"] == true
        })
        .await;
    }
    let took = met.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    operator.sees_origin("aggregator-3", OriginState::Ejected).await;
    let health = operator.health_of("aggregator-3").await;
    assert_eq!(health.reason, "sent bytes that are not the blob");
    assert!(health.score <= 10 && health.lied_at_ms > 0, "{health:?}");
    assert!(health.origin.unwrap().automatic);
    let pool = operator.pool().await;
    assert_eq!(pool.revision, 1);
    assert_eq!(pool.publishers.len(), 1, "what was not changed stays");
    // It answers probes, and still lies.
    let rounds = async || {
        let probes = operator.health_of("aggregator-3").await.probes;
        probes.iter().filter(|probe| probe.asked == "verify" && probe.result == "lied").count()
    };
    eventually("it is asked for whole blobs", || async { rounds().await >= 3 }).await;
    assert_eq!(operator.state_of("aggregator-3").await, OriginState::Ejected);
    fleet.fault(2, json!({})).await;
    eventually("it has proved to be honest", || async {
        let pool = operator.pool().await;
        pool.origins.iter().all(|origin| !origin.ejected)
    })
    .await;
    for n in 0..12 {
        assert_eq!(miss(&fleet, n % 3, 700 + n as u64).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn never_more_than_half_are_ejected_and_viewers_are_served_by_the_honest_one() {
    let fleet = fleet(|_| {}).await;
    let operator = fleet.operator();
    for liar in [0, 1] {
        fleet.fault(liar, json!({"corrupt": true})).await;
    }
    eventually("one is ejected, and the other found out", || async {
        for edge in 0..3 {
            assert_eq!(miss(&fleet, edge, rand::random()).await, StatusCode::OK);
        }
        let states = [operator.state_of(ALL[0]).await, operator.state_of(ALL[1]).await];
        states.contains(&OriginState::Ejected) && states.contains(&OriginState::Unhealthy)
    })
    .await;
    let ejected = operator.pool().await.origins.iter().filter(|it| it.ejected).count();
    assert_eq!(ejected, 1);
    assert_eq!(operator.state_of(ALL[2]).await, OriginState::Healthy);
}

#[tokio::test]
async fn slow_then_lying_then_dead_no_fetch_fails_and_the_health_tells_why() {
    let fleet = fleet(|topology| {
        topology.control.health.return_after = 2;
        topology.control.health.timeout = Span::secs(2);
    })
    .await;
    let operator = fleet.operator();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = join_all((0..3).map(|edge| {
        let (fleet, is_over, served) = (&fleet, &is_over, &served);
        async move {
            while !is_over.load(SeqCst) {
                let status = miss(fleet, edge, rand::random()).await;
                assert_eq!(status, StatusCode::OK, "a fetch failed");
                served.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(5)).await;
            }
        }
    }));
    let story = async {
        let told = async |state: OriginState, reason: &str| {
            let what = format!("aggregator-1 is {state:?}: {reason}");
            eventually(&what, || async {
                let health = operator.health_of("aggregator-1").await;
                health.state() == state && health.reason.contains(reason)
            })
            .await;
        };
        fleet.fault(0, json!({"latency_ms": 1_500})).await;
        eventually("it is slow", || async {
            operator.health_of("aggregator-1").await.p50_us >= 1_000_000
        })
        .await;
        fleet.fault(0, json!({"corrupt": true})).await;
        told(OriginState::Ejected, "sent bytes that are not the blob").await;
        fleet.fault(0, json!({})).await;
        eventually("it returns", || async {
            operator.pool().await.origins.iter().all(|origin| !origin.ejected)
        })
        .await;
        fleet.fault(0, json!({"refuse": true})).await;
        eventually("it is dead", || async {
            let health = operator.health_of("aggregator-1").await;
            matches!(health.state(), OriginState::Unhealthy | OriginState::Ejected)
                && health.probes[0].result == "broken"
        })
        .await;
        is_over.store(true, SeqCst);
    };
    tokio::join!(load, story);
    assert!(served.load(SeqCst) > 50, "{served:?}");
    let changes = operator.health_of("aggregator-1").await.changes;
    let reasons: Vec<_> = changes.iter().map(|change| change.reason.as_str()).collect();
    assert!(reasons.contains(&"sent bytes that are not the blob"), "{reasons:?}");
}
