//! What is known of origins is kept as it was, in bounded room.

use super::*;
use crate::{
    health::{
        fault::{Fault, FaultKind},
        standing::Level,
    },
    store::stores::{On, on_both},
};

fn key(name: &str) -> Key {
    Key { kind: Kind::Aggregator, name: name.parse().unwrap() }
}

fn probe(at_ms: u64, is_good: bool) -> Probe {
    let fault = || Err(Fault::new(FaultKind::Timeout, "no answer"));
    Probe {
        at_ms,
        asked: Asked::Absent,
        took: Duration::from_micros(1_234),
        outcome: if is_good { Ok(()) } else { fault() },
        about: None,
    }
}

fn origin(name: &str, probed: u64) -> Origin {
    Origin {
        key: key(name),
        url: "http://a".to_owned(),
        state: State::At(Level::Degraded),
        since_ms: 7,
        reason: "why".to_owned(),
        score: 61,
        probes: Vec::new(),
        probed,
        record: Record::default(),
    }
}

/// Keeps notes made of what is known now.
async fn note(store: &Store, notes: Notes, now_ms: u64) {
    let (revision, _) = store.origins_to_note().await.unwrap();
    assert!(store.keep_origins(revision, &notes, None, now_ms).await.unwrap());
}

fn noted(noted: Noted) -> Notes {
    Notes { noted: vec![noted], ..Notes::default() }
}

fn changed(changes: &[Change]) -> Notes {
    Notes { changes: changes.to_vec(), ..Notes::default() }
}

/// Keeps so many new probes, a second apart, after those that were there.
async fn keep(store: &Store, name: &str, first: u64, count: u64) {
    let new = (first..first + count).map(|n| probe(n * 1_000, n % 2 == 0)).collect();
    note(store, noted(Noted { origin: origin(name, first + count), new }), 0).await;
}

on_both!(
    the_last_probes_are_kept_and_told_from_the_latest_on,
    a_day_is_kept_in_quarters_and_older_ones_make_room,
    changes_are_told_from_the_latest_on_and_forgotten_after_a_month,
    one_that_is_gone_is_forgotten_and_what_it_changed_is_not,
    of_two_that_note_at_the_same_time_the_second_one_begins_anew,
    whose_turn_is_over_notes_nothing,
);

async fn the_last_probes_are_kept_and_told_from_the_latest_on(on: On) {
    let (_fresh, store) = on.store().await;
    keep(&store, "a", 0, 3).await;
    keep(&store, "b", 0, 1).await;
    keep(&store, "a", 3, 30).await;
    keep(&store, "a", 33, 2).await;
    let origins = store.origins().await.unwrap();
    let a = &origins[&key("a")];
    let times: Vec<u64> = a.probes.iter().map(|probe| probe.at_ms / 1_000).collect();
    assert_eq!(times, (15..35).rev().collect::<Vec<_>>());
    assert_eq!(a.probes[0], probe(34_000, true));
    assert_eq!(a.probes[1], probe(33_000, false));
    assert_eq!((a.state, a.score, a.probed, a.since_ms), (State::At(Level::Degraded), 61, 35, 7));
    assert_eq!((a.reason.as_str(), a.url.as_str()), ("why", "http://a"));
    assert_eq!(origins[&key("b")].probes.len(), 1);
}

async fn a_day_is_kept_in_quarters_and_older_ones_make_room(on: On) {
    let (_fresh, store) = on.store().await;
    let now = 1_000 * CELL_MS;
    let ask = async |at_ms, is_good| {
        let new = vec![probe(at_ms, is_good)];
        note(&store, noted(Noted { origin: origin("a", 1), new }), 0).await;
    };
    for (quarters_ago, is_good) in [(96, true), (95, true), (95, false), (1, false), (0, true)] {
        ask(now - quarters_ago * CELL_MS, is_good).await;
    }
    let strip = store.strips(now).await.unwrap().remove(&key("a")).unwrap();
    assert_eq!(strip.len(), 96);
    assert_eq!(strip[0], Cell { from_ms: now - 95 * CELL_MS, good: 1, bad: 1 });
    assert_eq!((strip[94].bad, strip[95].good), (1, 1));
    let asked: u64 = strip.iter().map(|cell| cell.good + cell.bad).sum();
    assert_eq!(asked, 4, "a day ago is too long ago");
    let unknown = probe(now, true);
    let unknown = Probe { outcome: Err(Fault::new(FaultKind::Unknown, "")), ..unknown };
    note(&store, noted(Noted { origin: origin("a", 1), new: vec![unknown] }), 0).await;
    let again = store.strips(now).await.unwrap().remove(&key("a")).unwrap();
    assert_eq!(again, strip, "what says nothing does not count");
}

fn change(at_ms: u64, to: State) -> Change {
    let (from, reason) = (State::At(Level::Healthy), format!("it was {at_ms}"));
    Change { key: key("a"), at_ms, from, to, reason }
}

async fn changes_are_told_from_the_latest_on_and_forgotten_after_a_month(on: On) {
    let (_fresh, store) = on.store().await;
    let (early, late) = (change(1_000, State::Ejected), change(2_000, State::At(Level::Unhealthy)));
    note(&store, changed(&[early.clone(), late.clone()]), 3_000).await;
    assert_eq!(store.origin_changes().await.unwrap(), [late.clone(), early]);
    note(&store, Notes::default(), 2_000 + CHANGES_MS).await;
    assert_eq!(store.origin_changes().await.unwrap(), [late]);
}

async fn one_that_is_gone_is_forgotten_and_what_it_changed_is_not(on: On) {
    let (_fresh, store) = on.store().await;
    keep(&store, "a", 0, 3).await;
    keep(&store, "b", 0, 3).await;
    let gone = vec![key("a")];
    note(&store, Notes { gone, ..changed(&[change(1, State::Ejected)]) }, 1).await;
    let origins = store.origins().await.unwrap();
    assert_eq!(origins.keys().collect::<Vec<_>>(), [&key("b")]);
    assert!(!store.strips(0).await.unwrap().contains_key(&key("a")));
    assert_eq!(store.origin_changes().await.unwrap().len(), 1);
}

async fn of_two_that_note_at_the_same_time_the_second_one_begins_anew(on: On) {
    let (_fresh, store) = on.store().await;
    let (revision, _) = store.origins_to_note().await.unwrap();
    let first = noted(Noted { origin: origin("a", 1), new: vec![probe(1_000, true)] });
    let second = noted(Noted { origin: origin("b", 1), new: vec![probe(1_000, true)] });
    assert!(store.keep_origins(revision, &first, None, 0).await.unwrap());
    assert!(!store.keep_origins(revision, &second, None, 0).await.unwrap());
    let (revision, known) = store.origins_to_note().await.unwrap();
    assert_eq!(known.keys().collect::<Vec<_>>(), [&key("a")], "nothing of the second is kept");
    assert!(store.keep_origins(revision, &second, None, 0).await.unwrap());
    assert_eq!(store.origins().await.unwrap().len(), 2);
}

async fn whose_turn_is_over_notes_nothing(on: On) {
    let (_fresh, store) = on.store().await;
    let turn = store.take_job("health", "one", Duration::ZERO).await.unwrap().unwrap();
    store.must_have(turn).await.unwrap();
    let next = store.take_job("health", "other", Duration::ZERO).await.unwrap().unwrap();
    assert!(matches!(store.must_have(turn).await, Err(StoreError::Superseded { .. })));
    let notes = noted(Noted { origin: origin("a", 1), new: vec![probe(1_000, true)] });
    let (revision, _) = store.origins_to_note().await.unwrap();
    let late = store.keep_origins(revision, &notes, Some(turn), 0).await;
    assert!(matches!(late, Err(StoreError::Superseded { .. })));
    assert!(store.origins().await.unwrap().is_empty());
    let (revision, _) = store.origins_to_note().await.unwrap();
    assert!(store.keep_origins(revision, &notes, Some(next), 0).await.unwrap());
}
