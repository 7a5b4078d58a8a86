//! The aggregators a node fills from: whom to ask first, and what their failures mean.

pub mod attempt;
pub mod standing;

use std::{cmp::Reverse, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_proto::{BlobId, OriginName};
use wcdn_walrus::{Aggregator, HttpClient};

use self::{attempt::AttemptError, standing::Standing};
use crate::{
    config::{Fetch, OriginSpec},
    metrics::{Metrics, OriginOutcome, Outcome},
};

/// One aggregator, with how it has behaved.
#[derive(Debug)]
pub struct Origin {
    name: OriginName,
    aggregator: Aggregator,
    standing: Mutex<Standing>,
    metrics: Arc<Metrics>,
}

/// All aggregators of a node.
#[derive(Debug)]
pub struct Pool {
    origins: Vec<Arc<Origin>>,
    fetch: Fetch,
}

impl Pool {
    /// A pool of these origins, all in good standing.
    pub fn new(
        specs: Vec<OriginSpec>,
        http: &HttpClient,
        fetch: Fetch,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let origins = specs.into_iter().map(|OriginSpec { name, url }| {
            Arc::new(Origin {
                name,
                aggregator: Aggregator::new(http.clone(), url),
                standing: Mutex::default(),
                metrics: Arc::clone(metrics),
            })
        });
        Self { origins: origins.collect(), fetch }
    }

    /// The origins in the order in which they should be asked for `id`.
    ///
    /// Rendezvous hashing: every node of every region asks the same origin first for the same
    /// blob, so that the caches of the aggregators warm up. Origins that failed a moment ago come
    /// last, in the order in which their time-outs end: they are asked only if no other serves.
    pub fn ranked(&self, id: &BlobId) -> Vec<Arc<Origin>> {
        let now = Instant::now();
        let mut ranked = self.origins.clone();
        ranked.sort_by_cached_key(|origin| {
            (origin.standing.lock().away(now), Reverse(affinity(id, &origin.name)))
        });
        ranked
    }

    /// How origins are to be asked.
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }
}

/// How strongly a blob belongs to an origin; stable across nodes, versions and restarts.
fn affinity(id: &BlobId, origin: &OriginName) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_bytes()).update(origin.as_str().as_bytes());
    let mut score = [0; 8];
    hasher.finalize_xof().fill(&mut score);
    u64::from_le_bytes(score)
}

impl Origin {
    /// Its name in configuration, logs and metrics.
    pub fn name(&self) -> &OriginName {
        &self.name
    }

    /// Its HTTP interface.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// It answered as an origin should, if only by saying that there is no such blob.
    pub fn served(&self) {
        self.standing.lock().served();
        self.count(Outcome::Served);
    }

    /// It failed; it is asked last until its time-out ends.
    pub fn failed(&self, error: &AttemptError) {
        self.count(error.outcome());
        if error.is_fault_of_origin() {
            self.standing.lock().failed(Instant::now(), error.retry_after());
        }
    }

    /// Its bytes are not the blob.
    pub fn lied(&self, id: &BlobId) {
        self.count(Outcome::Lied);
        self.standing.lock().lied(Instant::now());
        tracing::warn!(origin = %self.name, blob = %id, "origin sent bytes that are not the blob");
    }

    /// It broke off, and with what others added its bytes were not the blob. Nobody knows whose
    /// fault that is; asked last, it does no harm, and another that lies is found out alone.
    pub fn suspected(&self) {
        self.standing.lock().lied(Instant::now());
    }

    fn count(&self, outcome: Outcome) {
        let label = OriginOutcome { origin: self.name.to_string(), outcome: outcome.as_str() };
        self.metrics.origin_requests.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wcdn_walrus::HttpOptions;

    fn pool(names: &[&str]) -> Pool {
        let specs = names.iter().map(|name| OriginSpec {
            name: name.parse().unwrap(),
            url: format!("http://{name}.example").parse().unwrap(),
        });
        let http = HttpClient::new(HttpOptions::default());
        let (metrics, _) = Metrics::new("test", "test");
        Pool::new(specs.collect(), &http, Fetch::default(), &Arc::new(metrics))
    }

    fn names(ranked: &[Arc<Origin>]) -> Vec<&str> {
        ranked.iter().map(|origin| origin.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_blob_keeps_its_order_when_an_origin_leaves() {
        let (all, fewer) = (pool(&["a", "b", "c", "d"]), pool(&["a", "b", "d"]));
        for n in 0..50 {
            let id = BlobId::from_bytes([n; 32]);
            let mut order = names(&all.ranked(&id)).join("");
            order.retain(|c| c != 'c');
            assert_eq!(order, names(&fewer.ranked(&id)).join(""));
        }
    }

    #[tokio::test]
    async fn blobs_spread_over_the_origins() {
        let pool = pool(&["a", "b", "c"]);
        for name in ["a", "b", "c"] {
            let first = (0..90)
                .filter(|n| pool.ranked(&BlobId::from_bytes([*n; 32]))[0].name.as_str() == name)
                .count();
            assert!((15..=45).contains(&first), "{name} comes first for {first} of 90");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_lied_is_asked_last_for_a_while() {
        let pool = pool(&["a", "b", "c"]);
        let id = BlobId::from_bytes([7; 32]);
        let before = pool.ranked(&id);
        before[0].lied(&id);
        assert!(Arc::ptr_eq(&pool.ranked(&id)[2], &before[0]));
        tokio::time::advance(standing::LIE_TIMEOUT).await;
        assert!(Arc::ptr_eq(&pool.ranked(&id)[0], &before[0]));
    }
}
