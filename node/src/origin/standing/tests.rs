use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Until when it is ejected, from `now`.
fn ejected_for(standing: &Standing, now: Instant) -> Option<Duration> {
    match standing.availability(now) {
        Availability::Ejected(until) => Some(until.saturating_duration_since(now)),
        Availability::Passing | Availability::BackingOff(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_ejects_at_once_and_each_failed_probe_twice_as_long() {
    let (mut standing, mut now) = (Standing::default(), Instant::now());
    let mut spans = Vec::new();
    for _ in 0..8 {
        assert_eq!(standing.availability(now), Availability::Passing);
        standing.admit(now);
        standing.note(Verdict::Outage, now);
        let span = ejected_for(&standing, now).unwrap();
        spans.push(span.as_secs());
        now += span;
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn an_ejected_origin_gets_one_probe_after_its_time_out() {
    let (mut standing, start) = (Standing::default(), Instant::now());
    standing.note(Verdict::Outage, start);
    let now = start + SECOND;
    assert_eq!(standing.availability(now), Availability::Passing, "somebody may try");
    assert!(standing.admit(now));
    assert!(standing.is_probed());
    assert_eq!(standing.availability(now), Availability::Ejected(now), "nobody else may");
    assert!(!standing.admit(now));
    standing.probe_ended(now);
    assert!(standing.admit(now), "a probe without a verdict is made again");
    standing.note(Verdict::Answered, now);
    assert_eq!(standing.availability(now), Availability::Passing);
    assert!(!standing.is_probed() && !standing.admit(now));
}

#[tokio::test(start_paused = true)]
async fn one_asked_for_want_of_others_may_prove_itself_before_its_time_out_ends() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    standing.note(Verdict::Outage, now);
    assert!(standing.admit(now));
    standing.note(Verdict::Outage, now);
    assert_eq!(ejected_for(&standing, now), Some(SECOND), "failing costs it nothing more");
    assert!(standing.admit(now));
    standing.probe_ended(now);
    assert_eq!(ejected_for(&standing, now), Some(SECOND));
    assert!(standing.admit(now));
    standing.note(Verdict::Answered, now);
    assert_eq!(standing.availability(now), Availability::Passing);
    standing.note(Verdict::Lie, now);
    assert!(!standing.admit(now), "but one that lied stays away");
}

#[tokio::test(start_paused = true)]
async fn answers_that_were_under_way_do_not_end_an_ejection() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    standing.note(Verdict::Outage, now);
    standing.note(Verdict::Answered, now);
    standing.note(Verdict::Outage, now);
    assert_eq!(ejected_for(&standing, now), Some(SECOND), "and failures do not make it longer");
}

#[tokio::test(start_paused = true)]
async fn three_faults_in_a_row_eject_and_an_answer_between_forgives() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    for verdict in [Verdict::Fault, Verdict::Fault, Verdict::Answered, Verdict::Fault] {
        standing.note(verdict, now);
    }
    standing.note(Verdict::Fault, now);
    assert_eq!(ejected_for(&standing, now), None);
    assert_eq!(standing.strikes(), 2);
    standing.note(Verdict::Fault, now);
    assert_eq!(ejected_for(&standing, now), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn more_faults_than_answers_eject_once_ten_are_known() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    let mut seen = 0;
    for verdict in [Verdict::Fault, Verdict::Fault, Verdict::Answered].into_iter().cycle() {
        standing.note(verdict, now);
        seen += 1;
        if ejected_for(&standing, now).is_some() {
            break;
        }
        assert!(seen < 20, "never ejected");
    }
    assert!(seen >= 10, "ejected after {seen}");
}

#[tokio::test(start_paused = true)]
async fn a_lie_ejects_for_a_minute_and_then_one_may_try() {
    let (mut standing, start) = (Standing::default(), Instant::now());
    standing.note(Verdict::Outage, start);
    standing.note(Verdict::Lie, start);
    assert_eq!(ejected_for(&standing, start), Some(LONGEST_EJECTION));
    let now = start + LONGEST_EJECTION;
    assert!(standing.admit(now));
    standing.note(Verdict::Lie, now);
    assert_eq!(ejected_for(&standing, now), Some(LONGEST_EJECTION));
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_flaps_is_ejected_longer_each_time_until_it_behaves() {
    let (mut standing, mut now) = (Standing::default(), Instant::now());
    for expected in [1, 2, 4] {
        standing.note(Verdict::Outage, now);
        let span = ejected_for(&standing, now).unwrap();
        assert_eq!(span.as_secs(), expected);
        now += span;
        standing.note(Verdict::Answered, now);
    }
    now += LONGEST_EJECTION;
    standing.note(Verdict::Outage, now);
    assert_eq!(ejected_for(&standing, now), Some(SECOND), "a minute of peace is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_busy_origin_is_backed_off_from_and_not_ejected() {
    let (mut standing, mut now) = (Standing::default(), Instant::now());
    let mut spans = Vec::new();
    for _ in 0..8 {
        standing.note(Verdict::Busy(None), now);
        let Availability::BackingOff(end) = standing.availability(now) else { panic!() };
        spans.push((end - now).as_millis());
        now = end;
    }
    assert_eq!(spans, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    assert_eq!(standing.strikes(), 0);
    standing.note(Verdict::Answered, now);
    standing.note(Verdict::Busy(None), now);
    assert_eq!(standing.availability(now), Availability::BackingOff(now + FIRST_BACKOFF));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_reason() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    standing.note(Verdict::Busy(Some(7 * SECOND)), now);
    assert_eq!(standing.availability(now), Availability::BackingOff(now + 7 * SECOND));
    standing.note(Verdict::Busy(Some(86_400 * SECOND)), now);
    assert_eq!(standing.availability(now), Availability::BackingOff(now + LONGEST_RETRY_AFTER));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_blob_refused_is_remembered_for_ten_minutes() {
    let (mut standing, now) = (Standing::default(), Instant::now());
    standing.refused(500, now);
    standing.refused(900, now);
    standing.refused(300, now);
    assert_eq!(standing.refused_from(now), Some(300));
    standing.serves(200);
    assert_eq!(standing.refused_from(now), Some(300));
    standing.serves(300);
    assert_eq!(standing.refused_from(now), None, "it serves them after all");
    standing.refused(300, now);
    assert_eq!(standing.refused_from(now + REFUSAL_TTL), None);
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Answered),
        (0u64..1_000).prop_map(|s| Verdict::Busy(Some(Duration::from_secs(s)))),
        Just(Verdict::Busy(None)),
        Just(Verdict::Fault),
        Just(Verdict::Outage),
        Just(Verdict::Lie),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_comes_back_in_time(
        events in prop::collection::vec((verdict(), 0u64..3_000, any::<bool>()), 0..60),
    ) {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        for (verdict, ms, ends) in events {
            now += Duration::from_millis(ms);
            let probes = standing.admit(now);
            prop_assert!(!probes || standing.is_probed());
            if ends {
                standing.probe_ended(now);
            }
            standing.note(verdict, now);
            prop_assert!(!standing.is_probed(), "a verdict ends a probe");
            let longest = match standing.availability(now) {
                Availability::Passing => now,
                Availability::BackingOff(end) => end,
                Availability::Ejected(end) => end,
            };
            prop_assert!(longest <= now + LONGEST_RETRY_AFTER);
            prop_assert_eq!(
                standing.availability(now + LONGEST_RETRY_AFTER),
                Availability::Passing
            );
        }
    }
}
