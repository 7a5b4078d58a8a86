//! Nodes, and the control plane itself.

use serde::Serialize;
use utoipa::ToSchema;
use wcdn_proto::pb::admin::v1 as admin;

use super::position;

/// Every node that is known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Nodes {
    /// The end of the log.
    head: Option<String>,
    items: Vec<Node>,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Node {
    node: String,
    region: String,
    version: String,
    /// Where viewers reach it.
    edge_url: String,
    /// How far it has applied the log.
    applied: Option<String>,
    /// "live", "unconfirmed", "fenced" or "lost".
    #[schema(example = "live")]
    state: String,
    /// Since it last confirmed the head.
    confirmed_ago_ms: u64,
    /// Whether it has a session with this control plane.
    has_session: bool,
    /// Whether it stops serving when it cannot confirm the head in time.
    strict: bool,
}

/// The control plane itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Status {
    version: String,
    /// The end of the log.
    head: Option<String>,
    /// The oldest event that can be replayed.
    floor_seq: u64,
    nodes_live: u64,
}

/// Whether the control plane serves.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct Health {
    /// "serving" or "draining".
    #[schema(example = "serving")]
    pub(in crate::rest) status: &'static str,
    pub(in crate::rest) version: &'static str,
}

impl From<admin::ListNodesResponse> for Nodes {
    fn from(list: admin::ListNodesResponse) -> Self {
        let node = |node: admin::Node| Node {
            node: node.node,
            region: node.region,
            version: node.version,
            edge_url: node.edge_url,
            applied: position(node.applied),
            state: node.state,
            confirmed_ago_ms: node.confirmed_ago_ms,
            has_session: node.has_session,
            strict: node.strict,
        };
        Self { head: position(list.head), items: list.nodes.into_iter().map(node).collect() }
    }
}

impl From<admin::GetStatusResponse> for Status {
    fn from(status: admin::GetStatusResponse) -> Self {
        Self {
            version: status.version,
            head: position(status.head),
            floor_seq: status.floor_seq,
            nodes_live: status.nodes_live,
        }
    }
}
