//! What a node counts about the events of the log.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::events::Log;

/// The numbers of the log.
#[derive(Debug, Default)]
pub struct EventMetrics {
    rejected: Family<Labels, Counter>,
    /// Answers that an id is withheld.
    pub blocked: Counter,
    /// Responses that were cut since their id was blocked.
    pub cut: Counter,
    /// Answers refused because the log was not confirmed in time, or nothing is known of it.
    pub fenced: Counter,
    /// Outcomes of events that nobody could be told.
    pub outcomes_dropped: Counter,
    /// Writes of blocks that the disk refused again and again.
    pub blocks_not_kept: Counter,
    /// Whether the disk does not answer while blocks are written to it.
    pub disk_hangs: Gauge,
    sessions: Family<SessionLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionLabels {
    endpoint: String,
}

/// Where bytes lay that were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In memory.
    Memory,
    /// In the region's Redis.
    Redis,
    /// At another node of the region.
    Peer,
    /// In a fill that began before.
    Fill,
    /// In the index of a quilt.
    Index,
    /// Among what origins refused.
    Negative,
}

impl Tier {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Peer => "peer",
            Self::Fill => "fill",
            Self::Index => "index",
            Self::Negative => "negative",
        }
    }
}

impl EventMetrics {
    /// Counts bytes that were there and not served.
    pub fn rejected(&self, tier: Tier) {
        self.rejected.get_or_create(&Labels { tier: tier.as_str() }).inc();
    }

    /// The count of sessions that what is listed as `endpoint` leads to.
    pub fn sessions(&self, endpoint: &str) -> Gauge {
        let labels = SessionLabels { endpoint: endpoint.to_owned() };
        self.sessions.get_or_create(&labels).clone()
    }

    /// Registers all of them.
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "events_rejected",
            "Bytes that were found and not served since an event removed them, by where they lay",
            self.rejected.clone(),
        );
        to.register(
            "events_blocked",
            "Answers that an id is withheld by the control plane",
            self.blocked.clone(),
        );
        to.register(
            "events_responses_cut",
            "Responses cut because their id was blocked while they ran",
            self.cut.clone(),
        );
        to.register(
            "events_fenced",
            "Requests refused because the head of the log was not confirmed in time",
            self.fenced.clone(),
        );
        to.register(
            "events_outcomes_dropped",
            "Outcomes of events that were not reported, since no control plane took them",
            self.outcomes_dropped.clone(),
        );
        to.register(
            "events_blocks_not_kept",
            "Times that the disk refused to keep what is withheld: a restart may forget it until it \
             is read from the log again",
            self.blocks_not_kept.clone(),
        );
        to.register(
            "events_disk_hangs",
            "Whether the disk has not answered for two seconds while blocks are written to it: they are \
             in force, and not confirmed until it does",
            self.disk_hangs.clone(),
        );
        to.register(
            "events_session",
            "Open sessions with control planes, by the entry of control.endpoints that leads to them",
            self.sessions.clone(),
        );
    }
}

/// Gauges read from what is known of the log at each scrape.
pub fn register_log(registry: &mut Registry, log: &Arc<Log>) {
    registry.register_collector(Box::new(LogGauges(Arc::clone(log))));
}

#[derive(Debug)]
struct LogGauges(Arc<Log>);

impl Collector for LogGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (applied, known) = (self.0.positions.applied(), self.0.positions.known());
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let gauges = [
            ("events_epoch", "Of the log that is followed", applied.epoch),
            ("events_applied_seq", "Everything up to here is true on this node", applied.seq),
            ("events_known_seq", "The highest event that a signature vouches for", known.seq),
            (
                "events_removed_slots",
                "Slots of the table of removals that are in use",
                count(self.0.removed.used()),
            ),
            ("events_blocks", "Ids that are withheld", count(self.0.blocked.count())),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
