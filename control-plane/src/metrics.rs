//! Every number the control plane tells Prometheus.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use wcdn_proto::Position;

use crate::{preloads::Settled, store::log::Committed};

/// The metrics of one control plane.
#[derive(Debug)]
pub(crate) struct Metrics {
    changes: Family<Kind, Counter>,
    frames: Counter,
    commit_seconds: Histogram,
    epoch: Gauge<u64, AtomicU64>,
    seq: Gauge<u64, AtomicU64>,
    /// Whether the store answered when it was last read.
    pub(crate) store_up: Gauge,
    nodes: Family<ByState, Gauge>,
    pins: Family<ByState, Gauge>,
    preloads: Family<ByResult, Counter>,
    /// Sessions of edges that are open.
    pub(crate) sessions: Gauge,
    /// Receipts that are not kept in the store yet.
    pub(crate) open_receipts: Gauge,
    /// Receipts that lost their times because there were too many.
    pub(crate) forgotten_receipts: Counter,
    /// Old frames that were folded into the checkpoint.
    pub(crate) pruned_frames: Counter,
    refused: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// A commit is a write to the disk: from a fast one to one that hangs.
const COMMIT_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

impl Metrics {
    /// Fresh ones, and the registry that shows them.
    pub(crate) fn new() -> (Arc<Self>, Registry) {
        let metrics = Self {
            changes: Family::default(),
            frames: Counter::default(),
            commit_seconds: Histogram::new(COMMIT_BUCKETS),
            epoch: Gauge::default(),
            seq: Gauge::default(),
            store_up: Gauge::default(),
            nodes: Family::default(),
            pins: Family::default(),
            preloads: Family::default(),
            sessions: Gauge::default(),
            open_receipts: Gauge::default(),
            forgotten_receipts: Counter::default(),
            pruned_frames: Counter::default(),
            refused: Family::default(),
        };
        let mut registry = Registry::default();
        metrics.register(registry.sub_registry_with_prefix("wcdn_control"));
        (Arc::new(metrics), registry)
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("changes", "Changes in the log, by kind", self.changes.clone());
        registry.register("frames", "Frames that were signed", self.frames.clone());
        let help = "From the begin of a transaction of the log to its end";
        let commit = self.commit_seconds.clone();
        registry.register_with_unit("commit", help, Unit::Seconds, commit);
        registry.register("log_epoch", "Epoch of the log", self.epoch.clone());
        registry.register("log_seq", "Last event of the log", self.seq.clone());
        let help = "Whether the store answered when it was last read";
        registry.register("store_up", help, self.store_up.clone());
        registry.register("nodes", "Nodes, by state", self.nodes.clone());
        registry.register("pins", "Pins, by state", self.pins.clone());
        let help = "Blobs that were preloaded, counted in each region, by result";
        registry.register("preloaded", help, self.preloads.clone());
        registry.register("sessions", "Sessions of edges that are open", self.sessions.clone());
        let help = "Receipts that are not kept in the store yet";
        registry.register("open_receipts", help, self.open_receipts.clone());
        let help = "Receipts that lost their times because there were too many";
        registry.register("forgotten_receipts", help, self.forgotten_receipts.clone());
        let help = "Old frames that were folded into the checkpoint";
        registry.register("pruned_frames", help, self.pruned_frames.clone());
        registry.register("refused_calls", "Calls refused, by reason", self.refused.clone());
    }

    /// A transaction of the log took this long.
    pub(crate) fn committed(&self, took: Duration, committed: &Committed) {
        self.commit_seconds.observe(took.as_secs_f64());
        for change in &committed.new {
            self.changes.get_or_create(&Kind { kind: change.kind.clone() }).inc();
        }
    }

    /// So many frames were signed.
    pub(crate) fn frames(&self, count: usize) {
        self.frames.inc_by(count as u64);
    }

    /// The log ends here.
    pub(crate) fn head(&self, head: Position) {
        self.epoch.set(head.epoch);
        self.seq.set(head.seq);
    }

    /// So many nodes are in this state.
    pub(crate) fn nodes(&self, state: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.nodes.get_or_create(&ByState { state }).set(count);
    }

    /// So many pins are in this state.
    pub(crate) fn pins(&self, state: &'static str, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.pins.get_or_create(&ByState { state }).set(count);
    }

    /// So many blobs were preloaded, or could not be.
    pub(crate) fn preloaded(&self, Settled { done, failed }: Settled) {
        for (result, count) in [("done", done), ("failed", failed)] {
            self.preloads.get_or_create(&ByResult { result }).inc_by(count);
        }
    }

    /// A call was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
