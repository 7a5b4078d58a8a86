//! What is sent again, to whom, and how much of it.

use super::*;

/// Publishes a frame each `pace` to one edge that answers after `trip`, and gives the copies of each.
fn copies(frames_sent: u64, pace: Time, trip: Time) -> Vec<usize> {
    let mut issuer = Issuer::new(1);
    let mut copies = Vec::new();
    let mut acks: VecDeque<(Time, u64)> = VecDeque::new();
    let end = pace * u32::try_from(frames_sent).unwrap() + ms(5_000);
    let (mut now, mut next) = (ms(1_000), 1);
    while now < end {
        let mut actions = Vec::new();
        while let Some((_, seq)) = acks.pop_front_if(|(at, _)| *at <= now) {
            let ack =
                Input::Received { from: address(1), message: Message::Ack(standing(1, 1, seq)) };
            actions.extend(issuer.0.take_in(ack, now));
        }
        if next <= frames_sent && now >= ms(1_000) + pace * u32::try_from(next).unwrap() {
            actions.extend(issuer.0.take_in(Input::Publish(frames(next, 1)), now));
            acks.push_back((now + trip, next));
            copies.push(0);
            next += 1;
        }
        actions.extend(issuer.0.handle(Input::Tick, now));
        for action in actions {
            let Action::Send { to, message: Message::Push(frames) } = action else { continue };
            if to != address(1) {
                continue;
            }
            for frame in frames {
                let (first, _) = Frame::peek(&frame).unwrap();
                copies[usize::try_from(first.seq).unwrap() - 1] += 1;
            }
        }
        now += ms(1);
    }
    copies
}

#[test]
fn a_clean_far_link_carries_each_frame_twice() {
    let copies = copies(60, ms(400), ms(240));
    assert!(copies[1..].iter().all(|copies| *copies == 2), "{copies:?}");
}

#[test]
fn a_link_that_is_longer_than_the_first_guess_is_measured_all_the_same() {
    let copies = copies(60, ms(600), ms(400));
    assert!(copies[5..].iter().all(|copies| *copies == 2), "{copies:?}");
}

#[test]
fn acks_that_are_late_all_at_once_cost_few_copies() {
    let copies = copies(300, ms(10), ms(150));
    let all: usize = copies.iter().sum();
    assert!(copies.iter().all(|copies| *copies <= 3), "{copies:?}");
    assert!(all <= 2 * copies.len() + 5, "{all}");
}

#[test]
fn a_silent_node_is_sent_one_datagram_a_wait_and_one_that_answers_at_most_32() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 100), ms(1_000));
    let (pushes, _) = times(&issuer.pass(ms(1_299)));
    assert!(pushes.iter().all(|at| *at < 1_100));
    // It was never sent anything again before, so it is not known to be silent.
    let (pushes, _) = times(&issuer.pass(ms(1_599)));
    assert_eq!(pushes, [1_300; 32]);
    let (pushes, _) = times(&issuer.pass(ms(3_500)));
    assert_eq!(pushes, [1_600, 2_200, 3_400]);
    issuer.ack(1, 0, ms(3_600));
    let (pushes, _) = times(&issuer.pass(ms(3_700)));
    assert_eq!(pushes.len(), 32);
}

#[test]
fn what_an_ack_has_no_room_to_tell_of_is_not_sent_again() {
    let mut issuer = Issuer::new(1);
    issuer.publish(frames(1, 100), ms(1_000));
    issuer.pass(ms(1_200));
    let mut told = standing(1, 1, 0);
    told.applied.above = (1..=32).map(|n| SeqRange { first: 2 * n, last: 2 * n }).collect();
    issuer.hear(1, Message::Ack(told.clone()), ms(1_250));
    let again = issuer.pass(ms(3_500));
    let resent = again.iter().filter_map(|(_, action)| match action {
        Action::Send { message: Message::Push(frames), .. } => Some(frames),
        _ => None,
    });
    let seqs: Vec<u64> = resent.flatten().map(|frame| Frame::peek(frame).unwrap().0.seq).collect();
    assert!(!seqs.is_empty() && seqs.iter().all(|seq| seq % 2 == 1 && *seq < 64), "{seqs:?}");
    told.applied = Applied::upto(at(1, 64));
    issuer.hear(1, Message::Ack(told), ms(3_510));
    assert!(!times(&issuer.pass(ms(3_600))).0.is_empty());
}
