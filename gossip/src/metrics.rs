//! Every number the event plane tells Prometheus.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{edge_brain::EdgeCounts, issuer_brain::IssuerCounts, seal::Rejection};

/// The metrics of one node's plane.
#[derive(Debug, Default)]
pub(crate) struct GossipMetrics {
    datagrams: Family<Traffic, Counter>,
    bytes: Family<Traffic, Counter>,
    pub(crate) rejected: Family<Rejected, Counter>,
    /// Datagrams that the kernel refused to send.
    pub(crate) unsent: Counter,
    /// 1 while the plane runs, 0 once it ended.
    pub(crate) plane_up: Gauge,
    /// Members heard from lately, this node included.
    pub(crate) members_live: Gauge,
    /// Members not yet forgotten, this node included.
    pub(crate) members_known: Gauge,
    /// 1 while a node that began later bears this node's name, else 0.
    pub(crate) namesake: Gauge,
    /// Times that membership had to be started anew.
    pub(crate) membership_restarts: Counter,
    /// The contiguous position: its number.
    pub(crate) applied_seq: Gauge<u64, AtomicU64>,
    /// The highest number that a signature vouched for.
    pub(crate) known_seq: Gauge<u64, AtomicU64>,
    frames: Family<Taken, Counter>,
    sent: Family<Sent, Counter>,
    catch_ups: Family<CaughtUp, Counter>,
}

/// Datagrams are told apart by what they carry and which way they go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Traffic {
    plane: &'static str,
    direction: &'static str,
}

/// Datagrams that were dropped are told apart by why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Rejected {
    /// Why.
    pub(crate) reason: &'static str,
}

/// Frames are told apart by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Taken {
    result: &'static str,
}

/// Messages sent are told apart by why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sent {
    kind: &'static str,
}

/// Readings of the log are told apart by how they ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CaughtUp {
    result: &'static str,
}

/// What came of reading the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CatchUpResult {
    /// Frames.
    Frames,
    /// A snapshot.
    Snapshot,
    /// Nothing: no control plane answered.
    Failed,
}

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Plane {
    /// A piece of a message of chitchat.
    Membership,
    /// A message of the event plane.
    Event,
}

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    /// Received and opened.
    In,
    /// Handed to the kernel.
    Out,
}

impl GossipMetrics {
    /// Counts one datagram.
    pub(crate) fn count(&self, plane: Plane, direction: Direction, bytes: usize) {
        let plane = match plane {
            Plane::Membership => "membership",
            Plane::Event => "event",
        };
        let direction = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        let traffic = Traffic { plane, direction };
        self.datagrams.get_or_create(&traffic).inc();
        self.bytes.get_or_create(&traffic).inc_by(bytes as u64);
    }

    /// Counts a datagram that was dropped.
    pub(crate) fn reject(&self, reason: Rejection) {
        self.rejected.get_or_create(&Rejected { reason: reason.name() }).inc();
    }

    /// Counts a reading of the log.
    pub(crate) fn caught_up(&self, result: CatchUpResult) {
        let result = match result {
            CatchUpResult::Frames => "frames",
            CatchUpResult::Snapshot => "snapshot",
            CatchUpResult::Failed => "failed",
        };
        self.catch_ups.get_or_create(&CaughtUp { result }).inc();
    }

    /// Adds what an edge's brain counted between two looks.
    pub(crate) fn add_edge(&self, before: EdgeCounts, after: EdgeCounts) {
        let frames = |result, before: u64, after: u64| {
            self.frames.get_or_create(&Taken { result }).inc_by(after.saturating_sub(before));
        };
        frames("applied", before.applied, after.applied);
        frames("duplicate", before.duplicates, after.duplicates);
        frames("refused", before.refused, after.refused);
        frames("outdated", before.outdated, after.outdated);
        self.add_sent("repair", before.repairs, after.repairs);
    }

    /// Adds what an issuer's brain counted between two looks.
    pub(crate) fn add_issuer(&self, before: IssuerCounts, after: IssuerCounts) {
        let frames = |result, before: u64, after: u64| {
            self.frames.get_or_create(&Taken { result }).inc_by(after.saturating_sub(before));
        };
        frames("published", before.published, after.published);
        frames("refused", before.refused, after.refused);
        self.add_sent("push", before.pushes, after.pushes);
        self.add_sent("resend", before.resends, after.resends);
        self.add_sent("reminder", before.reminders, after.reminders);
        self.add_sent("repair", before.repairs, after.repairs);
    }

    fn add_sent(&self, kind: &'static str, before: u64, after: u64) {
        self.sent.get_or_create(&Sent { kind }).inc_by(after.saturating_sub(before));
    }

    /// Metrics that `registry` tells; it puts `wcdn` before all names itself.
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("gossip");
        registry.register("datagrams", "Sealed datagrams", metrics.datagrams.clone());
        registry.register("bytes", "Bytes of sealed datagrams", metrics.bytes.clone());
        registry.register("plane_up", "Whether the event plane runs", metrics.plane_up.clone());
        registry.register("rejected", "Datagrams dropped", metrics.rejected.clone());
        registry.register("unsent", "Datagrams that the kernel refused", metrics.unsent.clone());
        let (live, known) = (&metrics.members_live, &metrics.members_known);
        registry.register("members_live", "Members heard from lately", live.clone());
        registry.register("members_known", "Members not yet forgotten", known.clone());
        registry.register(
            "namesake",
            "Whether a node that began later bears the same name",
            metrics.namesake.clone(),
        );
        registry.register(
            "membership_restarts",
            "Times that membership was started anew",
            metrics.membership_restarts.clone(),
        );
        registry.register(
            "applied_seq",
            "Number up to which every event is applied",
            metrics.applied_seq.clone(),
        );
        registry.register(
            "known_seq",
            "Highest number that a signature vouched for",
            metrics.known_seq.clone(),
        );
        registry.register("frames", "Frames received or published", metrics.frames.clone());
        registry.register("sent", "Messages sent because of frames", metrics.sent.clone());
        registry.register("catch_ups", "Readings of the log", metrics.catch_ups.clone());
        Arc::new(metrics)
    }
}
