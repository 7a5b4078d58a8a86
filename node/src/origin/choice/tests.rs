use proptest::prelude::*;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn passing(affinity: u64) -> Candidate {
    Candidate {
        affinity,
        weight: 100,
        is_banned: false,
        cost: None,
        availability: Availability::Passing,
        in_flight: 0,
        refuses: false,
    }
}

fn costing(affinity: u64, ms: u64) -> Candidate {
    Candidate { cost: Some(MS(ms)), ..passing(affinity) }
}

fn ejected(affinity: u64, until: Instant) -> Candidate {
    Candidate { availability: Availability::Ejected(until), ..passing(affinity) }
}

#[test]
fn among_equals_affinity_decides_and_small_differences_do_not() {
    let candidates = [costing(1, 40), costing(3, 44), costing(2, 42)];
    assert_eq!(order(&candidates, 8), [1, 2, 0]);
}

#[test]
fn of_many_the_cheapest_are_asked_first() {
    let candidates = [costing(9, 160), costing(1, 40), costing(2, 41), costing(8, 80)];
    assert_eq!(order(&candidates, 2), [2, 1, 3, 0]);
}

#[test]
fn one_much_slower_than_the_others_is_asked_after_them() {
    let candidates = [costing(9, 2_000), costing(1, 40), costing(2, 40)];
    assert_eq!(order(&candidates, 8), [2, 1, 0]);
    let unknown = [passing(9), costing(1, 40), costing(2, 40)];
    assert_eq!(order(&unknown, 8), [0, 2, 1], "one nobody knows is tried");
}

#[tokio::test(start_paused = true)]
async fn those_that_failed_come_last_in_the_order_of_their_time_outs() {
    let now = Instant::now();
    let busy = Availability::BackingOff(now + MS(2));
    let candidates = [
        ejected(9, now + MS(3)),
        Candidate { availability: busy, ..passing(8) },
        passing(1),
        ejected(7, now + MS(1)),
        passing(2),
    ];
    assert_eq!(order(&candidates, 8), [4, 2, 3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_the_size_is_asked_after_all_others() {
    let refusing = Candidate { refuses: true, ..passing(9) };
    assert_eq!(order(&[refusing, ejected(1, Instant::now()), passing(1)], 8), [2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ejected_for_all_comes_after_those_that_failed_here() {
    let banned = Candidate { is_banned: true, ..passing(9) };
    assert_eq!(order(&[banned, ejected(1, Instant::now() + MS(9)), passing(1)], 8), [2, 1, 0]);
    let refusing = Candidate { refuses: true, ..passing(9) };
    assert_eq!(order(&[refusing, banned, passing(1)], 8), [2, 1, 0]);
}

#[test]
fn the_heavier_is_drawn_to_more_strongly_but_affinity_still_counts() {
    let heavy = |affinity, weight| Candidate { weight, ..passing(affinity) };
    let half = u64::MAX / 2;
    assert_eq!(order(&[passing(half), heavy(half, 200)], 8), [1, 0]);
    assert_eq!(order(&[passing(u64::MAX), heavy(half, 200)], 8), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn never_below_half_pass() {
    let now = Instant::now();
    let candidates =
        [ejected(9, now + MS(9)), ejected(8, now + MS(1)), ejected(7, now + MS(5)), passing(1)];
    assert_eq!(order(&candidates, 8), [1, 3, 2, 0], "the one that returns first has its place");
}

fn candidate(now: Instant) -> impl Strategy<Value = Candidate> {
    let availability = (0u64..3, 0u64..90_000).prop_map(move |(kind, ms)| match kind {
        0 => Availability::Passing,
        1 => Availability::BackingOff(now + MS(ms)),
        _ => Availability::Ejected(now + MS(ms)),
    });
    let terms = (1_u32..1_000, prop::bool::weighted(0.2));
    let load = (0usize..80, any::<bool>());
    (any::<u64>(), terms, prop::option::of(0u64..30_000), availability, load).prop_map(
        |(affinity, (weight, is_banned), cost, availability, (in_flight, refuses))| Candidate {
            affinity,
            weight,
            is_banned,
            cost: cost.map(MS),
            availability,
            in_flight,
            refuses,
        },
    )
}

proptest! {
    #[test]
    fn every_origin_appears_exactly_once(
        candidates in prop::collection::vec(candidate(Instant::now()), 0..60),
        spread in 1usize..10,
    ) {
        let mut order = order(&candidates, spread);
        order.sort_unstable();
        prop_assert_eq!(order, (0..candidates.len()).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_has_no_more_than_its_share_under_way(
        mut candidates in prop::collection::vec(candidate(Instant::now()), 1..60),
        spread in 1usize..10,
    ) {
        for candidate in &mut candidates {
            (candidate.availability, candidate.refuses) = (Availability::Passing, false);
            (candidate.cost, candidate.is_banned) = (None, false);
        }
        let order = order(&candidates, spread);
        let best = &order[..spread.min(order.len())];
        let sum: usize = best.iter().map(|n| candidates[*n].in_flight).sum();
        let all = best.iter().map(|n| weight(&candidates[*n])).sum();
        let first = &candidates[order[0]];
        prop_assert!(first.in_flight as u64 <= rendezvous::share(sum, weight(first), all));
    }

    #[test]
    fn a_blob_keeps_its_order_when_an_origin_leaves(
        affinities in prop::collection::hash_set(any::<u64>(), 2..8),
        leaves in any::<prop::sample::Index>(),
    ) {
        let all: Vec<_> = affinities.into_iter().map(passing).collect();
        let leaving = leaves.index(all.len());
        let mut fewer = all.clone();
        fewer.remove(leaving);
        let named = |of: &[Candidate]| -> Vec<u64> {
            order(of, 8).into_iter().map(|n| of[n].affinity).collect()
        };
        let mut expected = named(&all);
        expected.retain(|affinity| *affinity != all[leaving].affinity);
        prop_assert_eq!(named(&fewer), expected);
    }

    #[test]
    fn what_is_asked_before_the_others_is_at_least_half(
        mut candidates in prop::collection::vec(candidate(Instant::now()), 1..60),
    ) {
        for candidate in &mut candidates {
            (candidate.refuses, candidate.is_banned) = (false, false);
            if let Availability::BackingOff(until) = candidate.availability {
                candidate.availability = Availability::Ejected(until);
            }
        }
        let is_away = |candidate: &Candidate| candidate.availability != Availability::Passing;
        let (mut passing, mut away): (Vec<_>, Vec<_>) =
            (0..candidates.len()).partition(|n| !is_away(&candidates[*n]));
        readmit(&candidates, &mut passing, &mut away);
        prop_assert!(passing.len() * 2 >= candidates.len());
    }
}
