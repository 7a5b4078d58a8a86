//! One bad origin among good ones, or none at all: what viewers see, and what origins are asked.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use wcdn_dev::Topology;
use wcdn_node::config::OriginSpec;
use wcdn_proto::{BlobId, ByteSize, Span};
use wcdn_tests::{
    Fleet, bytes, eventually,
    script::{self, ScriptedOrigin},
};

/// What the first edge tells of its origins.
async fn origins(fleet: &Fleet) -> Value {
    let url = format!("{}/debug/origins", fleet.cluster.edges()[0].admin_url);
    fleet.client.get(&url).await.json()
}

async fn state(fleet: &Fleet, origin: usize) -> String {
    origins(fleet).await["origins"][origin]["state"].as_str().unwrap().to_owned()
}

/// Requests an aggregator has got.
async fn requests(fleet: &Fleet, aggregator: usize) -> u64 {
    let stats = fleet.client.get(&format!("{}/_stats", fleet.aggregator(aggregator))).await;
    stats.json()["requests"].as_u64().unwrap()
}

async fn hedges(fleet: &Fleet, result: &str) -> f64 {
    fleet.metric("wcdn_origin_hedges_total", &format!("result=\"{result}\"")).await
}

/// Blobs nobody has asked for yet.
async fn store(fleet: &Fleet, seeds: std::ops::Range<u64>) -> Vec<(BlobId, bytes::Bytes)> {
    let mut stored = Vec::new();
    for seed in seeds {
        let body = bytes(seed, 40_000 + seed as usize);
        stored.push((fleet.store(body.clone()).await, body));
    }
    stored
}

/// Asks for blobs one after another; each must come whole and right.
async fn all_served(fleet: &Fleet, seeds: std::ops::Range<u64>) {
    for (id, body) in store(fleet, seeds).await {
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert!(reply.complete && reply.body == body);
    }
}

#[tokio::test]
async fn a_slow_origin_costs_a_hedge_or_a_few_and_then_is_asked_last() {
    let fleet = Fleet::start().await;
    all_served(&fleet, 0..30).await;
    let before = requests(&fleet, 0).await;
    assert!(before > 0, "it was asked as any other");
    fleet.fault(0, json!({"latency_ms": 3_600_000})).await;
    all_served(&fleet, 100..160).await;
    let asked = requests(&fleet, 0).await - before;
    assert!((1..=10).contains(&asked), "asked {asked} times for 60 blobs");
    assert!(hedges(&fleet, "won").await >= 1.0);
    assert_eq!(hedges(&fleet, "denied").await, 0.0, "the budget was not needed up");
}

#[tokio::test]
async fn an_origin_slow_now_and_then_is_hedged_within_the_budget() {
    let fleet = Fleet::start().await;
    all_served(&fleet, 0..30).await;
    fleet.fault(1, json!({"latency_ms": 3_600_000, "latency_share": 0.1})).await;
    all_served(&fleet, 100..220).await;
    let asked = fleet.metric("wcdn_origin_requests_total", "").await;
    let hedged = hedges(&fleet, "won").await + hedges(&fleet, "lost").await;
    assert!(hedged <= 10.0 + asked / 10.0, "{hedged} hedges for {asked} requests");
    assert_eq!(fleet.metric("wcdn_fills_total", "result=\"failed\"").await, 0.0);
}

#[tokio::test]
async fn an_origin_that_fails_is_soon_left_alone() {
    for (fault, outcome, most) in [
        (json!({"corrupt": true}), "lied", 1.0),
        (json!({"reset_at": 10_000}), "broken", 5.0),
        (json!({"truncate_at": 10_000}), "broken", 5.0),
        (json!({"refuse": true}), "unreachable", 3.0),
        (json!({"status": 500}), "refused", 5.0),
        (json!({"status": 429}), "busy", 3.0),
    ] {
        let fleet = Fleet::start().await;
        fleet.fault(2, fault.clone()).await;
        all_served(&fleet, 0..40).await;
        let labels = format!("origin=\"aggregator-3\",outcome=\"{outcome}\"");
        let failed = fleet.metric("wcdn_origin_requests_total", &labels).await;
        assert!((1.0..=most).contains(&failed), "{fault}: failed {failed} times");
        assert!(fleet.metric("wcdn_origin_failovers_total", "").await >= 1.0, "{fault}");
    }
}

#[tokio::test]
async fn a_flapping_origin_is_never_seen_by_viewers() {
    let fleet = Fleet::start().await;
    fleet.fault(0, json!({"error_rate": 0.5})).await;
    all_served(&fleet, 0..60).await;
    for seeds in [100..110, 110..120, 120..130] {
        fleet.fault(0, json!({"refuse": true})).await;
        all_served(&fleet, seeds.clone()).await;
        fleet.fault(0, json!({})).await;
        all_served(&fleet, seeds.start + 100..seeds.end + 100).await;
    }
}

#[tokio::test]
async fn an_origin_that_trickles_is_ejected() {
    let body = bytes(77, 5_000);
    let answer = script::ok(&body);
    let slow = ScriptedOrigin::trickling(answer.clone(), Duration::from_millis(20)).await;
    let good = ScriptedOrigin::start(move |_| answer.clone()).await;
    let fleet = at(&[&slow.url(), &good.url()], |topology| {
        topology.edge.fetch.min_rate_window = Span::millis(300);
        topology.edge.fetch.hedge = 0.0;
        // What it sends is never the blob asked for, but that is not what this is about.
        topology.edge.verify.mode = wcdn_node::config::Mode::Off;
    })
    .await;
    let slow = "origin=\"origin-0\",outcome=\"timed_out\"";
    let mut seen = 0.0;
    for n in 0..8 {
        let reply = fleet.get(&format!("/cdn/{}", BlobId::from_bytes([n; 32]))).await;
        assert!(reply.status == StatusCode::OK && reply.complete && reply.body == body);
        let failed = fleet.metric("wcdn_origin_requests_total", slow).await;
        if failed > seen {
            assert_eq!(state(&fleet, 0).await, "ejected");
        }
        seen = failed;
    }
    assert!(seen >= 1.0, "it was asked first at least once");
    let good = "origin=\"origin-1\",outcome=\"served\"";
    assert_eq!(fleet.metric("wcdn_origin_requests_total", good).await, 8.0, "it served them all");
}

#[tokio::test]
async fn all_origins_busy_is_503_with_retry_after_and_hits_go_on() {
    let fleet = Fleet::start().await;
    let cached = store(&fleet, 0..1).await.remove(0);
    fleet.get(&format!("/cdn/{}", cached.0)).await;
    let uncached = store(&fleet, 1..2).await.remove(0);
    let path = format!("/cdn/{}", uncached.0);
    fleet.fault_all(json!({"status": 429})).await;
    let reply = fleet.get(&path).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.code(), "ORIGINS_BUSY");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    for n in 0..3 {
        assert_eq!(state(&fleet, n).await, "backing_off");
    }
    assert_eq!(fleet.metric("wcdn_origin_passing", "").await, 0.0);
    let hit = fleet.get(&format!("/cdn/{}", cached.0)).await;
    assert!(hit.status == StatusCode::OK && hit.body == cached.1);
    fleet.fault_all(json!({})).await;
    assert_eq!(fleet.get(&path).await.body, uncached.1, "nothing honest is left unasked");
}

#[tokio::test]
async fn an_origin_that_comes_back_is_tried_by_one_request_at_a_time() {
    let fleet = Fleet::with(|topology| topology.edge.fetch.hedge = 0.0).await;
    fleet.fault(0, json!({"refuse": true})).await;
    all_served(&fleet, 0..10).await;
    assert_eq!(state(&fleet, 0).await, "ejected");
    let blobs = store(&fleet, 100..130).await;
    fleet.fault(0, json!({"latency_ms": 700})).await;
    eventually("its time-out ends", async || state(&fleet, 0).await == "passing").await;
    let before = requests(&fleet, 0).await;
    let paths: Vec<_> = blobs.iter().map(|(id, _)| format!("/cdn/{id}")).collect();
    for reply in join_all(paths.iter().map(|path| fleet.get(path))).await {
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    assert_eq!(requests(&fleet, 0).await - before, 1);
    assert_eq!(state(&fleet, 0).await, "passing", "the one request proved it");
}

#[tokio::test]
async fn no_origin_is_asked_more_at_once_than_it_may_be() {
    let fleet = Fleet::with(|topology| topology.edge.fetch.max_per_origin = 2).await;
    let blobs = store(&fleet, 0..12).await;
    fleet.fault_all(json!({"latency_ms": 500})).await;
    let paths: Vec<_> = blobs.iter().map(|(id, _)| format!("/cdn/{id}")).collect();
    let replies = join_all(paths.iter().map(|path| fleet.get(path))).await;
    let (served, busy): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.status == StatusCode::OK);
    assert_eq!((served.len(), busy.len()), (6, 6));
    for reply in busy {
        assert_eq!(reply.code(), "ORIGINS_BUSY");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("aggregator-2: not asked: 2 requests are under way"), "{message}");
    }
    assert_eq!(fleet.metric("wcdn_origin_in_flight", "").await, 0.0);
}

#[tokio::test]
async fn an_origin_that_refuses_large_blobs_is_not_asked_for_their_slices() {
    let body = bytes(5, 5_000_000);
    let mut refused = 0;
    for bad in 0..3 {
        let fleet = Fleet::with(|topology| {
            topology.edge.cache.memory = ByteSize::mib(16);
            topology.edge.fetch.slice = ByteSize::mib(1);
        })
        .await;
        let id = fleet.store(body.clone()).await;
        fleet.fault(bad, json!({"max_body": 1_000_000})).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert!(reply.status == StatusCode::OK && reply.complete && reply.body == body);
        let asked = requests(&fleet, bad).await;
        assert!(asked <= 1, "asked {asked} times");
        refused += asked;
        let known = &origins(&fleet).await["origins"][bad]["refuses_from_bytes"];
        assert_eq!(known.as_u64(), (asked > 0).then_some(5_000_000));
    }
    assert!(refused > 0, "none of the three was ever asked first");
}

#[tokio::test]
async fn the_word_of_a_trusted_origin_suffices_that_a_blob_is_gone() {
    let gone = "{\"error\":{\"details\":[{\"reason\":\"BLOB_NOT_FOUND\"}]}}";
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{gone}",
        gone.len()
    );
    let asked = async |trusted: bool| {
        let scripts = [answer.clone(), answer.clone()].map(String::into_bytes);
        let [one, two] = scripts.map(|answer| ScriptedOrigin::start(move |_| answer.clone()));
        let (one, two) = (one.await, two.await);
        let fleet = at(&[&one.url(), &two.url()], |topology| {
            topology.edge.origins[0].trusted = trusted;
            topology.edge.fetch.hedge = 0.0;
        })
        .await;
        for n in 0..10 {
            let reply = fleet.get(&format!("/cdn/{}", BlobId::from_bytes([n; 32]))).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND);
        }
        (one.requests(), two.requests())
    };
    assert_eq!(asked(false).await, (10, 10), "both must say so");
    let (trusted, other) = asked(true).await;
    assert_eq!(trusted, 10, "the other's word alone is not enough");
    assert!(other < 10, "where the trusted one came first nobody else was asked");
}

/// A fleet before origins at these URLs, named `origin-0` and so on.
async fn at(urls: &[&str], change: impl FnOnce(&mut Topology)) -> Fleet {
    Fleet::with(|topology| {
        let named = urls.iter().enumerate().map(|(n, url)| {
            OriginSpec::new(format!("origin-{n}").parse().unwrap(), url.parse().unwrap())
        });
        topology.edge.origins = named.collect();
        change(topology);
    })
    .await
}
