//! Changes and receipts in JSON.

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{Change, NodeReceipt, Receipt};

use super::table::{applied_after, read_back, redis, state};
use crate::text;

/// What a command that changes something answers when it does not wait.
#[derive(Debug, Serialize)]
pub(crate) struct Committed {
    change: ChangeDocument,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeDocument {
    id: String,
    kind: String,
    first: Option<String>,
    last: Option<String>,
    committed_at: Option<String>,
    ids: u64,
    by: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReceiptDocument {
    change: Option<ChangeDocument>,
    nodes: Vec<NodeDocument>,
    settled: bool,
    complete: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeDocument {
    node: String,
    region: String,
    state: &'static str,
    applied_after_ms: Option<f64>,
    memory_removed: Option<u64>,
    fills_marked: Option<u64>,
    redis: Option<&'static str>,
    redis_removed: Option<u64>,
    read_back: Option<&'static str>,
}

impl From<&Change> for Committed {
    fn from(change: &Change) -> Self {
        Self { change: change.into() }
    }
}

impl From<&Change> for ChangeDocument {
    fn from(change: &Change) -> Self {
        Self {
            id: change.id.clone(),
            kind: change.kind.clone(),
            first: text::wire_position(change.first),
            last: text::wire_position(change.last),
            committed_at: text::time(change.committed_at_ms),
            ids: change.ids,
            by: change.by.clone(),
        }
    }
}

impl From<&Receipt> for ReceiptDocument {
    fn from(receipt: &Receipt) -> Self {
        Self {
            change: receipt.change.as_ref().map(ChangeDocument::from),
            nodes: receipt.nodes.iter().map(NodeDocument::from).collect(),
            settled: receipt.settled,
            complete: receipt.complete,
        }
    }
}

impl From<&NodeReceipt> for NodeDocument {
    fn from(node: &NodeReceipt) -> Self {
        let outcome = node.outcome.as_ref();
        Self {
            node: node.node.clone(),
            region: node.region.clone(),
            state: state(node.state()),
            applied_after_ms: applied_after(node).map(millis),
            memory_removed: outcome.map(|outcome| outcome.memory_removed),
            fills_marked: outcome.map(|outcome| outcome.fills_marked),
            redis: outcome.and_then(|outcome| redis(outcome.redis())),
            redis_removed: outcome.map(|outcome| outcome.redis_removed),
            read_back: outcome.and_then(|outcome| read_back(outcome.read_back())),
        }
    }
}

fn millis(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1_000.0
}
