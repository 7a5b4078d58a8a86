//! What a node counts about what is pinned.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    cache::{Cache, redis::keep::Stay},
    pins::{told::Told, work::Attempt},
};

/// The numbers of pins.
#[derive(Debug, Default)]
pub struct PinMetrics {
    fills: Family<Labels, Counter>,
    renewals: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

impl PinMetrics {
    /// Counts an attempt to fetch a pinned blob.
    pub fn fetched(&self, attempt: &Attempt) {
        let result = match attempt {
            Attempt::Held => "held",
            Attempt::OverBudget => "over_budget",
            Attempt::Again(_) => "again",
            Attempt::Busy(_) => "busy",
            Attempt::Failed(_) | Attempt::Hopeless(_) => "failed",
        };
        self.fills.get_or_create(&Labels { result }).inc();
    }

    /// Counts a look at Redis.
    pub fn renewed(&self, stay: Stay) {
        let result = match stay {
            Stay::Renewed => "renewed",
            Stay::Written => "written",
            Stay::Unfit => "unfit",
            Stay::Failed => "failed",
        };
        self.renewals.get_or_create(&Labels { result }).inc();
    }

    /// Registers all of them.
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "pin_fills",
            "Attempts to fetch what is pinned, by what came of them",
            self.fills.clone(),
        );
        to.register(
            "pin_renewals",
            "Looks whether what is pinned is in the region's Redis, by what came of them",
            self.renewals.clone(),
        );
    }
}

/// Gauges read from what is pinned at each scrape.
pub fn register_pins(registry: &mut Registry, cache: &Arc<Cache>, told: &Arc<Told>) {
    let gauges = PinGauges { cache: Arc::clone(cache), told: Arc::clone(told) };
    registry.register_collector(Box::new(gauges));
}

#[derive(Debug)]
struct PinGauges {
    cache: Arc<Cache>,
    told: Arc<Told>,
}

impl Collector for PinGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (pinned, log) = (self.cache.pinned(), self.cache.log());
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let gauges = [
            ("pinned_bytes", "Bytes held by what is pinned", pinned.budget().used()),
            ("pinned_limit_bytes", "Bytes that may be held by it", pinned.budget().limit()),
            (
                "pinned_ids",
                "Blobs that are pinned, kept by this node or not",
                count(log.pins.count()),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?)?;
        }
        let help = "Pins that this node keeps, by state";
        let mut states = encoder.encode_descriptor("pins", help, None, MetricType::Gauge)?;
        for (state, value) in self.told.counts() {
            gauge(value).encode(states.encode_family(&ByState { state })?)?;
        }
        Ok(())
    }
}
