//! Whoever is no member: let in within bounds, and sent little.

use super::*;
use crate::issuer_brain::knowing::MAX_STRANGERS;

fn ack(n: usize) -> Message {
    let node = format!("n{n}").parse().unwrap();
    Message::Ack(Standing { node, ..standing(1, 1, 0) })
}

fn heard(incarnation: u64, seq: u64) -> Input {
    let (node, region) = (name(1), here());
    Input::Heard(Heard { node, incarnation, region, is_strict: false, applied: at(1, seq) })
}

#[test]
fn strangers_are_few_and_give_way_to_members_and_sessions() {
    let mut issuer = Issuer::new(0);
    (0..MAX_NODES).for_each(|n| drop(issuer.hear(1, ack(n), ms(0))));
    assert_eq!(issuer.0.nodes.len(), MAX_STRANGERS);
    let members = |from: usize, to| {
        let members = (from..to).map(|n| Member {
            node: format!("m{n}").parse().unwrap(),
            ..member(1, Role::Edge, true)
        });
        Input::Members(members.collect())
    };
    issuer.0.handle(members(0, MAX_NODES - MAX_STRANGERS), ms(1));
    issuer.0.handle(heard(1, 0), ms(2));
    assert_eq!(issuer.0.nodes.len(), MAX_NODES);
    assert!(issuer.0.nodes.contains_key(&name(1)));
    issuer.0.handle(members(0, MAX_NODES), ms(3));
    assert!(issuer.0.nodes.contains_key(&format!("m{}", MAX_NODES - 2).parse().unwrap()));
}

#[test]
fn strangers_that_fell_silent_make_room_for_others() {
    let mut issuer = Issuer::new(0);
    (0..MAX_STRANGERS).for_each(|n| drop(issuer.hear(1, ack(n), ms(0))));
    issuer.hear(1, ack(MAX_NODES), FORGET_AFTER);
    assert_eq!(issuer.0.nodes.len(), 1);
}

#[test]
fn addresses_that_no_member_told_of_are_sent_little() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 100), ms(1_000));
    issuer.pass(ms(2_000));
    let mut sent = |n: u8| {
        let want = |_| {
            let missing = vec![SeqRange { first: 1, last: 90 }];
            issuer.hear(n, Message::Want { epoch: 1, missing }, ms(2_000))
        };
        (0..100).flat_map(want).count()
    };
    assert_eq!((sent(77), sent(1)), (256, 800));
}

#[test]
fn a_node_is_given_ten_leases_a_second() {
    let mut issuer = Issuer::new(2);
    let mut asked = |n: u8, now| {
        let poll = Message::Poll { nonce: 1, standing: standing(n, 1, 0) };
        issuer.hear(n, poll, now).len()
    };
    let answers: usize = (0..1_000).map(|now| asked(1, ms(1_000 + now))).sum();
    assert_eq!((answers, asked(2, ms(2_000))), (10, 1));
}

#[test]
fn a_start_in_the_future_is_not_believed_and_a_session_says_which_is_right() {
    let day = 24 * 3_600 * 1_000_000_000;
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 9), ms(0));
    issuer.hear(1, Message::Ack(standing(1, u64::MAX, 1)), ms(10));
    issuer.ack(1, 2, ms(20));
    assert_eq!(issuer.0.nodes(ms(20))[0].applied, at(1, 2));
    issuer.hear(1, Message::Ack(standing(1, day, 3)), ms(30));
    issuer.ack(1, 4, ms(40));
    assert_eq!(issuer.0.nodes(ms(40))[0].applied, at(1, 3));
    issuer.0.handle(heard(1, 5), ms(50));
    issuer.ack(1, 6, ms(60));
    assert_eq!(issuer.0.nodes(ms(60))[0].applied, at(1, 6));
}
