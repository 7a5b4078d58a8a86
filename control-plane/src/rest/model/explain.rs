//! What nodes hold of an id.

use serde::Serialize;
use utoipa::ToSchema;
use wcdn_proto::pb::{admin::v1 as admin, edge::v1 as edge};

use super::{position, some, time, word};

/// What is known of a blob.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Blob {
    id: String,
    blocked: bool,
    pinned: bool,
    /// Bytes, as far as a node knows them.
    length: Option<u64>,
    content_type: Option<String>,
    /// "full", "attested" or "origin": the best that a node has.
    verified: Option<String>,
    /// Regions in which a node holds it in memory or has it in Redis.
    regions: Vec<String>,
}

/// What every live node holds of an id, and why.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Explanation {
    id: String,
    blocked: bool,
    pinned: bool,
    nodes: Vec<NodeHolding>,
}

/// What a node holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeHolding {
    node: String,
    region: String,
    holding: Option<Holding>,
    /// Why there is none.
    unanswered: Option<String>,
    /// What it does for the pin.
    pin: Option<PinState>,
}

/// What a node holds of an id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Holding {
    blocked: bool,
    pinned: bool,
    /// "memory", "redis" or "filling"; null if nothing.
    tier: Option<String>,
    length: u64,
    /// "full", "attested" or "origin".
    verified: Option<String>,
    content_type: Option<String>,
    /// The position that was known when the bytes were fetched.
    token: Option<String>,
    /// The latest removal that covers the id.
    removed: Option<String>,
    /// When the bytes left their origin.
    #[schema(format = DateTime)]
    inserted_at: Option<String>,
    /// How far the node has applied the log.
    applied: Option<String>,
}

/// What a node does for a pin.
#[derive(Debug, Serialize, ToSchema)]
struct PinState {
    /// "filling", "held", "over_budget" or "failed".
    keeping: String,
    reason: Option<String>,
}

impl From<admin::ExplainResponse> for Explanation {
    fn from(told: admin::ExplainResponse) -> Self {
        let nodes = told.nodes.into_iter().map(NodeHolding::from).collect();
        Self { id: told.id, blocked: told.blocked, pinned: told.pinned, nodes }
    }
}

impl From<admin::NodeHolding> for NodeHolding {
    fn from(node: admin::NodeHolding) -> Self {
        let pin = |pin: edge::PinState| PinState {
            keeping: word(pin.keeping().as_str_name(), "KEEPING_"),
            reason: some(pin.reason),
        };
        Self {
            node: node.node,
            region: node.region,
            holding: node.holding.map(Holding::from),
            unanswered: some(node.unanswered),
            pin: node.pin.map(pin),
        }
    }
}

impl From<edge::Holding> for Holding {
    fn from(holding: edge::Holding) -> Self {
        Self {
            blocked: holding.blocked,
            pinned: holding.pinned,
            tier: some(holding.tier),
            length: holding.length,
            verified: some(holding.verified),
            content_type: some(holding.content_type),
            token: position(holding.token),
            removed: position(holding.removed),
            inserted_at: time(holding.inserted_at_ms),
            applied: position(holding.applied),
        }
    }
}

impl From<admin::ExplainResponse> for Blob {
    fn from(told: admin::ExplainResponse) -> Self {
        /// The better comes first.
        const LEVELS: [&str; 3] = ["full", "attested", "origin"];
        let admin::ExplainResponse { id, blocked, pinned, nodes } = told;
        let held = |tier: &str| matches!(tier, "memory" | "redis");
        let holdings =
            || nodes.iter().filter_map(|node| node.holding.as_ref().map(|it| (node, it)));
        let there = || holdings().filter(|(_, holding)| held(&holding.tier));
        let mut regions: Vec<String> = there().map(|(node, _)| node.region.clone()).collect();
        regions.sort();
        regions.dedup();
        let has = |level: &&str| there().any(|(_, holding)| holding.verified == **level);
        Self {
            length: there().map(|(_, holding)| holding.length).find(|length| *length > 0),
            content_type: there().find_map(|(_, holding)| some(holding.content_type.clone())),
            verified: LEVELS.iter().find(|level| has(level)).map(|level| (*level).to_owned()),
            id,
            blocked,
            pinned,
            regions,
        }
    }
}
