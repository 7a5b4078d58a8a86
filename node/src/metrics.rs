//! Every number a node tells Prometheus.

pub mod events;
pub mod histogram;
pub mod origin;
pub mod peer;
pub mod pins;
pub mod redis;

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use self::{histogram::Histogram, origin::OriginMetrics};
use crate::{cache::Cache, edge::response::Source, preload::PreloadMetrics};

/// The metrics of one node. Cheap to count on: no lock on the path of a hit.
#[derive(Debug)]
pub struct Metrics {
    /// Responses begun, by source and class of status; the registry holds the same counters.
    requests: [[Counter; CLASSES.len()]; Source::ALL.len()],
    /// From request head to response head, by source; likewise.
    head_seconds: [Histogram; Source::ALL.len()],
    /// Lines of the access log that were dropped.
    pub log_dropped: Counter,
    /// Bytes of response bodies handed to viewers' connections.
    pub response_bytes: Counter,
    /// Responses that ended before their last byte.
    pub responses_cut: Counter,
    /// Viewers' connections open.
    pub connections: Gauge,
    /// Work refused for lack of room.
    pub shed: Family<Shed, Counter>,
    /// Fills under way.
    pub fills: Gauge,
    /// Fills ended.
    pub fills_total: Family<FillResult, Counter>,
    /// What is asked of origins.
    pub origin: OriginMetrics,
    /// Checks of bytes against their id.
    pub verified: Family<Checked, Counter>,
    /// How long a check took once begun.
    pub verify_seconds: Histogram,
    /// Checks waiting for a worker.
    pub verify_queue: Gauge,
    /// Blobs that another node attested and that turned out to be something else.
    pub false_attestations: Counter,
    /// Entries held for long whose bytes were looked at again.
    pub scrubbed: Family<Checked, Counter>,
    /// What nodes ask each other and vouch for.
    pub peer: Arc<peer::PeerMetrics>,
    /// The region's Redis.
    pub redis: Arc<redis::RedisMetrics>,
    /// The events of the log.
    pub events: Arc<events::EventMetrics>,
    /// What is pinned.
    pub pins: Arc<pins::PinMetrics>,
    /// What is preloaded.
    pub preloads: Arc<PreloadMetrics>,
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Responses are told apart by where the bytes came from and the class of the status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Responded {
    source: &'static str,
    status: &'static str,
}

/// Times are told apart by where the bytes came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct From {
    source: &'static str,
}

/// Work that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Shed {
    /// What there was no room for.
    pub reason: &'static str,
}

/// What there was no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// One more connection.
    Connections,
    /// One more connection of a client.
    ClientConnections,
    /// One more HTTP/2 request of a client.
    ClientStreams,
    /// One more request of a client.
    ClientRequests,
    /// One more fill begun by a client.
    ClientMisses,
    /// One more fill of a client at once.
    ClientFills,
    /// One more fill begun by anybody.
    Misses,
    /// Frames of an HTTP/2 connection that cost more than they bring.
    Flood,
    /// The bytes of a fill.
    Memory,
    /// One more fill.
    Fills,
    /// One more check, in strict mode.
    Verify,
}

impl ShedReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ClientConnections => "connections_per_client",
            Self::ClientStreams => "streams_per_client",
            Self::ClientRequests => "requests_per_client",
            Self::ClientMisses => "misses_per_client",
            Self::ClientFills => "fills_per_client",
            Self::Misses => "misses",
            Self::Flood => "flood",
            Self::Memory => "memory",
            Self::Fills => "fills",
            Self::Verify => "verify",
        }
    }
}

/// How a fill ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FillResult {
    /// The word for it.
    pub result: &'static str,
}

/// A check of bytes against their id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Checked {
    /// `match`, `mismatch`, `late` (served unchecked, checked after) or `skipped`.
    pub result: &'static str,
}

impl Metrics {
    /// Metrics and the registry that renders them, every line labelled with node and region.
    pub fn new(region: &str, node: &str) -> (Self, Registry) {
        let (requests, seconds) =
            (Family::<Responded, Counter>::default(), Family::<From, Histogram>::default());
        let metrics = Self {
            requests: Source::ALL.map(Source::as_str).map(|source| {
                CLASSES.map(|status| requests.get_or_create_owned(&Responded { source, status }))
            }),
            head_seconds: Source::ALL
                .map(Source::as_str)
                .map(|source| seconds.get_or_create_owned(&From { source })),
            log_dropped: Counter::default(),
            response_bytes: Counter::default(),
            responses_cut: Counter::default(),
            connections: Gauge::default(),
            shed: Family::default(),
            fills: Gauge::default(),
            fills_total: Family::default(),
            origin: OriginMetrics::default(),
            verified: Family::default(),
            verify_seconds: Histogram::default(),
            verify_queue: Gauge::default(),
            false_attestations: Counter::default(),
            scrubbed: Family::default(),
            peer: Arc::default(),
            redis: Arc::default(),
            events: Arc::default(),
            pins: Arc::default(),
            preloads: Arc::default(),
        };
        let labels = [("region", region), ("node", node)]
            .map(|(key, value)| (key.into(), value.to_owned().into()));
        let mut registry = Registry::with_prefix_and_labels("wcdn", labels.into_iter());
        metrics.register(&mut registry, requests, seconds);
        (metrics, registry)
    }

    fn register(
        &self,
        to: &mut Registry,
        requests: Family<Responded, Counter>,
        seconds: Family<From, Histogram>,
    ) {
        to.register(
            "requests",
            "Responses begun, by where the bytes came from and class of status",
            requests,
        );
        to.register("response_head_seconds", "From request head to response head", seconds);
        to.register(
            "access_log_dropped",
            "Lines of the access log that could not be written",
            self.log_dropped.clone(),
        );
        to.register("response_bytes", "Body bytes sent to viewers", self.response_bytes.clone());
        to.register(
            "responses_cut",
            "Responses that ended before their last byte",
            self.responses_cut.clone(),
        );
        to.register("connections", "Connections of viewers open", self.connections.clone());
        to.register("shed", "Work refused for lack of room", self.shed.clone());
        to.register("fills_in_flight", "Fills under way", self.fills.clone());
        to.register("fills", "Fills ended, by result", self.fills_total.clone());
        self.origin.register(to);
        to.register("verifications", "Checks of bytes against their id", self.verified.clone());
        to.register(
            "verify_seconds",
            "How long one check took once begun",
            self.verify_seconds.clone(),
        );
        to.register("verify_queue", "Checks waiting for a worker", self.verify_queue.clone());
        to.register(
            "false_attestations",
            "Blobs that another node vouched for and that were something else",
            self.false_attestations.clone(),
        );
        to.register(
            "scrubbed",
            "Entries held for long whose bytes were checked again, by result",
            self.scrubbed.clone(),
        );
        self.peer.register(to);
        self.redis.register(to);
        self.events.register(to);
        self.pins.register(to);
        self.preloads.register(to);
    }

    /// Counts a response whose head is ready, `seconds` after its request.
    pub fn responded(&self, source: Source, status: http::StatusCode, seconds: f64) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        self.requests[source as usize][class].inc();
        self.head_seconds[source as usize].observe(seconds);
    }

    /// Counts work refused.
    pub fn shed(&self, reason: ShedReason) {
        self.shed.get_or_create(&Shed { reason: reason.as_str() }).inc();
    }
}

/// Gauges read from the cache at each scrape.
pub fn register_cache(registry: &mut Registry, cache: &Arc<Cache>) {
    registry.register_collector(Box::new(CacheGauges(Arc::clone(cache))));
}

#[derive(Debug)]
struct CacheGauges(Arc<Cache>);

impl prometheus_client::collector::Collector for CacheGauges {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        use prometheus_client::{
            encoding::EncodeMetric,
            metrics::{MetricType, gauge::ConstGauge},
        };
        let budget = self.0.budget();
        let gauges = [
            ("cache_bytes", "Bytes held by entries, fills and responses", budget.used()),
            ("cache_limit_bytes", "Bytes that may be held", budget.limit()),
            ("cache_entries", "Entries in memory", self.0.memory().entries()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
