//! What a node counts about the region's Redis.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::histogram::Histogram;

/// The numbers of the regional tier.
#[derive(Debug, Default)]
pub struct RedisMetrics {
    operations: Family<Labels, Counter>,
    /// How long looking for a blob took.
    pub get_seconds: Histogram,
    /// The share of it that is in use, 0 to 1.
    pub available: Gauge<f64, std::sync::atomic::AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    result: &'static str,
}

/// What Redis was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A record or a slice.
    Get,
    /// Whether there is a record.
    Exists,
    /// To keep something.
    Set,
    /// To drop something.
    Remove,
    /// Whether what was dropped is gone.
    ReadBack,
    /// For a connection.
    Connect,
    /// Whether it answers again.
    Probe,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    /// There it was.
    Hit,
    /// It is not there.
    Miss,
    /// A blob was stored.
    Stored,
    /// The record was not made with this cluster's key.
    Disbelieved,
    /// An event removed it.
    Removed,
    /// A slice was gone, or not what the record says.
    Incomplete,
    /// It was not asked, since it is left alone for now.
    Closed,
    /// It was not asked, since too many were asking.
    Crowded,
    /// It did not answer.
    Outage,
    /// It refused, for lack of memory or since something else stands there.
    Refused,
    /// Nothing was written, since too much was waiting to be.
    Dropped,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Exists => "exists",
            Self::Set => "set",
            Self::Remove => "remove",
            Self::ReadBack => "read_back",
            Self::Connect => "connect",
            Self::Probe => "probe",
        }
    }
}

impl Result {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stored => "stored",
            Self::Disbelieved => "disbelieved",
            Self::Removed => "removed",
            Self::Incomplete => "incomplete",
            Self::Closed => "closed",
            Self::Crowded => "crowded",
            Self::Outage => "outage",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

impl RedisMetrics {
    /// Counts one operation.
    pub fn count(&self, operation: Operation, result: Result) {
        let labels = Labels { operation: operation.as_str(), result: result.as_str() };
        self.operations.get_or_create(&labels).inc();
    }

    /// Registers all of them.
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "redis_operations",
            "Operations on the region's Redis, by what came of them",
            self.operations.clone(),
        );
        to.register(
            "redis_get_seconds",
            "How long looking for a blob in Redis took",
            self.get_seconds.clone(),
        );
        to.register(
            "redis_available",
            "Share of the region's Redis that is asked; 1 when all is well, 0 when it is away",
            self.available.clone(),
        );
    }
}
