use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::{
    metrics::Plane,
    testing::{CLUSTER, Door, eventually, forgery, introduction},
    transport::pieces,
};

const ROUND: Duration = Duration::from_millis(50);

struct Node {
    door: Door,
    members: watch::Receiver<Members>,
    head_hint: watch::Receiver<Position>,
    positions: Arc<Positions>,
}

async fn node(name: &str, role: Role, seeds: &[SocketAddr]) -> Node {
    let (door, transport) = Door::open().await;
    let positions = Arc::new(Positions::new(Position::ORIGIN));
    let (members, head_hint) =
        (watch::Sender::new(Members::from([])), watch::Sender::new(Position::ORIGIN));
    let (seen, hinted) = (members.subscribe(), head_hint.subscribe());
    let settings = MembershipSettings {
        cluster: CLUSTER.into(),
        node: name.parse().unwrap(),
        region: "here".parse().unwrap(),
        advertise: door.address,
        peer: (role == Role::Edge).then_some(([10, 0, 0, 1], 47).into()),
        seeds: seeds.iter().map(ToString::to_string).collect(),
        interval: ROUND,
    };
    let (metrics, positions_told) = (door.metrics.clone(), positions.clone());
    let membership = Membership {
        settings,
        role,
        transport,
        positions: positions_told,
        members,
        head_hint,
        metrics,
    };
    door.tasks.spawn(membership.run(door.shutdown.clone()));
    Node { door, members: seen, head_hint: hinted, positions }
}

impl Node {
    async fn sees(&mut self, what: &str, wanted: impl Fn(&[Member]) -> bool) -> Members {
        let seen = timeout(Duration::from_secs(20), self.members.wait_for(|seen| wanted(seen)));
        seen.await.unwrap_or_else(|_| panic!("{what}: not within 20 s")).unwrap().clone()
    }
}

fn names(members: &[Member]) -> Vec<(&str, Role, bool)> {
    members.iter().map(|member| (member.node.as_str(), member.role, member.is_live)).collect()
}

#[tokio::test]
async fn members_find_each_other_by_one_seed_and_know_roles_and_addresses() {
    let mut issuer = node("issuer", Role::Issuer, &[]).await;
    let mut edges = vec![];
    for name in ["edge-a", "edge-b", "edge-c"] {
        edges.push(node(name, Role::Edge, &[issuer.door.address]).await);
    }
    let addresses: Vec<_> = edges.iter().map(|edge| edge.door.address).collect();
    let is_whole =
        |member: &Member| member.is_live && member.peer.is_some() == (member.role == Role::Edge);
    let all = |members: &[Member]| members.len() == 4 && members.iter().all(is_whole);
    let seen = issuer.sees("all are seen by the issuer", all).await;
    assert_eq!(names(&seen)[0], ("edge-a", Role::Edge, true));
    assert_eq!(names(&seen)[3], ("issuer", Role::Issuer, true));
    assert_eq!(seen[..3].iter().map(|member| member.address).collect::<Vec<_>>(), addresses);
    for edge in &mut edges {
        edge.sees("all are seen by each edge", all).await;
    }
}

#[tokio::test]
async fn a_member_that_falls_silent_stays_known_and_counts_once_when_it_returns() {
    let mut watcher = node("watcher", Role::Edge, &[]).await;
    let seeds = [watcher.door.address];
    let first = node("mortal", Role::Edge, &seeds).await;
    let live =
        |wanted: bool| move |members: &[Member]| members.len() == 2 && members[0].is_live == wanted;
    let before = watcher.sees("it is live", live(true)).await;
    first.door.shutdown.cancel();
    drop(first);
    watcher.sees("it is known to be dead", live(false)).await;
    let again = node("mortal", Role::Edge, &seeds).await;
    let after = watcher.sees("it lives again", live(true)).await;
    assert_ne!(before[0].address, after[0].address);
    assert_eq!(after[0].address, again.door.address);
}

#[tokio::test]
async fn membership_that_is_killed_starts_anew_and_is_found_again() {
    let mut target = node("target", Role::Edge, &[]).await;
    let mut peer = node("peer", Role::Edge, &[target.door.address]).await;
    let both =
        |members: &[Member]| members.len() == 2 && members.iter().all(|member| member.is_live);
    target.sees("the peer is live", both).await;
    peer.sees("the target is live", both).await;

    // chitchat takes facts only of nodes that it has heard of.
    let victim = ChitchatId::new("victim", 1, "127.0.0.1:9".parse().unwrap());
    for message in [introduction(&victim), forgery(&victim, 2_000, Some(1_500))] {
        let piece = pieces::cut(0, &message).next().unwrap();
        peer.door.socket.send(Plane::Membership, &piece, target.door.address).await;
    }
    eventually("it is started anew", || target.door.metrics.membership_restarts.get() == 1).await;
    target.positions.advance(Position { epoch: 3, seq: 7 }, Position { epoch: 3, seq: 9 });
    // Only the new generation can tell of this.
    let told = peer.head_hint.wait_for(|head| *head == Position { epoch: 3, seq: 9 });
    timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    eventually("the peer is live again, and was known all the time", || {
        let seen = target.members.borrow();
        assert_eq!(seen.len(), 2);
        both(&seen)
    })
    .await;
    peer.sees("the target is one member, and live", both).await;
}

#[tokio::test]
async fn a_node_notices_that_another_bears_its_name() {
    let first = node("twin", Role::Edge, &[]).await;
    let second = node("twin", Role::Edge, &[first.door.address]).await;
    eventually("the first notices", || first.door.metrics.namesake.get() == 1).await;
    assert_eq!(second.door.metrics.namesake.get(), 0);
}

#[test]
fn a_generation_is_larger_than_the_last_whatever_the_clock_says() {
    assert_eq!(next_generation(u64::MAX - 1), u64::MAX);
    assert!(next_generation(0) > 1_700_000_000_000_000_000);
}

#[test]
fn a_generation_that_lives_goes_before_a_newer_one_that_nobody_hears() {
    let generation = |name: &str, port: u16, is_live| Member {
        node: name.parse().unwrap(),
        region: "here".parse().unwrap(),
        address: ([127, 0, 0, 1], port).into(),
        peer: None,
        role: Role::Edge,
        is_live,
    };
    let told = [
        generation("a", 1, true),
        generation("a", 2, false),
        generation("b", 3, true),
        generation("b", 4, true),
        generation("c", 5, false),
        generation("c", 6, false),
    ];
    let ports: Vec<u16> = newest(told.into_iter()).iter().map(|m| m.address.port()).collect();
    assert_eq!(ports, [1, 4, 6]);
}
