//! The control plane dies, forgets, is asked for much, or is wrong about the time.

use std::{ops::Range, path::Path, time::Duration};

use http::StatusCode;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use wcdn_control_plane::{commands, config};
use wcdn_proto::{BlobId, Span, pb::admin::v1::NodeReceipt};
use wcdn_tests::{
    Fleet, bytes,
    control_plane::{Seat, quiet_ports, wall_clock},
    eventually,
    frames::{Line, frame, kind},
    operator::Operator,
    program::EdgeProcess,
    storm::{Caller, Storm, any_blob},
};

const EDGES: usize = 3;

/// How long what takes milliseconds may take on a machine that compiles meanwhile. Microseconds.
const QUICKLY_US: u64 = 5_000_000;

/// A system that keeps everything in a folder.
async fn fleet() -> (Fleet, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let fleet = Fleet::with(|topology| {
        topology.control_plane = true;
        topology.control_ports = Some(quiet_ports());
        topology.data = Some(data.path().to_owned());
        topology.edge.cluster.lease = Span::secs(2);
        topology.control.receipts.lease = Span::secs(2);
        topology.control.receipts.lost_after = Span::secs(60);
    })
    .await;
    fleet.operator().sees(EDGES).await;
    (fleet, data)
}

/// The same, with the control plane to be started as a process.
async fn fleet_and_seat() -> (Fleet, Seat, TempDir) {
    let (mut fleet, data) = fleet().await;
    let seat = Seat::of(fleet.cluster.desk().unwrap(), data.path());
    fleet.cluster.stop_desk().await;
    (fleet, seat, data)
}

fn store(data: &TempDir) -> std::path::PathBuf {
    data.path().join("control-plane").join("control-plane.db")
}

/// Stores blobs, and makes every edge hold them.
pub(crate) async fn held_everywhere(fleet: &Fleet, seeds: Range<u64>) -> Vec<BlobId> {
    let mut ids = Vec::new();
    for seed in seeds {
        let id = fleet.store(bytes(seed, 500)).await;
        for edge in 0..EDGES {
            assert_eq!(get(fleet, edge, &id).await.0, StatusCode::OK);
        }
        ids.push(id);
    }
    ids
}

/// The status, and `Cache-Status`.
async fn get(fleet: &Fleet, edge: usize, id: &BlobId) -> (StatusCode, String) {
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    (reply.status, reply.header("cache-status").to_owned())
}

/// Every edge fetches each again (some twice, where an origin is slow): none answers with what it had.
pub(crate) async fn assert_fetched_again(fleet: &Fleet, ids: &[BlobId]) {
    for id in ids {
        let before = fleet.fetches(id).await;
        for edge in 0..EDGES {
            let (status, cache) = get(fleet, edge, id).await;
            assert!(status == StatusCode::OK && cache.contains("fwd=miss"), "{status} {cache}");
        }
        assert!(fleet.fetches(id).await >= before + EDGES as u64);
    }
}

pub(crate) async fn assert_held(fleet: &Fleet, ids: &[BlobId]) {
    for id in ids {
        for edge in 0..EDGES {
            let (status, cache) = get(fleet, edge, id).await;
            assert!(status == StatusCode::OK && cache.contains("; hit"), "{status} {cache}");
        }
    }
}

pub(crate) async fn assert_blocked(fleet: &Fleet, id: &BlobId) {
    for edge in 0..EDGES {
        let (status, _) = get(fleet, edge, id).await;
        assert_eq!(status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "edge {edge}");
    }
}

/// Every edge serves hits, and misses of a blob that is new, and is ready.
pub(crate) async fn assert_serves_alone(fleet: &Fleet, held: &[BlobId], seed: u64) {
    assert_held(fleet, held).await;
    let unseen = fleet.store(bytes(seed, 500)).await;
    assert_fetched_again(fleet, &[unseen]).await;
    for edge in fleet.cluster.edges() {
        let ready = fleet.client.get(&format!("{}/readyz", edge.admin_url)).await;
        assert_eq!(ready.status, StatusCode::OK);
    }
}

/// Purges without a pause; the control plane is away in the middle of it. `down` and `up` end it and
/// bring it back.
async fn survive<D>(
    fleet: &mut Fleet,
    caller: &Caller,
    operator: &Operator,
    down: impl AsyncFnOnce(&mut Fleet),
    up: impl AsyncFnOnce(&mut Fleet) -> D,
) {
    let held = held_everywhere(fleet, 0..5).await;
    let purged = held_everywhere(fleet, 100..130).await;
    let storm = Storm::begin(caller, &purged);
    storm.goes_on(100).await;
    down(fleet).await;
    assert_serves_alone(fleet, &held, 1_000).await;
    let _running = up(fleet).await;
    storm.goes_on(100).await;
    let changes = storm.end().await;

    let epoch = changes[0].last.unwrap().epoch;
    let log = caller.log(epoch).await.unwrap();
    assert!(log.iter().copied().eq(1..=log.len() as u64), "a gap: {log:?}");
    let mut seqs: Vec<_> = changes.iter().map(|change| change.last.unwrap()).collect();
    assert!(seqs.iter().all(|at| at.epoch == epoch && at.seq <= log.len() as u64));
    seqs.sort_unstable_by_key(|at| at.seq);
    seqs.dedup();
    assert_eq!(seqs.len(), changes.len(), "each has a place of its own");
    for change in &changes {
        eventually("its receipt is complete", || async {
            let receipt = operator.receipt(change).await;
            receipt.complete && receipt.nodes.len() == EDGES
        })
        .await;
    }
    assert_fetched_again(fleet, &purged).await;
    assert_held(fleet, &held).await;
}

#[tokio::test]
async fn purges_that_were_acknowledged_hold_when_the_control_plane_restarts_among_them() {
    let (mut fleet, _data) = fleet().await;
    let desk = fleet.cluster.desk().unwrap();
    let caller = Caller::new(desk.grpc, &desk.key);
    let operator = fleet.operator();
    let down = async |fleet: &mut Fleet| fleet.cluster.stop_desk().await;
    let up = async |fleet: &mut Fleet| fleet.cluster.start_desk(None).await.unwrap();
    survive(&mut fleet, &caller, &operator, down, up).await;
}

#[tokio::test]
async fn purges_that_were_acknowledged_hold_when_the_control_plane_is_killed_among_them() {
    let (mut fleet, seat, _data) = fleet_and_seat().await;
    let process = seat.start().await;
    let operator = Operator::new(seat.grpc, &seat.key);
    operator.sees(EDGES).await;
    let caller = Caller::new(seat.grpc, &seat.key);
    let down = async |_: &mut Fleet| process.kill().await;
    let up = async |_: &mut Fleet| seat.start().await;
    survive(&mut fleet, &caller, &operator, down, up).await;
}

fn kept_in(path: &Path) -> config::Store {
    config::Store { path: path.to_owned(), ..Default::default() }
}

/// Puts a copy in the place of a store, as somebody would who has not read the manual.
fn put_back_by_hand(copy: &Path, store: &Path) {
    for suffix in ["-wal", "-shm"] {
        let mut beside = store.as_os_str().to_owned();
        beside.push(suffix);
        // SQLite removes them itself when nobody uses the store.
        drop(std::fs::remove_file(beside));
    }
    std::fs::copy(copy, store).unwrap();
}

/// The control plane knows less than before, under a higher epoch, and nothing is the worse for it.
async fn assert_begins_anew(fleet: &Fleet, before: u64, blocked: &[BlobId]) -> u64 {
    let operator = fleet.operator();
    eventually("a new log begins", || async { operator.head().await.epoch > before }).await;
    operator.sees(EDGES).await;
    let held = held_everywhere(fleet, 0..3).await;
    operator.purge(&held).await;
    assert_fetched_again(fleet, &held).await;
    assert_held(fleet, &held).await;
    for id in blocked {
        assert_blocked(fleet, id).await;
    }
    operator.head().await.epoch
}

#[tokio::test]
async fn a_control_plane_that_was_set_back_purges_everywhere_and_no_block_is_lost() {
    let (mut fleet, data) = fleet().await;
    let (store, copy) = (store(&data), data.path().join("copy.db"));
    let blocked = held_everywhere(&fleet, 200..202).await;
    let operator = fleet.operator();
    operator.block(&blocked[..1]).await;
    commands::backup(&kept_in(&store), &copy).await.unwrap();
    // Of this the copy knows nothing.
    operator.block(&blocked[1..]).await;
    let purged = held_everywhere(&fleet, 210..213).await;
    operator.purge(&purged).await;
    let epoch = operator.head().await.epoch;

    fleet.cluster.stop_desk().await;
    put_back_by_hand(&copy, &store);
    fleet.cluster.start_desk(None).await.unwrap();
    let epoch = assert_begins_anew(&fleet, epoch, &blocked).await;

    fleet.cluster.stop_desk().await;
    commands::restore(&copy, &kept_in(&store)).await.unwrap();
    fleet.cluster.start_desk(None).await.unwrap();
    assert_begins_anew(&fleet, epoch, &blocked).await;
    assert_eq!(fleet.operator().blocks().await, [blocked[0].to_string()]);
}

#[tokio::test]
async fn a_purge_of_a_hundred_thousand_ids_is_complete_and_hits_nobody_else() {
    const COUNT: usize = 100_000;
    const MIB: u64 = 1 << 20;
    let (mut fleet, data) = fleet().await;
    let edge = EdgeProcess::of(&fleet, data.path(), "us-west-9", |_| {}).await;
    let seat = Seat::of(fleet.cluster.desk().unwrap(), data.path());
    fleet.cluster.stop_desk().await;
    let process = seat.start().await;
    let operator = Operator::new(seat.grpc, &seat.key);
    operator.sees(EDGES + 1).await;
    let bystanders = held_everywhere(&fleet, 0..40).await;
    let purged = held_everywhere(&fleet, 300..310).await;
    let mut ids = purged.clone();
    ids.resize_with(COUNT, any_blob);
    for id in &ids[..purged.len()] {
        // A node by itself, of which it can be told how much memory it takes.
        let reply = fleet.client.get(&format!("{}/cdn/{id}", edge.url)).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    let before = [process.peak_memory(), edge.peak_memory()];

    let change = operator.begin_purge(&ids).await;
    assert_eq!(change.ids, COUNT as u64);
    // It is asked again and again: a machine that compiles may be too slow for a stream's pings.
    eventually("every node applied it, and told what it removed", || async {
        let receipt = operator.receipt(&change).await;
        let removed = |line: &NodeReceipt| line.outcome.map_or(0, |outcome| outcome.memory_removed);
        let is_told = receipt.nodes.iter().all(|line| removed(line) >= purged.len() as u64);
        receipt.complete && receipt.nodes.len() == EDGES + 1 && is_told
    })
    .await;
    assert_held(&fleet, &bystanders).await;
    assert_fetched_again(&fleet, &purged).await;
    for edge in 0..EDGES {
        let slots = fleet.metric_of(edge, "wcdn_events_removed_slots", "").await;
        assert!(slots > 90_000.0 && slots <= COUNT as f64, "{slots}");
    }
    // The node's table of removals alone has 8 MiB, and 100,000 that are known by id some 6.
    let after = [process.peak_memory(), edge.peak_memory()];
    let grown: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert!(grown[0] < 128 * MIB && grown[1] < 64 * MIB, "control plane and edge: {grown:?}");
}

#[tokio::test]
async fn nothing_hangs_on_the_control_planes_clock() {
    const HOUR: u64 = 3_600;
    let (fleet, mut seat, _data) = fleet_and_seat().await;
    let ids = held_everywhere(&fleet, 0..3).await;
    let operator = Operator::new(seat.grpc, &seat.key);
    seat.set_clock(3_600);
    let process = seat.start().await;
    operator.sees(EDGES).await;
    // It is an hour ahead at first, then an hour behind, then behind from its start.
    assert_purges(&fleet, &operator, &ids, wall_clock() + HOUR).await;
    seat.set_clock(-3_600);
    assert_purges(&fleet, &operator, &ids, wall_clock() - HOUR).await;
    process.kill().await;
    let _process = seat.start().await;
    operator.sees(EDGES).await;
    assert_purges(&fleet, &operator, &ids, wall_clock() - HOUR).await;
}

/// For longer than the lease, purges are complete, in the time that they take by other clocks, and
/// no edge misses a confirmation.
async fn assert_purges(fleet: &Fleet, operator: &Operator, ids: &[BlobId], by_its_clock: u64) {
    let end = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < end {
        let receipt = operator.purge(ids).await;
        let committed = receipt.change.as_ref().unwrap().committed_at_ms / 1_000;
        assert!(committed.abs_diff(by_its_clock) < 60, "{committed} is not {by_its_clock}");
        for line in &receipt.nodes {
            assert!(line.applied_after_us < QUICKLY_US, "{line:?}");
        }
        assert_fetched_again(fleet, ids).await;
        for edge in 0..EDGES {
            let (_, cache) = get(fleet, edge, &ids[0]).await;
            assert!(!cache.contains("unconfirmed"), "{cache}");
        }
    }
}

const ACK: u8 = 1;

/// The next ping of the other end; `None` once it has cut the connection.
async fn pinged(line: &mut Line) -> Option<Vec<u8>> {
    loop {
        let ping = line.next_of(kind::PING).await?;
        if ping.flags & ACK == 0 {
            return Some(ping.payload);
        }
    }
}

#[tokio::test]
async fn a_peer_that_answers_late_is_kept_and_one_that_does_not_is_cut() {
    let (fleet, _data) = fleet().await;
    let address = fleet.cluster.desk().unwrap().grpc;
    let late = async {
        let mut line = Line::open(address, &[]).await;
        for _ in 0..2 {
            let ping = pinged(&mut line).await.expect("it is kept");
            // As late as a machine is that has something else to do.
            sleep(Duration::from_secs(3)).await;
            line.send(&frame(kind::PING, ACK, 0, &ping)).await.unwrap();
        }
        pinged(&mut line).await.expect("it is kept");
    };
    let gone = async {
        let mut line = Line::open(address, &[]).await;
        pinged(&mut line).await.expect("it is asked");
        while pinged(&mut line).await.is_some() {}
    };
    tokio::join!(late, gone);
}
