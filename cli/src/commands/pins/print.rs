//! Pins as people and programs read them.

use std::io;

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{Change, PinStanding, PinState, PinnedId, WatchPinsResponse};

use super::word;
use crate::{
    output::Output,
    receipt::ChangeDocument,
    table::{Cell, Table, Tone},
    text::{self, NOTHING},
};

#[derive(Debug, Serialize)]
struct ListDocument<'a> {
    pins: Vec<PinDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PinDocument<'a> {
    id: &'a str,
    #[serde(flatten)]
    standing: StandingDocument<'a>,
    note: &'a str,
    by: &'a str,
    pinned_at: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StandingDocument<'a> {
    state: &'static str,
    held: u32,
    expected: u32,
    over_budget: u32,
    failed: u32,
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct WaitedDocument<'a> {
    change: ChangeDocument,
    counts: Option<CountsDocument>,
    troubled: Vec<TroubledDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CountsDocument {
    requested: u32,
    filling: u32,
    held: u32,
    degraded: u32,
    over_budget: u32,
    unpinned: u32,
}

#[derive(Debug, Serialize)]
struct TroubledDocument<'a> {
    id: &'a str,
    #[serde(flatten)]
    standing: StandingDocument<'a>,
}

/// The list.
pub(super) fn list(output: &Output, pins: &[PinnedId]) -> io::Result<()> {
    if output.is_json() {
        return output
            .document(&ListDocument { pins: pins.iter().map(PinDocument::from).collect() });
    }
    let mut table = Table::new(["ID", "STATE", "HELD", "SINCE", "BY", "NOTE", "REASON"]);
    for pin in pins {
        let since = text::time(pin.pinned_at_ms);
        let since = since.as_deref().unwrap_or(NOTHING);
        let [state, held, reason] = told(pin.standing.as_ref());
        let (by, note) = ((&pin.by).into(), (&pin.note).into());
        table.row([(&pin.id).into(), state, held, since.into(), by, note, reason]);
    }
    output.table(&table)
}

/// What became of pins that were waited for.
pub(super) fn waited(
    output: &Output,
    change: &Change,
    told: Option<&WatchPinsResponse>,
) -> io::Result<()> {
    let troubled = told.map(|told| told.troubled.as_slice()).unwrap_or_default();
    if output.is_json() {
        let document = WaitedDocument {
            change: change.into(),
            counts: told.map(CountsDocument::from),
            troubled: troubled.iter().map(TroubledDocument::from).collect(),
        };
        return output.document(&document);
    }
    let mut table = Table::new(["ID", "STATE", "HELD", "REASON"]);
    for pin in troubled {
        let [state, held, reason] = self::told(pin.standing.as_ref());
        table.row([(&pin.id).into(), state, held, reason]);
    }
    output.table(&table)?;
    told.map_or(Ok(()), |told| output.remark(&standing(told)))
}

/// How far they are, on one line.
pub(super) fn standing(told: &WatchPinsResponse) -> String {
    let counts = [
        (told.degraded, "degraded"),
        (told.over_budget, "over budget"),
        (told.filling, "filling"),
        (told.requested, "requested"),
        (told.unpinned, "not pinned"),
    ];
    let others = counts.into_iter().filter(|(count, _)| *count > 0);
    let others: Vec<_> = others.map(|(count, state)| format!("{count} {state}")).collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    let all = text::count(total(told).into(), "pin");
    format!("{} of {all} held{others}", told.held)
}

/// How many were asked for.
pub(super) fn total(told: &WatchPinsResponse) -> u32 {
    let WatchPinsResponse { requested, filling, held, degraded, over_budget, unpinned, .. } = told;
    [filling, held, degraded, over_budget, unpinned]
        .into_iter()
        .fold(*requested, |sum, count| sum.saturating_add(*count))
}

fn told(standing: Option<&PinStanding>) -> [Cell; 3] {
    let Some(standing) = standing else { return [NOTHING.into(), NOTHING.into(), "".into()] };
    let state = standing.state();
    [
        Cell::toned(word(state), tone(state)),
        format!("{}/{}", standing.held, standing.expected).into(),
        (&standing.reason).into(),
    ]
}

fn tone(state: PinState) -> Tone {
    match state {
        PinState::Held => Tone::Good,
        PinState::Degraded | PinState::OverBudget => Tone::Doubtful,
        PinState::Unspecified | PinState::Requested | PinState::Filling => Tone::Plain,
    }
}

impl<'a> From<&'a PinnedId> for PinDocument<'a> {
    fn from(pin: &'a PinnedId) -> Self {
        Self {
            id: &pin.id,
            standing: pin.standing.as_ref().into(),
            note: &pin.note,
            by: &pin.by,
            pinned_at: text::time(pin.pinned_at_ms),
        }
    }
}

impl<'a> From<Option<&'a PinStanding>> for StandingDocument<'a> {
    fn from(standing: Option<&'a PinStanding>) -> Self {
        let reason = standing.map(|standing| standing.reason.as_str());
        let count = |count: fn(&PinStanding) -> u32| standing.map(count).unwrap_or_default();
        Self {
            state: word(standing.map(PinStanding::state).unwrap_or_default()),
            held: count(|standing| standing.held),
            expected: count(|standing| standing.expected),
            over_budget: count(|standing| standing.over_budget),
            failed: count(|standing| standing.failed),
            reason: reason.filter(|reason| !reason.is_empty()),
        }
    }
}

impl From<&WatchPinsResponse> for CountsDocument {
    fn from(told: &WatchPinsResponse) -> Self {
        Self {
            requested: told.requested,
            filling: told.filling,
            held: told.held,
            degraded: told.degraded,
            over_budget: told.over_budget,
            unpinned: told.unpinned,
        }
    }
}

impl<'a> From<&'a PinnedId> for TroubledDocument<'a> {
    fn from(pin: &'a PinnedId) -> Self {
        Self { id: &pin.id, standing: pin.standing.as_ref().into() }
    }
}
