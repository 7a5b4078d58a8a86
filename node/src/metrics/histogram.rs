//! A histogram of seconds without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Durations counted in fixed buckets, from 25 µs to 30 s.
///
/// The registry's own histogram takes a mutex for each observation, which every core would share
/// on the path of a hit; here an observation is two relaxed additions.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    cells: Arc<Cells>,
}

/// Upper bounds in seconds, without the last one, which is infinite.
const BOUNDS: [f64; 15] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5,
    1.0, 5.0, 30.0,
];

#[derive(Debug, Default)]
struct Cells {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, seconds: f64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.cells.counts[bucket].fetch_add(1, Relaxed);
        let nanos = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos();
        self.cells.nanos.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts: Vec<u64> = self.cells.counts.iter().map(|cell| cell.load(Relaxed)).collect();
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let seconds = std::time::Duration::from_nanos(self.cells.nanos.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn observations_stand_in_the_bucket_they_belong_to() {
        let histogram = Histogram::default();
        for seconds in [0.000_025, 0.000_3, 0.000_4, 99.0] {
            histogram.observe(seconds);
        }
        let mut registry = Registry::default();
        registry.register("t", "T", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "t_bucket{le=\"0.000025\"} 1\n",
            "t_bucket{le=\"0.00025\"} 1\n",
            "t_bucket{le=\"0.0005\"} 3\n",
            "t_bucket{le=\"30.0\"} 3\n",
            "t_bucket{le=\"+Inf\"} 4\n",
            "t_count 4\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
