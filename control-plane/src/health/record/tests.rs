use super::*;
use crate::health::target::Kind;

const INTERVAL: Duration = Duration::from_secs(300);
const INTERVAL_MS: u64 = 300_000;

fn target() -> Target {
    let origin = edge::Origin {
        name: "a".to_owned(),
        url: "http://a".to_owned(),
        ..edge::Origin::default()
    };
    let key = Key { kind: Kind::Aggregator, name: "a".parse().unwrap() };
    Target { key, url: "http://a".parse().unwrap(), origin }
}

fn probe(at_ms: u64, asked: Asked, fault: Option<FaultKind>) -> Probe {
    let outcome = fault.map_or(Ok(()), |kind| Err(Fault::new(kind, "why")));
    let about = (asked == Asked::Verify).then(|| BlobId::from_bytes([7; 32]));
    Probe { at_ms, asked, took: Duration::from_millis(90), outcome, about }
}

/// An origin, a round at a time.
struct Rounds {
    origin: Origin,
    target: Target,
    now_ms: u64,
    is_blind: bool,
    is_known_served: bool,
    changes: Vec<Change>,
}

impl Rounds {
    fn begin() -> Self {
        let (target, now_ms) = (target(), 1_000 * INTERVAL_MS);
        let origin = Origin::new(&target, now_ms);
        Self { origin, target, now_ms, is_blind: false, is_known_served: true, changes: vec![] }
    }

    fn pass(&mut self, count: u32, fault: Option<FaultKind>) {
        for _ in 0..count {
            self.now_ms += INTERVAL_MS;
            let asked = |asked| probe(self.now_ms, asked, fault);
            let probes = vec![asked(Asked::Absent), asked(Asked::Read)];
            self.answer(probes);
        }
    }

    fn answer(&mut self, probes: Vec<Probe>) -> Vec<Probe> {
        let round = Round {
            now_ms: self.now_ms,
            interval: INTERVAL,
            regions: &[],
            is_blind: self.is_blind,
            is_known_served: self.is_known_served,
            is_regular: true,
        };
        let kept = self.origin.take(probes, &round);
        self.changes.extend(self.origin.settle(&self.target.origin, self.now_ms));
        kept
    }

    /// As of one that is ejected.
    fn guilt(&self) -> Option<Guilt> {
        let rules = Rules { eject_after: 3, return_after: 4 };
        self.origin.record.guilt(true, false, &rules)
    }

    fn states(&self) -> Vec<&'static str> {
        self.changes.iter().map(|change| change.to.as_str()).collect()
    }
}

#[test]
fn one_that_dies_and_comes_back_is_told_of_each_time_with_why() {
    let mut rounds = Rounds::begin();
    rounds.pass(3, None);
    rounds.pass(6, Some(FaultKind::Connect));
    rounds.pass(10, None);
    assert_eq!(rounds.states(), ["degraded", "unhealthy", "degraded", "healthy"]);
    let reasons: Vec<_> = rounds.changes.iter().map(|change| change.reason.as_str()).collect();
    assert_eq!(reasons[..2], ["why", "why"]);
    assert_eq!(reasons[3], "answers as it should");
    assert_eq!((rounds.origin.probes.len(), rounds.origin.probed), (LAST, 38));
    assert_eq!(rounds.origin.success_percent(), Some(100));
    assert_eq!(rounds.origin.p50(), Some(Duration::from_millis(90)));
}

#[test]
fn one_that_flaps_settles_in_the_worse_state() {
    let mut rounds = Rounds::begin();
    for _ in 0..40 {
        rounds.pass(3, None);
        rounds.pass(3, Some(FaultKind::Timeout));
    }
    assert!(rounds.changes.len() <= 6, "{:?}", rounds.states());
}

#[test]
fn dead_is_who_answered_nothing_for_some_rounds_and_not_who_nobody_could_reach() {
    let mut rounds = Rounds::begin();
    rounds.pass(3, None);
    rounds.pass(5, Some(FaultKind::Timeout));
    let guilt = |rounds: &Rounds, eject_after, is_served| {
        let rules = Rules { eject_after, return_after: 4 };
        rounds.origin.record.guilt(false, is_served, &rules)
    };
    assert_eq!(guilt(&rounds, 5, false), Some(Guilt::Dead));
    assert_eq!(guilt(&rounds, 6, false), None);
    assert_eq!(guilt(&rounds, 5, true), None, "some region is served");
    rounds.is_blind = true;
    rounds.pass(5, Some(FaultKind::Timeout));
    assert_eq!(guilt(&rounds, 6, false), None, "rounds of who may be blind prove nothing");
    rounds.is_blind = false;
    rounds.pass(1, Some(FaultKind::Timeout));
    assert_eq!(guilt(&rounds, 6, false), Some(Guilt::Dead));
    rounds.pass(1, None);
    assert_eq!(guilt(&rounds, 1, false), None);
}

#[test]
fn proof_takes_twice_as_long_with_each_ejection() {
    let mut rounds = Rounds::begin();
    for needed in [4, 8, 16, 32, 32] {
        rounds.origin.record.ejected();
        rounds.pass(needed - 1, None);
        assert_eq!(rounds.guilt(), Some(Guilt::Dead), "{needed}");
        rounds.pass(1, None);
        assert_eq!(rounds.guilt(), None, "{needed}");
    }
    rounds.pass(CALM_ROUNDS, None);
    rounds.origin.record.ejected();
    rounds.pass(4, None);
    assert_eq!(rounds.guilt(), None, "a day of calm is forgiven");
}

#[test]
fn a_liar_must_be_honest_about_whole_blobs_too() {
    let mut rounds = Rounds::begin();
    rounds.answer(vec![probe(rounds.now_ms, Asked::Verify, Some(FaultKind::Lied))]);
    rounds.origin.record.ejected();
    rounds.pass(10, None);
    assert_eq!(rounds.guilt(), Some(Guilt::Lied), "it only says that it has what it has");
    for left in (0..4).rev() {
        rounds.now_ms += INTERVAL_MS;
        rounds.answer(vec![probe(rounds.now_ms, Asked::Verify, None)]);
        assert_eq!(rounds.guilt(), (left > 0).then_some(Guilt::Lied), "{left}");
    }
    rounds.origin.record.acquitted();
    assert_eq!(rounds.origin.record.lied_about, None);
}

#[test]
fn a_blob_that_nobody_has_is_held_against_nobody() {
    let mut rounds = Rounds::begin();
    rounds.is_known_served = false;
    let kept = rounds.answer(vec![probe(rounds.now_ms, Asked::Read, Some(FaultKind::Missing))]);
    assert_eq!((kept[0].result(), rounds.origin.score), ("unknown", 100));
    rounds.is_known_served = true;
    let kept = rounds.answer(vec![probe(rounds.now_ms, Asked::Read, Some(FaultKind::Missing))]);
    assert_eq!((kept[0].result(), rounds.origin.score), ("missing", 0));
}

#[test]
fn a_lie_fades_by_half_in_two_hours() {
    let mut rounds = Rounds::begin();
    rounds.answer(vec![probe(rounds.now_ms, Asked::Verify, Some(FaultKind::Lied))]);
    let record = &rounds.origin.record;
    assert_eq!(record.lies_at(rounds.now_ms, INTERVAL), 1.0);
    let later = rounds.now_ms + 24 * INTERVAL_MS;
    assert!((record.lies_at(later, INTERVAL) - 0.5).abs() < 1e-9);
    assert_eq!(rounds.states(), ["unhealthy"]);
}

#[test]
fn who_is_ejected_is_ejected_whatever_else_is_known() {
    let mut rounds = Rounds::begin();
    (rounds.target.origin.ejected, rounds.target.origin.reason) = (true, "by hand".to_owned());
    rounds.pass(1, None);
    rounds.target.origin.ejected = false;
    rounds.pass(1, None);
    assert_eq!(rounds.states(), ["ejected", "healthy"]);
    assert_eq!(rounds.changes[0].reason, "by hand");
}

#[test]
fn a_record_is_read_as_it_was_written_and_by_later_versions_too() {
    let mut rounds = Rounds::begin();
    rounds.pass(4, Some(FaultKind::Error));
    rounds.origin.record.lied_about = Some(BlobId::from_bytes([7; 32]));
    let text = serde_json::to_string(&rounds.origin.record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), rounds.origin.record);
    assert_eq!(serde_json::from_str::<Record>("{}").unwrap(), Record::default());
}
