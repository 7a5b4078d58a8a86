//! Blobs that are fetched before anybody asks, as a control plane wants it in one session.

use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::sleep;
use wcdn_proto::{
    BlobId, ByteSize,
    pb::edge::v1::{Preload, Preloaded},
};

use crate::{
    cache::fill::{
        ahead::{Ahead, Fetched},
        error::FillError,
    },
    pins::work::jittered,
};

/// What is preloaded in a session. Dropped with it: the control plane gives the rest to others.
pub struct Preloads {
    ahead: Ahead,
    metrics: Arc<PreloadMetrics>,
    waiting: VecDeque<(u64, BlobId)>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Preloaded> + Send>>>,
    ended: Vec<Preloaded>,
}

/// The numbers of preloads.
#[derive(Debug, Default)]
pub struct PreloadMetrics {
    blobs: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

/// Blobs that may wait: several times what a control plane gives at once.
const MAX_WAITING: usize = 1024;

/// How often a blob is tried, and how long after the first failure: it may just be late at origins.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

impl Preloads {
    /// Nothing yet.
    pub fn new(ahead: Ahead, metrics: Arc<PreloadMetrics>) -> Self {
        let (waiting, running, ended) = (VecDeque::new(), FuturesUnordered::new(), Vec::new());
        Self { ahead, metrics, waiting, running, ended }
    }

    /// Takes more to do.
    pub fn take(&mut self, Preload { job, ids }: Preload) {
        for id in ids {
            match BlobId::try_from(&*id) {
                Ok(blob) if self.waiting.len() < MAX_WAITING => self.waiting.push_back((job, blob)),
                Ok(_) => self.refuse(job, id, "too many wait to be fetched"),
                Err(_) => self.refuse(job, id, "it is no blob"),
            }
        }
    }

    fn refuse(&mut self, job: u64, id: bytes::Bytes, why: &str) {
        self.end(Preloaded { job, id, length: 0, failure: why.to_owned() });
    }

    fn end(&mut self, outcome: Preloaded) {
        let result = if outcome.failure.is_empty() { "done" } else { "failed" };
        self.metrics.blobs.get_or_create(&Labels { result }).inc();
        self.ended.push(outcome);
    }

    /// Fetches, until there is something to report.
    ///
    /// # Cancel safety
    /// Nothing is lost, but nothing goes on unless it is called again.
    pub async fn work(&mut self) {
        while self.running.len() < self.ahead.most() {
            let Some((job, id)) = self.waiting.pop_front() else { break };
            self.running.push(Box::pin(fetch(self.ahead.clone(), job, id)));
        }
        match self.running.next().await {
            Some(outcome) => self.end(outcome),
            None => pending().await,
        }
    }

    /// What has ended, so much of it at once; and whether that is all.
    pub fn report(&mut self, most: usize) -> (Vec<Preloaded>, bool) {
        let rest = self.ended.split_off(most.min(self.ended.len()));
        let reported = std::mem::replace(&mut self.ended, rest);
        (reported, self.ended.is_empty())
    }
}

async fn fetch(ahead: Ahead, job: u64, id: BlobId) -> Preloaded {
    let mut tries = 0;
    let (length, failure) = loop {
        tries += 1;
        match ahead.fetch(id).await {
            Ok(Fetched::Whole(entry, _)) => break (entry.record().length, String::new()),
            Ok(Fetched::Large { total }) => {
                let (total, most) = (ByteSize::new(total), ByteSize::new(ahead.whole()));
                break (0, format!("it has {total}; up to {most} are held as a whole"));
            }
            Err(error) if tries < TRIES && may_pass(&error) => {
                sleep(jittered(PAUSE * tries)).await;
            }
            Err(error) => break (0, error.to_string()),
        }
    };
    Preloaded { job, id: id.as_bytes().to_vec().into(), length, failure }
}

fn may_pass(error: &FillError) -> bool {
    match error {
        FillError::NotFound
        | FillError::Shed(_)
        | FillError::Throttled { .. }
        | FillError::Exhausted { .. }
        | FillError::Slow { .. }
        | FillError::Overtaken
        | FillError::Abandoned => true,
        FillError::Blocked
        | FillError::Corrupt { .. }
        | FillError::Unverifiable { .. }
        | FillError::Withheld => false,
    }
}

impl PreloadMetrics {
    /// Registers all of them.
    pub fn register(&self, to: &mut Registry) {
        to.register("preloaded", "Blobs that were preloaded, by result", self.blobs.clone());
    }
}

impl std::fmt::Debug for Preloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, running) = (self.waiting.len(), self.running.len());
        write!(f, "Preloads({waiting} waiting, {running} running)")
    }
}
