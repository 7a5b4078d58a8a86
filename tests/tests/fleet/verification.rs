//! What is checked, when, and what is said of it.

use http::StatusCode;
use serde_json::json;
use wcdn_node::config::Mode;
use wcdn_proto::{ByteSize, Span};
use wcdn_tests::{Fleet, bytes, eventually};

#[tokio::test]
async fn without_checking_a_blob_is_served_as_its_origin_sends_it_and_says_so() {
    let fleet = Fleet::with(|topology| topology.edge.verify.mode = Mode::Off).await;
    let id = fleet.store(bytes(1, 9_000)).await;
    fleet.fault_all(json!({"corrupt": true})).await;
    for cache in ["MISS", "HIT"] {
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!((reply.status, reply.header("x-cache")), (StatusCode::OK, cache));
        assert!(reply.header("cache-status").ends_with("detail=origin"));
        assert_eq!(reply.header("cache-control"), "public, max-age=60");
    }
}

#[tokio::test]
async fn a_lie_that_was_cut_is_never_completed_with_the_truth() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(3, 2_500_000)).await;
    fleet.fault_all(json!({"corrupt": true})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let cut = fleet.client.get(&url).await;
    assert!(cut.status == StatusCode::OK && !cut.complete);
    let etag = cut.header("etag");
    assert_ne!(etag, format!("\"{id}\""), "nobody had checked it");
    fleet.fault_all(json!({})).await;
    let asking = fleet.client.request(http::Method::GET, &url).header("range", "bytes=1000000-");
    let resumed = asking.header("if-range", etag).send().await;
    assert_eq!((resumed.status, resumed.body.len()), (StatusCode::OK, 2_500_000));
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.header("etag"), format!("\"{id}\""));
    let asking = fleet.client.request(http::Method::GET, &url).header("if-none-match", etag);
    assert_eq!(asking.send().await.status, StatusCode::OK, "the copy of a lie is not current");
}

#[tokio::test]
async fn strict_serves_nothing_that_it_cannot_check() {
    let fleet = Fleet::with(|topology| {
        topology.edge.verify.mode = Mode::Strict;
        topology.edge.verify.max = ByteSize::mib(1);
    })
    .await;
    let small = fleet.store(bytes(1, 9_000)).await;
    assert_eq!(fleet.get(&format!("/cdn/{small}")).await.status, StatusCode::OK);
    let large = fleet.store(bytes(2, 2_000_000)).await;
    let refused = fleet.get(&format!("/cdn/{large}")).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::BAD_GATEWAY, "UNVERIFIABLE")
    );
    let part = fleet.client.range(&fleet.edge(0, &format!("/cdn/{large}")), "bytes=0-9").await;
    assert_eq!(part.code(), "UNVERIFIABLE");
}

#[tokio::test]
async fn when_workers_are_busy_auto_serves_with_a_label_and_checks_later() {
    let fleet = Fleet::with(|topology| {
        topology.encoding = wcdn_walrus::Encoding::PUBLIC;
        topology.edge.verify.workers = 1;
        topology.edge.verify.wait = Span::millis(1);
    })
    .await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(fleet.store(bytes(n, 100_000)).await);
    }
    let urls: Vec<String> = ids.iter().map(|id| fleet.edge(0, &format!("/cdn/{id}"))).collect();
    let replies = futures_util::future::join_all(urls.iter().map(|url| fleet.client.get(url)));
    let labelled =
        |reply: &wcdn_tests::client::Reply| reply.header("cache-status").ends_with("detail=origin");
    let replies = replies.await;
    let late = replies.iter().filter(|reply| labelled(reply)).count();
    assert!((1..=3).contains(&late), "{late} of 4 were not waited for");
    for (n, reply) in (0..).zip(&replies) {
        assert_eq!(reply.body, bytes(n, 100_000));
        let expected = if labelled(reply) {
            "public, max-age=60"
        } else {
            "public, max-age=31536000, immutable"
        };
        assert_eq!(reply.header("cache-control"), expected);
    }
    eventually("every blob is checked in the end", || async {
        for url in &urls {
            let reply = fleet.client.get(url).await;
            if labelled(&reply) || reply.header("x-cache") != "HIT" {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn a_late_check_that_fails_takes_the_blob_away_and_accuses_its_origin() {
    let fleet = Fleet::with(|topology| {
        topology.encoding = wcdn_walrus::Encoding::PUBLIC;
        topology.edge.verify.workers = 1;
        topology.edge.verify.wait = Span::millis(1);
    })
    .await;
    let (busy, wrong) =
        (fleet.store(bytes(1, 400_000)).await, fleet.store(bytes(2, 400_000)).await);
    let busy_url = fleet.edge(0, &format!("/cdn/{busy}"));
    let occupied = fleet.client.get(&busy_url);
    let lied_to = async {
        eventually("the worker is busy", || async {
            fleet.metric("wcdn_fills_in_flight", "").await >= 1.0
        })
        .await;
        fleet.fault_all(json!({"corrupt": true})).await;
        fleet.get(&format!("/cdn/{wrong}")).await
    };
    let (_, reply) = tokio::join!(occupied, lied_to);
    if reply.status == StatusCode::OK {
        assert!(reply.header("cache-status").ends_with("detail=origin"), "nothing is claimed");
    }
    fleet.fault_all(json!({})).await;
    eventually("the truth is served", || async {
        let reply = fleet.get(&format!("/cdn/{wrong}")).await;
        reply.status == StatusCode::OK && reply.body == bytes(2, 400_000)
    })
    .await;
    assert!(fleet.metric("wcdn_origin_requests_total", "outcome=\"lied\"").await >= 1.0);
}
