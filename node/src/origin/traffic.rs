//! What was asked of an origin, and what came of it, since the node started.
//!
//! Control planes are told these counts as they are: they only grow, so that a report that is lost or
//! comes twice does no harm.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use wcdn_proto::{HEAD_CLASSES, head_class, pb::edge::v1::OriginTraffic};

use super::{attempt::AttemptError, standing::Verdict};

/// Counts of one origin, by its name: they outlive its leaving and coming back.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    unreachable: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    broken: AtomicU64,
    slow: AtomicU64,
    lies: AtomicU64,
    bytes: AtomicU64,
    head_us: AtomicU64,
    heads: [AtomicU64; HEAD_CLASSES],
}

impl Traffic {
    /// It answered as an origin should.
    pub fn served(&self) {
        add(&self.requests, 1);
    }

    /// It failed, or refused; what is about the blob rather than the origin is an answer.
    pub fn failed(&self, error: &AttemptError) {
        add(&self.requests, 1);
        let kind = match error {
            _ if error.verdict() == Verdict::Answered => return,
            _ if error.is_busy() => &self.throttled,
            AttemptError::Refused(refused) if refused.is_outage() => &self.unreachable,
            AttemptError::Refused(_) => &self.refused,
            AttemptError::Silent(_) | AttemptError::Stalled(_) => &self.timed_out,
            AttemptError::Trickling { .. } => &self.slow,
            AttemptError::Broken(_)
            | AttemptError::OtherLength { .. }
            | AttemptError::ImpossibleLength(_) => &self.broken,
            AttemptError::Lied => &self.lies,
        };
        add(kind, 1);
    }

    /// Its bytes were not the blob.
    pub fn lied(&self) {
        add(&self.requests, 1);
        add(&self.lies, 1);
    }

    /// The head of an answer took so long.
    pub fn head(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.head_us, micros);
        add(&self.heads[head_class(micros)], 1);
    }

    /// So many bytes of bodies came.
    pub fn received(&self, bytes: u64) {
        add(&self.bytes, bytes);
    }

    /// All of it, as it travels.
    pub fn told(&self, origin: &str) -> OriginTraffic {
        let read = |count: &AtomicU64| count.load(Relaxed);
        OriginTraffic {
            origin: origin.to_owned(),
            requests: read(&self.requests),
            unreachable: read(&self.unreachable),
            timed_out: read(&self.timed_out),
            refused: read(&self.refused),
            throttled: read(&self.throttled),
            broken: read(&self.broken),
            slow: read(&self.slow),
            lies: read(&self.lies),
            bytes: read(&self.bytes),
            head_us: read(&self.head_us),
            heads: self.heads.iter().map(read).collect(),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Relaxed);
}

#[cfg(test)]
mod tests {
    use wcdn_walrus::AggregatorError;

    use super::*;
    use crate::origin::meter::Trickle;

    #[test]
    fn each_end_of_a_request_is_counted_once_under_its_kind() {
        let traffic = Traffic::default();
        let second = Duration::from_secs(1);
        traffic.served();
        traffic.lied();
        let ended: [AttemptError; 8] = [
            AggregatorError::BlobNotFound.into(),
            AggregatorError::TooLarge.into(),
            AggregatorError::TooManyRequests { retry_after: None }.into(),
            AggregatorError::Internal { reason: String::new() }.into(),
            AttemptError::Silent(second),
            AttemptError::Stalled(second),
            Trickle { least: 1, window: second }.into(),
            AttemptError::OtherLength { says: 1, began: 2 },
        ];
        ended.iter().for_each(|error| traffic.failed(error));
        let told = traffic.told("a");
        assert_eq!((told.requests, told.lies), (10, 1));
        let kinds = [told.throttled, told.refused, told.timed_out, told.slow, told.broken];
        assert_eq!(kinds, [1, 1, 2, 1, 1]);
        assert_eq!(told.unreachable, 0);
    }

    #[test]
    fn heads_are_counted_by_how_long_they_took() {
        let traffic = Traffic::default();
        for ms in [3, 10, 11, 700, 60_000] {
            traffic.head(Duration::from_millis(ms));
        }
        traffic.received(7);
        let told = traffic.told("a");
        assert_eq!(told.heads, [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!((told.head_us, told.bytes), (60_724_000, 7));
    }
}
