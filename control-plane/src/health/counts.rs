//! What was asked of an origin, and what came of it, as numbers that can be added.

use std::time::Duration;

use wcdn_proto::{HEAD_CLASSES, head_quantile_ms, pb::edge::v1::OriginTraffic};

/// Requests to an origin, by what came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) unreachable: u64,
    pub(crate) timed_out: u64,
    pub(crate) refused: u64,
    pub(crate) throttled: u64,
    pub(crate) broken: u64,
    pub(crate) slow: u64,
    pub(crate) lies: u64,
    pub(crate) bytes: u64,
    pub(crate) head_us: u64,
    pub(crate) heads: [u64; HEAD_CLASSES],
}

impl Counts {
    /// As a node reports them; classes that this version does not know are left out.
    pub(crate) fn read(wire: &OriginTraffic) -> Self {
        let mut heads = [0; HEAD_CLASSES];
        heads.iter_mut().zip(&wire.heads).for_each(|(own, told)| *own = *told);
        Self {
            requests: wire.requests,
            unreachable: wire.unreachable,
            timed_out: wire.timed_out,
            refused: wire.refused,
            throttled: wire.throttled,
            broken: wire.broken,
            slow: wire.slow,
            lies: wire.lies,
            bytes: wire.bytes,
            head_us: wire.head_us,
            heads,
        }
    }

    /// As they travel.
    pub(crate) fn to_wire(self, origin: &str) -> OriginTraffic {
        OriginTraffic {
            origin: origin.to_owned(),
            requests: self.requests,
            unreachable: self.unreachable,
            timed_out: self.timed_out,
            refused: self.refused,
            throttled: self.throttled,
            broken: self.broken,
            slow: self.slow,
            lies: self.lies,
            bytes: self.bytes,
            head_us: self.head_us,
            heads: self.heads.to_vec(),
        }
    }

    /// Each number of both, by `how`.
    fn with(&self, other: &Self, how: fn(u64, u64) -> u64) -> Self {
        Self {
            requests: how(self.requests, other.requests),
            unreachable: how(self.unreachable, other.unreachable),
            timed_out: how(self.timed_out, other.timed_out),
            refused: how(self.refused, other.refused),
            throttled: how(self.throttled, other.throttled),
            broken: how(self.broken, other.broken),
            slow: how(self.slow, other.slow),
            lies: how(self.lies, other.lies),
            bytes: how(self.bytes, other.bytes),
            head_us: how(self.head_us, other.head_us),
            heads: std::array::from_fn(|n| how(self.heads[n], other.heads[n])),
        }
    }

    /// Both together.
    pub(crate) fn plus(&self, more: &Self) -> Self {
        self.with(more, u64::saturating_add)
    }

    /// What is new since `before`, of counts that only grow: nothing if these are older.
    pub(crate) fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// The larger of each.
    pub(crate) fn or(&self, other: &Self) -> Self {
        self.with(other, u64::max)
    }

    /// Requests that were not answered as they should.
    pub(crate) fn failures(&self) -> u64 {
        let kinds = self.kinds().into_iter();
        kinds.fold(0_u64, |sum, (_, count)| sum.saturating_add(count)).min(self.requests)
    }

    /// The share of requests that were; who has no room counts half.
    pub(crate) fn answered(&self) -> f64 {
        let failed = self.failures() as f64 - 0.5 * self.throttled.min(self.requests) as f64;
        1.0 - (failed / self.requests.max(1) as f64).clamp(0.0, 1.0)
    }

    /// What failed most, as one word or two.
    pub(crate) fn worst(&self) -> &'static str {
        let worst = self.kinds().into_iter().max_by_key(|(_, count)| *count);
        worst.map_or("", |(kind, _)| kind)
    }

    fn kinds(&self) -> [(&'static str, u64); 7] {
        [
            ("unreachable", self.unreachable),
            ("timed out", self.timed_out),
            ("error", self.refused),
            ("throttled", self.throttled),
            ("broke off", self.broken),
            ("too slow", self.slow),
            ("lied", self.lies),
        ]
    }

    /// How long heads took on average; none if there were none.
    pub(crate) fn mean_head(&self) -> Option<Duration> {
        let heads = self.heads.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        (heads > 0).then(|| Duration::from_micros(self.head_us / heads))
    }

    /// What this share of heads did not exceed; 0 if there were none.
    pub(crate) fn head_quantile_ms(&self, share: f64) -> u64 {
        head_quantile_ms(&self.heads, share).unwrap_or(0)
    }
}
