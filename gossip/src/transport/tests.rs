use std::time::Duration;

use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use futures_util::FutureExt as _;
use tokio::{net::UdpSocket as TokioSocket, time::timeout};

use super::*;
use crate::{
    metrics::Plane,
    seal::Sealer,
    testing::{CLUSTER, Door, eventually, forgery, keys},
};

const ROUND: Duration = Duration::from_millis(50);

async fn chitchat(
    name: &str,
    door: &Door,
    transport: &SealedTransport,
    seeds: &[SocketAddr],
    state: Vec<(String, String)>,
) -> ChitchatHandle {
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(name, 1, door.address),
        cluster_id: CLUSTER.into(),
        gossip_interval: ROUND,
        listen_addr: door.address,
        seed_nodes: seeds.iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(60),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    };
    spawn_chitchat(config, state, transport).await.unwrap()
}

/// Waits until `reader` has all of `key`s of the node called `name`.
async fn learns(reader: &ChitchatHandle, name: &str, keys: usize) {
    let chitchat = reader.chitchat();
    eventually("it learns the state of its peer", || {
        let Ok(chitchat) = chitchat.try_lock() else { return false };
        let mut states = chitchat.node_states().iter();
        states.any(|(id, state)| &*id.node_id == name && state.num_key_values() == keys)
    })
    .await;
}

fn facts(count: usize, length: usize) -> Vec<(String, String)> {
    use rand::distr::{Alphanumeric, SampleString as _};
    let value = |_| Alphanumeric.sample_string(&mut rand::rng(), length);
    (0..count).map(|n| format!("key{n}")).zip((0..count).map(value)).collect()
}

#[tokio::test]
async fn a_state_that_fills_the_largest_message_reaches_a_peer_in_pieces() {
    let ((a, to_a), (b, to_b)) = (Door::open().await, Door::open().await);
    let speaker = chitchat("a", &a, &to_a, &[], facts(60, 1_300)).await;
    let reader = chitchat("b", &b, &to_b, &[a.address], vec![]).await;
    learns(&reader, "a", 60).await;
    assert!(speaker.termination_watcher().now_or_never().is_none());
}

#[tokio::test]
async fn what_is_not_sealed_never_reaches_chitchat() {
    let ((a, to_a), (b, to_b)) = (Door::open().await, Door::open().await);
    let target = chitchat("a", &a, &to_a, &[], facts(1, 10)).await;
    let stranger = TokioSocket::bind("127.0.0.1:0").await.unwrap();
    let (forged, lethal) = (
        forgery(target.chitchat_id(), 1_000, None),
        forgery(target.chitchat_id(), 2_000, Some(1_500)),
    );
    let foreign = Sealer::new(&keys(2).current, CLUSTER);
    let pieces: Vec<_> = pieces::cut(1, &lethal).collect();
    let unsealed = [forged, lethal, vec![0xff; 60], vec![1; 60], pieces[0].clone()];
    for datagram in &unsealed {
        stranger.send_to(datagram, a.address).await.unwrap();
    }
    stranger.send_to(&foreign.seal(Plane::Membership, &pieces[0]), a.address).await.unwrap();

    eventually("all are refused", || {
        a.rejected(Rejection::Version) == 4 && a.rejected(Rejection::Key) == 2
    })
    .await;
    let reader = chitchat("b", &b, &to_b, &[a.address], vec![]).await;
    learns(&reader, "a", 1).await;
    assert!(target.termination_watcher().now_or_never().is_none());
}

#[tokio::test]
async fn what_a_program_of_the_same_host_says_to_chitchat_is_dropped() {
    let ((a, to_a), (b, to_b)) = (Door::open().await, Door::open().await);
    let target = chitchat("a", &a, &to_a, &[], facts(1, 10)).await;
    let inner = to_a.current.load().as_ref().unwrap().inner;
    let program = TokioSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in [
        forgery(target.chitchat_id(), 1_000, None),
        forgery(target.chitchat_id(), 2_000, Some(1_500)),
    ] {
        program.send_to(&datagram, inner).await.unwrap();
    }
    // Learned by messages that `a` takes from the same queue afterwards.
    let reader = chitchat("b", &b, &to_b, &[a.address], vec![]).await;
    learns(&reader, "a", 1).await;
    assert!(target.termination_watcher().now_or_never().is_none());
}

#[tokio::test]
async fn the_same_bytes_sealed_by_a_member_do_end_chitchat() {
    let (a, to_a) = Door::open().await;
    let (member, _) = Door::open().await;
    let target = chitchat("a", &a, &to_a, &[], facts(1, 10)).await;
    let lethal = forgery(target.chitchat_id(), 2_000, Some(1_500));
    let piece = pieces::cut(1, &lethal).next().unwrap();
    member.socket.send(Plane::Membership, &piece, a.address).await;
    timeout(Duration::from_secs(10), target.termination_watcher()).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_peer_keeps_its_socket_and_the_table_of_peers_is_bounded() {
    let (door, _) = Door::open().await;
    let inner = TokioSocket::bind("127.0.0.1:0").await.unwrap();
    let tasks = TaskTracker::new();
    let address = inner.local_addr().unwrap();
    let peers = Peers::new(address, 3, door.socket.clone(), tasks.clone());
    let remote = |n: u16| SocketAddr::from(([127, 0, 0, 9], 1_000 + n));
    let loopback = |n| peers.known(remote(n)).unwrap().loopback();
    let first: Vec<_> = (0..3).map(loopback).collect();
    assert_eq!(loopback(0), first[0]);
    assert_eq!(peers.behind(first[0]), Some(remote(0)));
    assert_eq!(peers.behind(address), None, "chitchat's own is no peer's");
    // The second was not used for longest.
    let fourth = loopback(3);
    assert_eq!(first.iter().filter(|&&one| peers.behind(one).is_some()).count(), 2);
    assert_eq!(peers.behind(first[1]), None);
    assert_eq!(peers.behind(fourth), Some(remote(3)));
    peers.stop().cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn forged_senders_do_not_take_the_sockets_of_members() {
    let (door, _) = Door::open().await;
    let inner = TokioSocket::bind("127.0.0.1:0").await.unwrap();
    let tasks = TaskTracker::new();
    let peers = Peers::new(inner.local_addr().unwrap(), 16, door.socket.clone(), tasks.clone());
    let remote = |n: u16| SocketAddr::from(([127, 0, 0, 9], 1_000 + n));
    // One that came to us first is no stranger once chitchat turned to it.
    peers.heard(remote(0)).unwrap();
    let members: Vec<_> = (0..10).map(|n| peers.known(remote(n)).unwrap().loopback()).collect();
    let forged: Vec<_> = (100..200).map(|n| peers.heard(remote(n)).unwrap().loopback()).collect();
    assert!(members.iter().all(|one| peers.behind(*one).is_some()));
    assert_eq!(forged.iter().filter(|one| peers.behind(**one).is_some()).count(), 4);
    peers.stop().cancel();
    tasks.close();
    tasks.wait().await;
}
