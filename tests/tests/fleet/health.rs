//! How origins do, as operators see it: probed, scored, ejected by hand, and brought up to date.

use serde_json::json;
use wcdn_dev::Topology;
use wcdn_proto::{
    Span,
    pb::admin::v1::{OriginKind, OriginState, refresh_origins_request::Source},
};
use wcdn_tests::{
    Fleet, bytes, eventually,
    origins::named,
    script::{self, ScriptedOrigin},
};

/// Rounds as fast as a test wants them.
pub(crate) fn watched(topology: &mut Topology) {
    topology.control_plane = true;
    topology.control.health.interval = Span::millis(200);
    topology.control.health.timeout = Span::millis(500);
    topology.edge.fetch.head_timeout = Span::millis(500);
    topology.edge.fetch.idle_timeout = Span::millis(500);
}

/// A fleet all of whose edges have a session.
pub(crate) async fn fleet(change: impl FnOnce(&mut Topology)) -> Fleet {
    let fleet = Fleet::with(|topology| {
        watched(topology);
        change(topology);
    })
    .await;
    fleet.operator().sees(3).await;
    fleet
}

#[tokio::test]
async fn every_origin_is_asked_again_and_again_and_what_it_answered_is_told() {
    let fleet = fleet(|_| {}).await;
    let operator = fleet.operator();
    eventually("each was asked 20 times", || async {
        operator.health().await.iter().all(|health| health.probes.len() == 20)
    })
    .await;
    let health = operator.health().await;
    let names: Vec<_> = health.iter().map(|health| (named(health), health.kind())).collect();
    let aggregator = OriginKind::Aggregator;
    let expected = [
        ("aggregator-1", aggregator),
        ("aggregator-2", aggregator),
        ("aggregator-3", aggregator),
        ("publisher-1", OriginKind::Publisher),
    ];
    assert_eq!(names, expected);
    for health in &health {
        assert_eq!((health.state(), health.success_percent), (OriginState::Healthy, 100));
        assert!(health.score >= 88 && health.p50_us > 0, "{health:?}");
        assert_eq!(health.strip.len(), 96);
        let asked: u32 = health.strip.iter().map(|cell| cell.good).sum();
        assert!(asked >= 20, "{asked}");
        assert!(health.probes.iter().all(|probe| probe.result == "ok"), "{health:?}");
        assert!(health.probes.is_sorted_by_key(|probe| std::cmp::Reverse(probe.at_ms)));
    }
    let metrics = desk_metrics(&fleet).await;
    let line =
        "wcdn_origin_health_state{kind=\"publisher\",origin=\"publisher-1\",state=\"healthy\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

async fn desk_metrics(fleet: &Fleet) -> String {
    let url = format!("http://{}/metrics", fleet.cluster.desk().unwrap().admin);
    String::from_utf8_lossy(&fleet.client.get(&url).await.body).into_owned()
}

#[tokio::test]
async fn what_is_known_outlasts_a_restart() {
    let mut fleet = fleet(|topology| topology.control.health.eject = false).await;
    fleet.fault(0, json!({"status": 500})).await;
    fleet.operator().sees_origin("aggregator-1", OriginState::Unhealthy).await;
    let before = fleet.operator().health_of("aggregator-1").await;
    fleet.stop_desk().await;
    fleet.start_desk().await;
    let after = fleet.operator().health_of("aggregator-1").await;
    assert_eq!((after.state(), after.since_ms), (OriginState::Unhealthy, before.since_ms));
    assert_eq!(after.changes, before.changes);
    assert!(after.changes.iter().any(|change| change.to() == OriginState::Unhealthy));
}

#[tokio::test]
async fn each_way_to_fail_has_its_reason() {
    // Rounds are made by hand.
    let fleet = fleet(|topology| topology.control.health.interval = Span::secs(600)).await;
    let (operator, blob) = (fleet.operator(), fleet.store(bytes(1, 100)).await);
    for (fault, result, reason) in [
        (json!({"latency_ms": 9_000}), "timeout", "no answer within 500ms"),
        (json!({"html": true}), "wrong", "answers 200 for a blob that does not exist, not 404"),
        (json!({"refuse": true}), "broken", "connection"),
        (json!({"status": 500}), "error", "answers 500 for a blob that does not exist, not 404"),
        (json!({"status": 429}), "throttled", "answers 429 for a blob that does not exist"),
        (json!({}), "ok", ""),
    ] {
        fleet.fault(1, fault.clone()).await;
        let probes = operator.probe(&["aggregator-2"]).await;
        assert_eq!(probes.len(), 1, "no blob is known to live");
        let (name, probe) = &probes[0];
        assert_eq!((name.as_str(), probe.result.as_str()), ("aggregator-2", result), "{fault}");
        assert!(probe.reason.contains(reason), "{fault}: {}", probe.reason);
        let kept = operator.health_of("aggregator-2").await.probes.remove(0);
        assert_eq!(kept, *probe, "it is remembered at once");
    }
    assert_eq!(operator.probe(&["publisher-1"]).await[0].1.result, "ok");
    assert!(fleet.fetches(&blob).await == 0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_known_blob_is_read_from_everybody_and_who_lacks_it_is_told_apart() {
    let body = bytes(1, 4_000);
    let topology = Topology::for_tests();
    let blob = wcdn_walrus::blob_id(topology.encoding, std::slice::from_ref(&body)).unwrap();
    let fleet = fleet(|topology| {
        topology.control.health.interval = Span::secs(600);
        topology.control.health.known_blob = Some(blob);
    })
    .await;
    let operator = fleet.operator();
    let read = async || -> Vec<String> {
        let probes = operator.probe(&[]).await.into_iter();
        let reads = probes.filter(|(_, probe)| probe.asked == "read");
        reads.map(|(_, probe)| probe.result).collect()
    };
    assert_eq!(read().await, ["missing", "missing", "missing"]);
    for health in operator.health().await {
        assert_eq!(health.state(), OriginState::Healthy, "what nobody has is held against nobody");
    }
    fleet.store(body).await;
    fleet.fault(2, json!({"status": 404})).await;
    let mut results = read().await;
    results.sort();
    assert_eq!(results, ["missing", "ok", "ok"]);
    let lacking = operator.health_of("aggregator-3").await;
    assert_eq!(lacking.probes[0].result, "missing");
    assert_eq!(lacking.reason, "has no such blob");
    assert!(lacking.score < 100);
}

#[tokio::test]
async fn who_is_ejected_by_hand_is_asked_by_no_edge_until_it_is_returned_by_hand() {
    let fleet = fleet(|topology| topology.control.health.return_after = 1).await;
    let operator = fleet.operator();
    let began = tokio::time::Instant::now();
    operator
        .change_origin("aggregator-1", |origin| {
            (origin.ejected, origin.reason) = (true, "it is moving".to_owned());
        })
        .await;
    for edge in 0..3 {
        let url = format!("{}/debug/origins", fleet.cluster.edges()[edge].admin_url);
        eventually("the edge knows it", || async {
            fleet.client.get(&url).await.json()["origins"][0]["ejected_for_all"] == true
        })
        .await;
    }
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(10), "it took {took:?}");
    operator.sees_origin("aggregator-1", OriginState::Ejected).await;
    let health = operator.health_of("aggregator-1").await;
    assert_eq!(health.reason, "it is moving");
    let seen = health.probes[0].at_ms;
    for n in 0..40 {
        let body = bytes(100 + n, 3_000);
        let id = fleet.store(body.clone()).await;
        assert_eq!(fleet.get(&format!("/cdn/{id}")).await.body, body);
    }
    let asked = fleet.metric("wcdn_origin_requests_total", "origin=\"aggregator-1\"").await;
    assert_eq!(asked, 0.0);
    eventually("it was probed on", || async {
        let probes = operator.health_of("aggregator-1").await.probes;
        probes.iter().filter(|probe| probe.at_ms > seen && probe.result == "ok").count() >= 4
    })
    .await;
    assert_eq!(operator.state_of("aggregator-1").await, OriginState::Ejected, "all the same");
    operator.change_origin("aggregator-1", |origin| origin.ejected = false).await;
    operator.sees_origin("aggregator-1", OriginState::Healthy).await;
}

#[tokio::test]
async fn a_list_of_operators_is_fetched_from_where_it_is_published() {
    let list = r#"{"testnet": {"aggregators": {
        "http://127.0.0.1:1": {"operator": "A"}, "http://127.0.0.2:2": {"operator": "B"}
    }}}"#;
    let publisher = ScriptedOrigin::start(move |_| script::ok(list.as_bytes())).await;
    let fleet = fleet(|topology| topology.control.health.interval = Span::secs(600)).await;
    let source = Source::Url(format!("{}/operators.json", publisher.url()));
    let told = fleet.operator().refresh(source).await.unwrap_err();
    assert!(told.message().contains("a network of your own has no public operators"), "{told}");
    assert_eq!(publisher.requests(), 1, "the control plane asked there itself");
}
