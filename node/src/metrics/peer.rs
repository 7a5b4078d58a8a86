//! What the nodes of a region ask each other, and how it goes.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters of reading through peers, and of what is vouched for.
#[derive(Debug, Default)]
pub struct PeerMetrics {
    /// Requests to peers, by what came of them.
    requests: Family<Outcome, Counter>,
    /// Bytes of bodies.
    pub bytes: Counter,
    /// Peers, or origins, asked because the first peer let us wait.
    hedges: Family<HedgeResult, Counter>,
    /// Bodies that went on elsewhere when a peer broke off.
    pub resumed: Counter,
    /// Requests of peers, by the answer.
    served: Family<Outcome, Counter>,
    /// Requests of peers under way.
    pub serving: Gauge,
    /// Connections of peers that were not let in.
    pub strangers: Counter,
    /// Nodes of this region that read through each other, as seen here, this one included.
    pub nodes: Gauge,
    /// Checks that were spared because another node vouches for the bytes.
    spared: Family<Whose, Counter>,
    /// What is told between regions.
    notes: Family<NoteResult, Counter>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// One hedge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HedgeResult {
    /// `won`, `lost`, or `denied` by the budget.
    result: &'static str,
}

/// One attestation that was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoteResult {
    /// `sent`, `dropped` for lack of room; `kept`, `removed` by an event, `disbelieved`.
    result: &'static str,
}

/// Whose word it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whose {
    /// `peer` or `region`.
    by: &'static str,
}

impl PeerMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let requests = self.requests.clone();
        to.register("peer_requests", "Requests to other nodes of the region, by outcome", requests);
        to.register("peer_bytes", "Body bytes received from them", self.bytes.clone());
        to.register(
            "peer_hedges",
            "Others asked because a peer let us wait: won, lost, or denied by the budget",
            self.hedges.clone(),
        );
        to.register(
            "peer_resumed",
            "Bodies that went on elsewhere when a peer broke off",
            self.resumed.clone(),
        );
        to.register("peer_served", "Requests of other nodes, by answer", self.served.clone());
        to.register("peer_serving", "Requests of other nodes under way", self.serving.clone());
        to.register(
            "peer_strangers",
            "Connections to the peer port that did not prove the cluster's key",
            self.strangers.clone(),
        );
        to.register(
            "peer_nodes",
            "Nodes of this region that read through each other, as seen here",
            self.nodes.clone(),
        );
        to.register(
            "checks_spared",
            "Checks spared because another node vouches for the bytes",
            self.spared.clone(),
        );
        to.register(
            "notes",
            "Attestations sent to other regions, and received from them, by result",
            self.notes.clone(),
        );
    }

    /// Counts a request to a peer.
    pub fn request(&self, outcome: &'static str) {
        self.requests.get_or_create(&Outcome { outcome }).inc();
    }

    /// Requests that came to this.
    #[cfg(test)]
    pub fn requested(&self, outcome: &'static str) -> u64 {
        self.requests.get_or_create(&Outcome { outcome }).get()
    }

    /// Counts a hedge that was won, lost, or denied.
    pub fn hedge(&self, result: &'static str) {
        self.hedges.get_or_create(&HedgeResult { result }).inc();
    }

    /// Counts an answer to a peer.
    pub fn answered(&self, outcome: &'static str) {
        self.served.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts an attestation told between regions.
    pub fn note(&self, result: &'static str) {
        self.notes.get_or_create(&NoteResult { result }).inc();
    }

    /// Counts a check that was spared by the word of a `peer` or of another `region`.
    pub fn spared(&self, by: &'static str) {
        self.spared.get_or_create(&Whose { by }).inc();
    }
}
