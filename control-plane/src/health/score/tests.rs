use proptest::prelude::*;

use super::*;
use crate::health::{
    counts::Counts,
    fault::{Fault, FaultKind},
    probe::Asked,
};

const INTERVAL: Duration = Duration::from_secs(300);
const INTERVAL_MS: u64 = 300_000;
const NOW: u64 = 1_000 * INTERVAL_MS;

fn probe(rounds_ago: u64, took_ms: u64, fault: Option<FaultKind>) -> Probe {
    Probe {
        at_ms: NOW - rounds_ago * INTERVAL_MS,
        asked: Asked::Absent,
        took: Duration::from_millis(took_ms),
        outcome: fault.map_or(Ok(()), |kind| Err(Fault::new(kind, format!("it was {kind:?}")))),
        about: None,
    }
}

fn known<'a>(probes: &'a [Probe], regions: &'a [(Region, Seen)]) -> Known<'a> {
    Known { probes, lies: 0.0, regions, now_ms: NOW, interval: INTERVAL }
}

fn value(probes: &[Probe]) -> u8 {
    known(probes, &[]).score().value
}

fn rounds(count: u64, took_ms: u64, fault: Option<FaultKind>) -> Vec<Probe> {
    (0..count).map(|ago| probe(ago, took_ms, fault)).collect()
}

fn region(name: &str, requests: u64, timed_out: u64) -> (Region, Seen) {
    let counts = Counts { requests, timed_out, ..Counts::default() };
    (name.parse().unwrap(), Seen { counts, good_ago: None })
}

#[test]
fn one_that_answers_fast_has_all_and_one_of_which_nothing_is_known_too() {
    assert_eq!(value(&rounds(20, 90, None)), 100);
    assert_eq!(value(&[]), 100);
}

#[test]
fn a_dead_one_loses_all_within_some_rounds_and_a_single_failure_is_forgiven() {
    let good = rounds(20, 90, None);
    let after = |failures: u64| {
        let mut probes = rounds(failures, 5_000, Some(FaultKind::Timeout));
        probes.extend((failures..20).map(|ago| probe(ago, 90, None)));
        value(&probes)
    };
    assert!((65..=80).contains(&after(1)), "{}", after(1));
    assert!(after(3) < 40 && after(4) < 30 && after(20) == 0);
    let forgiven = [good[..5].to_vec(), vec![probe(5, 90, Some(FaultKind::Error))]].concat();
    assert!(value(&forgiven) >= 94);
}

#[test]
fn one_that_is_slow_stays_usable() {
    assert_eq!(value(&rounds(20, 5_000, None)), 60);
    assert!((75..90).contains(&value(&rounds(20, 1_000, None))));
    let told = known(&rounds(20, 3_000, None), &[]).score();
    assert_eq!(told.reason, "takes 3.0 s to answer");
}

#[test]
fn a_lie_weighs_most() {
    let probes = rounds(20, 90, None);
    let lied = Known { lies: 1.0, ..known(&probes, &[]) }.score();
    assert_eq!((lied.value, lied.reason.as_str()), (10, "sent bytes that are not the blob"));
    let dead = value(&[rounds(2, 90, Some(FaultKind::Connect)), rounds(20, 90, None)].concat());
    assert!(lied.value < dead);
}

#[test]
fn one_without_room_is_better_than_one_that_fails() {
    assert_eq!(value(&rounds(20, 90, Some(FaultKind::Throttled))), 50);
    assert_eq!(value(&rounds(20, 90, Some(FaultKind::Error))), 0);
}

#[test]
fn what_says_nothing_about_it_does_not_count() {
    for kind in [FaultKind::Unknown, FaultKind::Skipped] {
        assert_eq!(value(&[rounds(3, 90, Some(kind)), rounds(20, 90, None)].concat()), 100);
    }
}

#[test]
fn one_region_that_gets_nothing_degrades_it_and_no_more() {
    let probes = rounds(20, 90, None);
    let regions = [region("ap", 40, 40), region("eu", 500, 0), region("us", 500, 1)];
    let score = known(&probes, &regions).score();
    assert!(score.value >= 70, "{score:?}");
    assert_eq!(score.most, Level::Degraded);
    assert_eq!(score.reason, "ap: 40 of 40 requests failed (timed out)");
    let all = [region("ap", 40, 40), region("eu", 500, 500), region("us", 500, 500)];
    assert_eq!(known(&probes, &all).score().value, 60, "the control plane still reaches it");
    let few = [region("ap", FEW - 1, FEW - 1)];
    assert_eq!(known(&probes, &few).score().value, 100);
}

#[test]
fn the_reason_is_the_failure_that_lasts() {
    let mut probes = rounds(20, 90, None);
    probes[0].outcome = Err(Fault::new(FaultKind::Tls, "its certificate expired"));
    assert_eq!(known(&probes, &[]).score().reason, "its certificate expired");
    let unknown = probe(0, 1, Some(FaultKind::Unknown));
    assert_eq!(known(&[unknown], &[]).score().reason, "");
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let kind = prop_oneof![
        Just(None),
        Just(Some(FaultKind::Timeout)),
        Just(Some(FaultKind::Throttled)),
        Just(Some(FaultKind::Unknown)),
    ];
    (0_u64..600, 0_u64..10_000, kind).prop_map(|(ago, took, kind)| probe(ago, took, kind))
}

proptest! {
    #[test]
    fn a_success_never_lowers_the_score_and_a_failure_or_a_lie_never_raises_it(
        probes in prop::collection::vec(any_probe(), 0..20),
        lies in 0.0..5.0_f64,
    ) {
        let score = |probes: &[Probe], lies| Known { lies, ..known(probes, &[]) }.score().value;
        let before = score(&probes, lies);
        let good = probe(0, 0, None);
        let failed = probe(0, 5_000, Some(FaultKind::Timeout));
        prop_assert!(score(&[vec![good], probes.clone()].concat(), lies) >= before);
        prop_assert!(score(&[vec![failed], probes.clone()].concat(), lies) <= before);
        prop_assert!(score(&probes, lies + 1.0) <= before);
    }

    #[test]
    fn what_edges_say_alone_never_makes_a_good_origin_unhealthy(
        counts in prop::collection::vec((0_u64..1_000, 0_u64..1_000), 0..6),
    ) {
        let regions: Vec<_> = (0..)
            .zip(counts)
            .map(|(n, (requests, failed))| region(&format!("r{n}"), requests, failed.min(requests)))
            .collect();
        prop_assert!(known(&rounds(20, 90, None), &regions).score().value >= 60);
    }
}
