//! Changes, and who has applied them.

use serde::Serialize;
use utoipa::ToSchema;
use wcdn_proto::pb::{admin::v1 as admin, edge::v1 as edge};

use super::{position, time, word};

/// A change in the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Change {
    /// By which its receipt is found.
    #[schema(example = "chg_01jd8m5x2q9v7k3w4r6t8y0z1a")]
    id: String,
    /// What was asked for.
    #[schema(example = "purge")]
    kind: String,
    /// Its first event.
    #[schema(example = "1764000000000:41")]
    first: Option<String>,
    /// Its last event.
    #[schema(example = "1764000000000:42")]
    last: Option<String>,
    #[schema(format = DateTime)]
    committed_at: Option<String>,
    /// Ids that it names; 0 for everything.
    ids: u64,
    /// The name of the API key.
    by: String,
}

/// A change that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct Changed {
    pub(in crate::rest) change: Change,
}

/// A purge that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct Purged {
    pub(in crate::rest) purge: Change,
}

/// Who has applied a change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Receipt {
    change: Option<Change>,
    nodes: Vec<NodeReceipt>,
    /// Whether no node is pending.
    settled: bool,
    /// Whether every node applied it.
    complete: bool,
}

/// What a node has done with a change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeReceipt {
    node: String,
    region: String,
    /// "pending", "applied", "unconfirmed", "fenced" or "lost".
    #[schema(example = "applied")]
    state: String,
    /// From the commit to the arrival of the confirmation: an upper bound. Microseconds; null if it is not
    /// known.
    applied_after_us: Option<u64>,
    /// What it did there, once the node has told.
    outcome: Option<Outcome>,
}

/// What the events of a change did on a node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Entries removed from memory.
    memory_removed: u64,
    /// Fills under way that may no longer be kept.
    fills_marked: u64,
    /// "none", "removed" or "unreachable".
    redis: String,
    /// Blobs removed from the region's Redis by this node.
    redis_removed: u64,
    /// Whether memory and Redis, read again, no longer answered: "clean", "stale" or "unknown".
    read_back: String,
}

impl From<admin::Change> for Change {
    fn from(change: admin::Change) -> Self {
        Self {
            id: change.id,
            kind: change.kind,
            first: position(change.first),
            last: position(change.last),
            committed_at: time(change.committed_at_ms),
            ids: change.ids,
            by: change.by,
        }
    }
}

impl From<admin::Receipt> for Receipt {
    fn from(receipt: admin::Receipt) -> Self {
        Self {
            change: receipt.change.map(Change::from),
            nodes: receipt.nodes.into_iter().map(NodeReceipt::from).collect(),
            settled: receipt.settled,
            complete: receipt.complete,
        }
    }
}

impl From<admin::NodeReceipt> for NodeReceipt {
    fn from(line: admin::NodeReceipt) -> Self {
        Self {
            state: word(line.state().as_str_name(), "NODE_STATE_"),
            node: line.node,
            region: line.region,
            applied_after_us: Some(line.applied_after_us).filter(|us| *us > 0),
            outcome: line.outcome.map(Outcome::from),
        }
    }
}

impl From<edge::Outcome> for Outcome {
    fn from(outcome: edge::Outcome) -> Self {
        Self {
            memory_removed: outcome.memory_removed,
            fills_marked: outcome.fills_marked,
            redis: word(outcome.redis().as_str_name(), "REDIS_OUTCOME_"),
            redis_removed: outcome.redis_removed,
            read_back: word(outcome.read_back().as_str_name(), "READ_BACK_"),
        }
    }
}
