//! The network between nodes is bad, or gone.

use std::{collections::HashSet, time::Duration};

use http::StatusCode;
use tokio::time::Instant;
use wcdn_proto::{
    BlobId, Span,
    pb::admin::v1::{Change, NodeState, Receipt},
};
use wcdn_tests::{
    bytes, eventually,
    far::{CONTROL_PLANE, Far, in_wan},
    operator::{Operator, line},
    wan::Weather,
};

/// The last edge of systems with one in each region.
const LAST: usize = 2;
const LAST_NAME: &str = "asia-pacific-1";

/// After which nodes that are not heard count as unconfirmed: the least that there may be.
const LEASE: Duration = Duration::from_secs(2);

/// How long what takes milliseconds may take on a machine that compiles meanwhile.
const QUICKLY: Duration = Duration::from_secs(5);

fn all_ways(delay: Duration) -> Weather {
    Weather { delays: vec![vec![delay; 3]; 3], ..Weather::fine() }
}

async fn with_a_short_lease(strict: bool) -> Far {
    let delay = Duration::from_millis(5);
    Far::start(all_ways(delay), 1, |topology| {
        topology.edge.cluster.lease = Span::secs(LEASE.as_secs());
        topology.edge.cluster.strict = strict;
        topology.control.receipts.lease = Span::secs(LEASE.as_secs());
        topology.control.receipts.lost_after = Span::secs(60);
    })
    .await
}

fn state_of(receipt: &Receipt, node: &str) -> NodeState {
    line(receipt, node).unwrap_or_else(|| panic!("{node} is not in {receipt:?}")).state()
}

/// Stores blobs, and makes every edge hold them.
async fn held_everywhere(far: &Far, seeds: std::ops::Range<u64>) -> Vec<BlobId> {
    let mut ids = Vec::new();
    for seed in seeds {
        let id = far.fleet.store(bytes(seed, 500)).await;
        for edge in 0..far.fleet.cluster.edges().len() {
            assert_eq!(get(far, edge, &id).await.0, StatusCode::OK);
        }
        ids.push(id);
    }
    ids
}

/// The status, and `Cache-Status`.
async fn get(far: &Far, edge: usize, id: &BlobId) -> (StatusCode, String) {
    let reply = far.fleet.client.get(&far.fleet.edge(edge, &format!("/cdn/{id}"))).await;
    (reply.status, reply.header("cache-status").to_owned())
}

/// Every edge fetches it again (some twice, where an origin is slow): none answers with what it had.
async fn assert_fetched_again(far: &Far, edges: std::ops::Range<usize>, id: &BlobId) {
    let before = far.fleet.fetches(id).await;
    let count = edges.len() as u64;
    for edge in edges {
        let (status, cache) = get(far, edge, id).await;
        assert!(status == StatusCode::OK && cache.contains("fwd=miss"), "{status} {cache}");
    }
    assert!(far.fleet.fetches(id).await >= before + count);
}

#[tokio::test]
async fn with_a_fifth_lost_and_a_tenth_of_a_second_away_every_purge_is_complete() {
    const BOUND_US: u64 = 5_000_000;
    let delay = Duration::from_millis(100);
    let far = Far::start(all_ways(delay), 2, |_| {}).await;
    let ids = held_everywhere(&far, 0..30).await;
    far.wan.change(|weather| (weather.loss, weather.duplicates) = (0.2, 0.1));
    // Nobody reads the log: datagrams alone mend what datagrams lose.
    (0..6).for_each(|edge| far.cut_session(edge));
    let operator = far.fleet.operator();
    let purging = ids.iter().map(|id| operator.purge(std::slice::from_ref(id)));
    for receipt in futures_util::future::join_all(purging).await {
        assert_eq!(receipt.nodes.len(), 6);
        for line in &receipt.nodes {
            let after = line.applied_after_us;
            assert!((100_000..BOUND_US).contains(&after), "it took {after} µs: {line:?}");
        }
    }
    for id in &ids {
        assert_fetched_again(&far, 0..6, id).await;
    }
}

#[tokio::test]
async fn a_region_that_is_cut_off_serves_with_a_label_and_purges_when_it_is_healed() {
    let far = with_a_short_lease(false).await;
    let (operator, id) = (far.fleet.operator(), held_everywhere(&far, 0..1).await[0]);
    let unseen = far.fleet.store(bytes(9, 500)).await;
    far.cut_off(LAST);
    let change = operator.begin_purge(&[id]).await;
    let receipt = operator.settled(&change).await;
    assert!(!receipt.complete, "{receipt:?}");
    assert_eq!(state_of(&receipt, LAST_NAME), NodeState::Unconfirmed);
    for name in ["us-west-1", "eu-west-1"] {
        assert_eq!(state_of(&receipt, name), NodeState::Applied);
    }
    assert_fetched_again(&far, 0..LAST, &id).await;

    eventually("it says that it is unconfirmed", || async {
        let (status, cache) = get(&far, LAST, &id).await;
        assert!(status == StatusCode::OK && cache.contains("hit"), "it cannot know: {cache}");
        cache.ends_with("; unconfirmed")
    })
    .await;
    let (status, cache) = get(&far, LAST, &unseen).await;
    assert_eq!((status, cache.ends_with("; unconfirmed")), (StatusCode::OK, true), "{cache}");
    let ready = format!("{}/readyz", far.fleet.cluster.edges()[LAST].admin_url);
    assert_eq!(far.fleet.client.get(&ready).await.status, StatusCode::OK);

    assert_converges(&far, &operator, &id, &change).await;
    assert_fetched_again(&far, LAST..LAST + 1, &id).await;
}

#[tokio::test]
async fn a_region_that_is_cut_off_for_half_a_minute_is_lost_and_misses_nothing_in_the_end() {
    const CUT: Duration = Duration::from_secs(30);
    let far = Far::start(all_ways(Duration::from_millis(5)), 1, |_| {}).await;
    let (operator, ids) = (far.fleet.operator(), held_everywhere(&far, 0..20).await);
    far.cut_off(LAST);
    let healed_at = Instant::now() + CUT;
    let mut changes = Vec::new();
    for id in &ids {
        changes.push(operator.begin_purge(std::slice::from_ref(id)).await);
    }
    let last = changes.last().unwrap();
    for id in &ids {
        assert_fetched_again(&far, 0..LAST, id).await;
    }
    tokio::time::sleep_until(healed_at).await;
    eventually("it is given up", || async {
        operator.nodes().await.iter().any(|node| node.node == LAST_NAME && node.state == "lost")
    })
    .await;
    let (status, cache) = get(&far, LAST, &ids[0]).await;
    assert!(status == StatusCode::OK && cache.contains("hit"), "it knows of nothing: {cache}");
    assert_converges(&far, &operator, &ids[0], last).await;
    for (id, change) in ids.iter().zip(&changes) {
        assert_fetched_again(&far, LAST..LAST + 1, id).await;
        eventually("every receipt names it", || async { operator.receipt(change).await.complete })
            .await;
    }
}

/// Heals it, and waits until the receipt of `change` is complete.
async fn assert_converges(far: &Far, operator: &Operator, id: &BlobId, change: &Change) {
    let seq = change.last.unwrap().seq;
    let healed = Instant::now();
    far.heal();
    eventually("the edge applies what it missed", || async {
        far.fleet.metric_of(LAST, "wcdn_events_applied_seq", "").await >= seq as f64
    })
    .await;
    let applied = healed.elapsed();
    eventually("its label is gone", || async {
        let (_, cache) = get(far, 0, id).await;
        let (status, last) = get(far, LAST, &far.fleet.store(bytes(10, 9)).await).await;
        assert!(!cache.contains("unconfirmed"), "{cache}");
        status == StatusCode::OK && !last.contains("unconfirmed")
    })
    .await;
    eventually("the receipt says so", || async { operator.receipt(change).await.complete }).await;
    assert!(applied < QUICKLY && healed.elapsed() < 2 * QUICKLY, "{applied:?}");
}

#[tokio::test]
async fn a_strict_region_that_is_cut_off_serves_nothing_and_is_fenced_in_receipts() {
    let far = with_a_short_lease(true).await;
    let (operator, id) = (far.fleet.operator(), held_everywhere(&far, 0..1).await[0]);
    far.cut_off(LAST);
    let change = operator.begin_purge(&[id]).await;
    let receipt = operator.settled(&change).await;
    assert_eq!(state_of(&receipt, LAST_NAME), NodeState::Fenced, "{receipt:?}");
    // What the receipt says is so already: the edge gave up first.
    let reply = far.fleet.client.get(&far.fleet.edge(LAST, &format!("/cdn/{id}"))).await;
    assert_eq!(
        (reply.status, reply.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "UNCONFIRMED".into())
    );
    assert!(!reply.header("retry-after").is_empty());
    assert_fetched_again(&far, 0..LAST, &id).await;

    assert_converges(&far, &operator, &id, &change).await;
    assert_fetched_again(&far, LAST..LAST + 1, &id).await;
}

#[tokio::test]
async fn a_way_that_is_cut_in_one_direction_is_gone_around() {
    let far = with_a_short_lease(false).await;
    let (operator, ids) = (far.fleet.operator(), held_everywhere(&far, 0..4).await);
    let down = (CONTROL_PLANE, in_wan(LAST));
    let up = (in_wan(LAST), CONTROL_PLANE);
    let cut = |way| far.wan.change(|weather| weather.cuts = HashSet::from([way]));

    // The session is a way of its own, both for what must be heard and for what must be confirmed.
    for (way, id) in [(down, ids[0]), (up, ids[1])] {
        cut(way);
        operator.purge(&[id]).await;
        assert_fetched_again(&far, 0..3, &id).await;
    }

    // Neighbours tell what the control plane cannot, and the confirmation finds its way back.
    far.cut_session(LAST);
    cut(down);
    operator.purge(&[ids[2]]).await;
    assert_fetched_again(&far, 0..3, &ids[2]).await;

    // It hears and obeys, but nobody can know.
    cut(up);
    let change = operator.begin_purge(&[ids[3]]).await;
    let receipt = operator.settled(&change).await;
    assert_eq!(state_of(&receipt, LAST_NAME), NodeState::Unconfirmed, "{receipt:?}");
    assert_fetched_again(&far, 0..3, &ids[3]).await;
    far.heal();
    eventually("the receipt is complete", || async { operator.receipt(&change).await.complete })
        .await;
}
