//! What the desk of tests knows.

use tonic::Status;
use wcdn_proto::pb::{
    admin::v1::{
        BlockedId, Node, NodeHolding, OriginHealth, PinnedId, PreloadJob, ProbeOriginsResponse,
        RefreshOriginsResponse, WatchPinsResponse,
    },
    edge::v1::OriginPool,
};

/// What it knows, and what was asked of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Each request that changes something, as it was read.
    pub(crate) asked: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) blocks: Vec<BlockedId>,
    pub(crate) pool: OriginPool,
    pub(crate) holdings: Vec<NodeHolding>,
    pub(crate) pins: Vec<PinnedId>,
    /// What is told of pins that are watched, one after the other; then the stream ends.
    pub(crate) told_of_pins: Vec<WatchPinsResponse>,
    /// The same of a preload.
    pub(crate) told_of_preload: Vec<PreloadJob>,
    /// How many streams are still to break off after their first message.
    pub(crate) breaks: usize,
    /// How many changes are still to be made without anybody being told.
    pub(crate) losses: usize,
    /// Whether streams of events do not end.
    pub(crate) hangs: bool,
    /// What it answers instead of everything.
    pub(crate) refusal: Option<Status>,
    /// How often somebody else changes the origins when they were read.
    pub(crate) rivals: usize,
    pub(crate) health: Vec<OriginHealth>,
    pub(crate) probes: Vec<ProbeOriginsResponse>,
    /// What a refresh answers.
    pub(crate) refreshed: RefreshOriginsResponse,
}
