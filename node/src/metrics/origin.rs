//! What origins were asked, and how it went.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use crate::origin::{Pool, pool::Report};

/// The counters of everything that is asked of origins.
#[derive(Debug, Default)]
pub struct OriginMetrics {
    /// Requests, by what came of them.
    pub requests: Family<OriginOutcome, Counter>,
    /// Bytes of bodies.
    pub bytes: Counter,
    /// Second requests made because the first let us wait.
    pub hedges: Family<HedgeResult, Counter>,
    /// Origins asked because another had failed.
    pub failovers: Counter,
}

/// One request to one origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OriginOutcome {
    /// Who was asked; configured names only, so there are few.
    pub origin: String,
    /// What came of it.
    pub outcome: &'static str,
}

/// One hedge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HedgeResult {
    /// `won`, `lost`, or `denied` by the budget.
    pub result: &'static str,
}

/// What came of a request to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The bytes, all of them.
    Served,
    /// It has no such blob.
    NotFound,
    /// It answered something else.
    Refused,
    /// It has no room for us (429, 503).
    Busy,
    /// It was not asked: as much is asked of it as may be.
    Full,
    /// It cannot be reached.
    Unreachable,
    /// It was waited for in vain.
    TimedOut,
    /// The body broke off or contradicted itself.
    Broken,
    /// Its bytes are not the blob.
    Lied,
}

impl Outcome {
    /// The label it is counted under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
            Self::Lied => "lied",
        }
    }
}

impl OriginMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("origin_requests", "Requests to origins, by outcome", self.requests.clone());
        to.register("origin_bytes", "Body bytes received from origins", self.bytes.clone());
        to.register(
            "origin_hedges",
            "Second requests because the first let us wait: won, lost, or denied by the budget",
            self.hedges.clone(),
        );
        to.register(
            "origin_failovers",
            "Origins asked because another had failed",
            self.failovers.clone(),
        );
    }

    /// Counts a hedge that was won, lost, or denied.
    pub fn hedge(&self, result: &'static str) {
        self.hedges.get_or_create(&HedgeResult { result }).inc();
    }
}

/// Gauges read from the pool at each scrape.
pub fn register_pool(registry: &mut Registry, pool: &Pool) {
    registry.register_collector(Box::new(PoolGauges(pool.clone())));
}

#[derive(Debug)]
struct PoolGauges(Pool);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    origin: Arc<str>,
}

/// A gauge of every origin: its name, what it tells, and how it is read.
type Reading = (&'static str, &'static str, fn(&Report) -> f64);

const READINGS: [Reading; 3] = [
    ("origin_passing", "Whether the origin is asked as any other", |report| {
        f64::from(u8::from(report.is_passing()))
    }),
    ("origin_in_flight", "Requests to the origin under way", |report| {
        f64::from(u32::try_from(report.in_flight).unwrap_or(u32::MAX))
    }),
    ("origin_latency_seconds", "How long the origin is expected to let us wait", |report| {
        report.cost.unwrap_or_default().as_secs_f64()
    }),
];

impl Collector for PoolGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let reports = self.0.reports();
        for (name, help, read) in READINGS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for report in &reports {
                let labels = Named { origin: report.name.as_str().into() };
                let family = metric.encode_family(&labels)?;
                ConstGauge::new(read(report)).encode(family)?;
            }
        }
        Ok(())
    }
}
