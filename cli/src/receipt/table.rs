//! Receipts as people read them.

use wcdn_proto::pb::{
    admin::v1::{NodeReceipt, NodeState, Receipt},
    edge::v1::{Outcome, ReadBack, RedisOutcome},
};

use crate::{
    table::{Cell, Table, Tone},
    text::{self, NOTHING, count},
};

/// A line for each node.
pub(super) fn of(receipt: &Receipt) -> Table<7> {
    let mut table =
        Table::new(["NODE", "REGION", "STATE", "AFTER", "MEMORY", "REDIS", "READ BACK"]);
    for node in &receipt.nodes {
        let outcome = node.outcome.as_ref();
        let memory = outcome.map_or_else(nothing, |outcome| outcome.memory_removed.to_string());
        let back = outcome.and_then(|outcome| read_back(outcome.read_back())).unwrap_or(NOTHING);
        table.row([
            (&node.node).into(),
            (&node.region).into(),
            Cell::toned(state(node.state()), state_tone(node.state())),
            applied_after(node).map_or_else(nothing, text::after).into(),
            memory.into(),
            outcome.map_or_else(nothing, removed_from_redis).into(),
            Cell::toned(back, if back == "stale" { Tone::Bad } else { Tone::Plain }),
        ]);
    }
    table
}

/// How many nodes, in what time, and which are missing.
pub(super) fn summary(receipt: &Receipt) -> String {
    let slowest = receipt.nodes.iter().filter_map(applied_after).max();
    let within = slowest.map_or_else(String::new, |micros| format!(" in {}", text::after(micros)));
    let missing = receipt.nodes.iter().filter(|node| node.state() != NodeState::Applied);
    format!("{}{within}{}", applied(receipt), listed("not applied:", missing.map(named)))
}

/// How many nodes so far, and who is waited for.
pub(super) fn standing(receipt: &Receipt) -> String {
    let pending = receipt.nodes.iter().filter(|node| node.state() == NodeState::Pending);
    let pending = pending.map(|node| node.node.clone());
    format!("{}{}", applied(receipt), listed("waiting for", pending))
}

fn applied(receipt: &Receipt) -> String {
    let applied = receipt.nodes.iter().filter(|node| node.state() == NodeState::Applied).count();
    format!("{applied} of {}", count(receipt.nodes.len() as u64, "node"))
}

/// `; what a, b and 7 more`, or nothing.
fn listed(what: &str, names: impl Iterator<Item = String>) -> String {
    /// Enough to begin looking.
    const MAX_NAMED: usize = 5;
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match (names.join(", "), more) {
        (names, _) if names.is_empty() => String::new(),
        (names, 0) => format!("; {what} {names}"),
        (names, more) => format!("; {what} {names} and {more} more"),
    }
}

fn named(node: &NodeReceipt) -> String {
    format!("{} ({})", node.node, state(node.state()))
}

/// None if it has not, or it is no longer known when.
pub(super) fn applied_after(node: &NodeReceipt) -> Option<u64> {
    let is_known = node.state() == NodeState::Applied && node.applied_after_us > 0;
    is_known.then_some(node.applied_after_us)
}

fn removed_from_redis(outcome: &Outcome) -> String {
    match outcome.redis() {
        RedisOutcome::Removed => outcome.redis_removed.to_string(),
        other => redis(other).unwrap_or(NOTHING).to_owned(),
    }
}

fn nothing() -> String {
    NOTHING.to_owned()
}

pub(super) fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Unspecified => "unknown",
        NodeState::Pending => "pending",
        NodeState::Applied => "applied",
        NodeState::Unconfirmed => "unconfirmed",
        NodeState::Fenced => "fenced",
        NodeState::Lost => "lost",
    }
}

fn state_tone(state: NodeState) -> Tone {
    match state {
        NodeState::Applied => Tone::Good,
        NodeState::Unspecified | NodeState::Pending => Tone::Plain,
        NodeState::Unconfirmed | NodeState::Fenced => Tone::Doubtful,
        NodeState::Lost => Tone::Bad,
    }
}

pub(super) fn redis(redis: RedisOutcome) -> Option<&'static str> {
    match redis {
        RedisOutcome::Unspecified => None,
        RedisOutcome::None => Some("none"),
        RedisOutcome::Removed => Some("removed"),
        RedisOutcome::Unreachable => Some("unreachable"),
    }
}

pub(super) fn read_back(read_back: ReadBack) -> Option<&'static str> {
    match read_back {
        ReadBack::Unspecified => None,
        ReadBack::Clean => Some("clean"),
        ReadBack::Stale => Some("stale"),
        ReadBack::Unknown => Some("unknown"),
    }
}
