//! Whole planes over real sockets: frames reach everybody through loss, restarts and strangers.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod cluster;
mod relay;

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::{net::UdpSocket, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{issuer_brain::Heard, message::MAX_NOTE, receipts::Confirmation};
use wcdn_proto::Position;

use self::{
    cluster::{Edge, Issuer, Log, NOTES, eventually, keys},
    relay::Relay,
};

const EPOCH: u64 = 7;

fn at(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

/// Waits until each edge has applied everything up to `seq`.
async fn all_applied(edges: &[Edge], seq: u64) {
    for edge in edges {
        let what = format!("{} has applied {seq}", edge.name);
        eventually(&what, || edge.plane.applied() == at(seq)).await;
        assert_eq!(edge.sink.seqs(), (1..=seq).collect(), "{} missed some", edge.name);
    }
}

/// Waits until the receipt of `seq` names `nodes` edges, and that all applied it.
async fn receipt_is_complete(issuer: &Issuer, seq: u64, nodes: usize) {
    eventually(&format!("the receipt of {seq} is complete"), || {
        let progress = issuer.plane.progress(at(seq));
        let is_applied = |state| matches!(state, Confirmation::Applied { .. });
        progress.len() == nodes && progress.iter().all(|node| is_applied(node.state))
    })
    .await;
}

#[tokio::test]
async fn a_published_frame_is_applied_everywhere_and_its_receipt_completes() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let mut edges = vec![];
    for n in 0..4 {
        // The last one knows an edge only.
        let seed = edges.last().map_or(issuer.address, |edge: &Edge| edge.address);
        edges.push(Edge::start(n, &log, Position::ORIGIN, &[seed], None).await);
    }
    eventually("the issuer knows all", || issuer.plane.members().len() == 5).await;
    issuer.commit(3);
    all_applied(&edges, 3).await;
    receipt_is_complete(&issuer, 3, 4).await;
    let Confirmation::Applied { after: Some(after) } = issuer.plane.progress(at(3))[0].state else {
        panic!("the issuer published it and must know how long it took");
    };
    assert!(after < Duration::from_secs(5), "{after:?}");
    for edge in &edges {
        eventually("the head is confirmed", || {
            edge.plane.confirmed_ago().is_some_and(|ago| ago < Duration::from_secs(3))
        })
        .await;
        assert_eq!(edge.plane.known(), at(3));
    }
}

#[tokio::test]
async fn at_20_percent_loss_every_frame_arrives_and_every_receipt_completes() {
    let log = Log::new(EPOCH);
    let relay = Relay::new(20, 11);
    let issuer = Issuer::start(&log, &[], Some(&relay)).await;
    let mut edges = vec![];
    for n in 0..4 {
        edges.push(Edge::start(n, &log, Position::ORIGIN, &[issuer.address], Some(&relay)).await);
    }
    eventually("the issuer knows all", || issuer.plane.members().len() == 5).await;
    for _ in 0..40 {
        issuer.commit(2);
    }
    all_applied(&edges, 80).await;
    receipt_is_complete(&issuer, 80, 4).await;
    assert!(relay.dropped() > 0, "the relay must have dropped some");
}

#[tokio::test]
async fn an_issuer_that_is_started_anew_goes_on_where_the_log_ends() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edges = [
        Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await,
        Edge::start(1, &log, Position::ORIGIN, &[issuer.address], None).await,
    ];
    eventually("the issuer knows all", || issuer.plane.members().len() == 3).await;
    issuer.commit(2);
    all_applied(&edges, 2).await;
    issuer.stop().await;
    // Committed by an issuer that died before it told anybody.
    log.append(1);

    let issuer = Issuer::start(&log, &[edges[0].address], None).await;
    all_applied(&edges, 3).await;
    issuer.commit(1);
    all_applied(&edges, 4).await;
    receipt_is_complete(&issuer, 4, 2).await;
}

#[tokio::test]
async fn two_issuers_of_a_log_each_have_whole_receipts_of_what_either_published() {
    let log = Log::new(EPOCH);
    let first = Issuer::start(&log, &[], None).await;
    let second = Issuer::named("second", &log, &[first.address], None, keys(1, None)).await;
    let edges = [
        Edge::start(0, &log, Position::ORIGIN, &[first.address], None).await,
        Edge::start(1, &log, Position::ORIGIN, &[first.address], None).await,
    ];
    for issuer in [&first, &second] {
        eventually("it knows all", || issuer.plane.members().len() == 4).await;
    }
    second.commit(1);
    first.commit(2);
    all_applied(&edges, 3).await;
    receipt_is_complete(&first, 3, 2).await;
    receipt_is_complete(&second, 3, 2).await;
}

#[tokio::test]
async fn in_the_midst_of_a_change_of_keys_everybody_is_heard() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::named("issuer", &log, &[], None, keys(2, Some(1))).await;
    let edges = [
        Edge::keyed(0, &log, &[issuer.address], keys(1, Some(2))).await,
        Edge::keyed(1, &log, &[issuer.address], keys(2, Some(1))).await,
    ];
    for edge in &edges {
        eventually("it knows all", || edge.plane.members().len() == 3).await;
    }
    issuer.commit(2);
    all_applied(&edges, 2).await;
    receipt_is_complete(&issuer, 2, 2).await;
}

#[tokio::test]
async fn an_edge_that_was_away_catches_up_from_its_position() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    issuer.commit(2);
    all_applied(std::slice::from_ref(&edge), 2).await;
    edge.stop().await;
    for _ in 0..50 {
        issuer.commit(1);
    }
    let back = Edge::start(0, &log, at(2), &[issuer.address], None).await;
    eventually("it has caught up", || back.plane.applied() == at(52)).await;
    assert_eq!(back.sink.seqs(), (3..=52).collect(), "it needs what it missed, and no more");
    receipt_is_complete(&issuer, 52, 1).await;
}

#[tokio::test]
async fn an_edge_follows_a_new_epoch_by_a_snapshot() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    issuer.commit(5);
    all_applied(std::slice::from_ref(&edge), 5).await;
    log.restore(EPOCH + 1, 3);
    issuer.commit(1);
    let there = Position { epoch: EPOCH + 1, seq: 4 };
    eventually("it is in the new epoch", || edge.plane.applied() == there).await;
}

#[tokio::test]
async fn what_a_stranger_sends_changes_nothing() {
    let log = Log::new(EPOCH);
    let relay = Relay::new(0, 1);
    let issuer = Issuer::start(&log, &[], Some(&relay)).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], Some(&relay)).await;
    // Of another cluster, and it sends to our nodes all the same.
    let mut foreign =
        cluster::settings("foreign", "127.0.0.1:9".parse().unwrap(), &[edge.real, issuer.real]);
    foreign.keys = keys(99, None);
    let foreign = Edge::with(foreign, &log, Position::ORIGIN).await;
    issuer.commit(2);
    all_applied(std::slice::from_ref(&edge), 2).await;

    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    eventually("there is something to replay", || relay.recorded(edge.real).len() > 10).await;
    let recorded = relay.recorded(edge.real);
    for datagram in &recorded {
        stranger.send_to(datagram, edge.real).await.unwrap();
        stranger.send_to(&datagram[1..], edge.real).await.unwrap();
    }
    let count = recorded.len() as u64;
    eventually("all are refused", || {
        let refused = |reason| edge.metric("wcdn_gossip_rejected_total", &[("reason", reason)]);
        refused("replayed") >= count && refused("version") + refused("length") >= count
    })
    .await;
    eventually("the other cluster is refused", || {
        edge.metric("wcdn_gossip_rejected_total", &[("reason", "key")]) > 0
    })
    .await;
    assert_eq!(edge.sink.seqs(), (1..=2).collect());
    assert_eq!(edge.sink.applied(), 2, "nothing is applied twice");
    assert_eq!(edge.plane.members().len(), 2);
    assert_eq!(foreign.plane.members().len(), 1);
    issuer.commit(1);
    all_applied(std::slice::from_ref(&edge), 3).await;
}

#[tokio::test]
async fn an_idle_cluster_says_little() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let mut edges = vec![];
    for n in 0..4 {
        edges.push(Edge::start(n, &log, Position::ORIGIN, &[issuer.address], None).await);
    }
    issuer.commit(1);
    all_applied(&edges, 1).await;
    receipt_is_complete(&issuer, 1, 4).await;
    let sent = || {
        let event = [("plane", "event"), ("direction", "out")];
        let of = |name: &str| edges.iter().map(|edge| edge.metric(name, &event)).sum::<u64>();
        (of("wcdn_gossip_datagrams_total"), of("wcdn_gossip_bytes_total"))
    };
    let (datagrams, bytes) = sent();
    // Not to wait for something, but to measure for a while.
    sleep(Duration::from_secs(3)).await;
    let (datagrams, bytes) = (sent().0 - datagrams, sent().1 - bytes);
    let (each, size) = (datagrams / 4 / 3, bytes / 4 / 3);
    assert!((5..=30).contains(&each), "{each} datagrams a second from each edge");
    assert!(size < 4_000, "{size} bytes a second from each edge");
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_the_position_of_a_block_and_no_event() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    issuer.commit(1);
    receipt_is_complete(&issuer, 1, 1).await;
    let sink = edge.sink.clone();
    let hung = sink.disk.lock().await;
    issuer.block();
    issuer.commit(5);
    eventually("all is applied on sight", || sink.seqs().contains(&7)).await;
    assert_eq!(edge.plane.applied(), at(1));
    let progress = issuer.plane.progress(at(2));
    assert!(!matches!(progress[0].state, Confirmation::Applied { .. }), "{progress:?}");
    issuer.block();
    issuer.commit(1);
    eventually("so is what comes after", || sink.seqs().contains(&9)).await;
    assert_eq!(edge.plane.applied(), at(1));
    let begun = tokio::time::Instant::now();
    eventually("the lease goes on", || {
        edge.plane.confirmed_ago().is_some_and(|ago| ago < begun.elapsed())
    })
    .await;
    assert_eq!(edge.plane.applied(), at(1));
    drop(hung);
    all_applied(std::slice::from_ref(&edge), 9).await;
    receipt_is_complete(&issuer, 9, 1).await;
}

#[tokio::test]
async fn a_fault_in_reading_the_log_is_survived() {
    let log = Log::new(EPOCH);
    log.append(2);
    log.panics.store(2, Ordering::Relaxed);
    let edge = Edge::start(0, &log, Position::ORIGIN, &[], None).await;
    assert_eq!(edge.plane.applied(), at(2));
    assert_eq!(edge.metric("wcdn_gossip_catch_ups_total", &[("result", "failed")]), 2);
}

#[tokio::test]
async fn a_session_that_tells_of_the_head_makes_an_edge_read_the_log() {
    let log = Log::new(EPOCH);
    let edge = Edge::start(0, &log, Position::ORIGIN, &[], None).await;
    log.append(3);
    edge.plane.hint(at(3));
    all_applied(std::slice::from_ref(&edge), 3).await;
}

#[tokio::test]
async fn no_poll_confirms_anything_while_the_store_does_not_tell_the_head() {
    let log = Log::new(EPOCH);
    log.tells_head.store(false, Ordering::Relaxed);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    eventually("the issuer knows it", || issuer.plane.members().len() == 2).await;
    issuer.commit(1);
    all_applied(std::slice::from_ref(&edge), 1).await;
    receipt_is_complete(&issuer, 1, 1).await;
    // The reading of the log at the start confirmed it once; polls, one a second, do not again.
    let age = || edge.plane.confirmed_ago().expect("the log was read to its end");
    eventually("a poll was in vain", || age() > Duration::from_millis(1_500)).await;
    log.tells_head.store(true, Ordering::Relaxed);
    eventually("the head is confirmed", || age() < Duration::from_millis(1_000)).await;
}

#[tokio::test]
async fn a_receipt_completes_by_sessions_alone() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let mut changed = issuer.plane.changed();
    issuer.commit(4);
    let heard = |seq| Heard {
        node: "far".parse().unwrap(),
        incarnation: 1,
        region: "there".parse().unwrap(),
        is_strict: true,
        applied: at(seq),
    };
    issuer.plane.heard(heard(3));
    eventually("it is known", || issuer.plane.nodes().len() == 1).await;
    assert_eq!(issuer.plane.progress(at(4))[0].state, Confirmation::Pending);
    changed.mark_unchanged();
    issuer.plane.heard(heard(4));
    receipt_is_complete(&issuer, 4, 1).await;
    assert!(changed.has_changed().unwrap());
}

#[tokio::test]
async fn a_flood_of_junk_does_not_keep_frames_away() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    eventually("the issuer knows it", || issuer.plane.members().len() == 2).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (target, stopped) = (edge.address, stop.clone());
    tasks.spawn(async move {
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Of the right version and length, so that more than two bytes must be looked at.
        let junk = [1; 600];
        while !stopped.is_cancelled() {
            stranger.send_to(&junk, target).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..20 {
        issuer.commit(1);
    }
    all_applied(std::slice::from_ref(&edge), 20).await;
    receipt_is_complete(&issuer, 20, 1).await;
    stop.cancel();
    assert!(edge.metric("wcdn_gossip_rejected_total", &[("reason", "key")]) > 0);
}

#[tokio::test]
async fn a_plane_whose_sink_breaks_is_seen_to_be_down() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let edge = Edge::start(0, &log, Position::ORIGIN, &[issuer.address], None).await;
    assert_eq!(edge.metric("wcdn_gossip_plane_up", &[]), 1);
    edge.sink.is_broken.store(true, Ordering::Relaxed);
    issuer.commit(1);
    eventually("it is down", || edge.metric("wcdn_gossip_plane_up", &[]) == 0).await;
}

#[tokio::test]
async fn edges_tell_each_other_notes_and_nobody_else_makes_anything_of_them() {
    let log = Log::new(EPOCH);
    let issuer = Issuer::start(&log, &[], None).await;
    let seeds = [issuer.address];
    let from = Edge::start(0, &log, Position::ORIGIN, &seeds, None).await;
    let mut to = Edge::start(1, &log, Position::ORIGIN, &seeds, None).await;
    let long = Bytes::from(vec![7; MAX_NOTE]);
    for note in [Bytes::from_static(b"a"), long.clone()] {
        from.plane.note(to.address, note.clone()).await;
        assert_eq!(to.notes.recv().await, Some(note));
    }
    from.plane.note(issuer.address, long.clone()).await;
    // Nobody takes these out: what finds no room is lost, and events are not held up.
    for _ in 0..NOTES + 3 {
        from.plane.note(to.address, long.clone()).await;
    }
    let lost = || to.metric("wcdn_gossip_rejected_total", &[("reason", "overflow")]);
    eventually("some are lost", || lost() == 3).await;
    issuer.commit(1);
    all_applied(&[from, to], 1).await;
}
