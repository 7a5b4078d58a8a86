//! All aggregators of a node.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use wcdn_proto::{BlobId, OriginName, pb::edge::v1::OriginTraffic};
use wcdn_walrus::{BaseUrl, HttpClient};

use super::{
    Origin, Shared as OfAll,
    choice::{self, Candidate},
    hedge::Hedging,
    lies::Lies,
    standing::Availability,
    traffic::Traffic,
};
use crate::{
    config::{Fetch, OriginSpec},
    metrics::{Metrics, origin::OriginMetrics},
    rendezvous,
};

/// All aggregators of a node. Cheap to clone; clones are the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origins: ArcSwap<Vec<Arc<Origin>>>,
    /// Whether a control plane said which they are.
    is_managed: AtomicBool,
    http: HttpClient,
    fetch: Fetch,
    of_all: OfAll,
    /// By name, of all that there ever were, within a bound.
    traffic: Mutex<BTreeMap<OriginName, Arc<Traffic>>>,
}

/// Origins whose counts are kept after they left.
const MAX_COUNTED: usize = 4_096;

/// How one origin is doing.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: OriginName,
    /// Where it answers.
    pub url: BaseUrl,
    /// Whether its word alone is believed.
    pub trusted: bool,
    /// Its share of blobs among others that are as fast.
    pub weight: u32,
    /// Whether it is asked only where no other serves, because the pool says so.
    pub is_banned: bool,
    /// Whether it is asked as any other.
    pub availability: Availability,
    /// Whether one request tries if it is well again.
    pub is_probed: bool,
    /// How long it is expected to let us wait.
    pub cost: Option<Duration>,
    /// Requests under way.
    pub in_flight: usize,
    /// The most of them.
    pub limit: usize,
    /// Faults in a row.
    pub strikes: u32,
    /// Bodies it gave.
    pub served: u64,
    /// Requests it did not serve.
    pub failed: u64,
    /// The length from which on it refuses blobs.
    pub refused_from: Option<u64>,
}

impl Pool {
    /// A pool of these origins, all in good standing.
    pub fn new(
        specs: Vec<OriginSpec>,
        http: &HttpClient,
        fetch: Fetch,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let of_all = OfAll {
            hedging: Arc::new(Mutex::new(Hedging::new(fetch.hedge))),
            lies: Arc::default(),
            metrics: Arc::clone(metrics),
        };
        let shared = Shared {
            origins: ArcSwap::default(),
            is_managed: AtomicBool::new(false),
            http: http.clone(),
            fetch,
            of_all,
            traffic: Mutex::default(),
        };
        let pool = Self { shared: Arc::new(shared) };
        pool.replace(specs);
        pool
    }

    /// Takes the origins that a control plane gives; from now on those of the configuration do not
    /// count.
    pub fn manage(&self, specs: Vec<OriginSpec>) {
        self.shared.is_managed.store(true, Relaxed);
        self.replace(specs);
    }

    /// Takes the origins of the configuration, unless a control plane gave others.
    pub fn configure(&self, specs: Vec<OriginSpec>) {
        if !self.shared.is_managed.load(Relaxed) {
            self.replace(specs);
        }
    }

    /// Takes these origins instead. Those whose name, URL and trust stay keep their standing;
    /// what is under way with others runs to its end.
    pub fn replace(&self, specs: Vec<OriginSpec>) {
        let Shared { origins, http, fetch, of_all, .. } = &*self.shared;
        let known = origins.load();
        let kept = |spec: &OriginSpec| {
            let origin = known.iter().find(|origin| origin.spec.is_same_place(spec))?;
            origin.take_terms(spec);
            Some(Arc::clone(origin))
        };
        let new = |spec: OriginSpec| {
            let traffic = self.traffic_of(&spec.name);
            Arc::new(Origin::new(spec, http, fetch, traffic, of_all.clone()))
        };
        let all = specs.into_iter().map(|spec| kept(&spec).unwrap_or_else(|| new(spec)));
        origins.store(Arc::new(all.collect()));
    }

    fn traffic_of(&self, name: &OriginName) -> Arc<Traffic> {
        let mut traffic = self.shared.traffic.lock();
        if traffic.len() >= MAX_COUNTED {
            // Whoever is still asked holds its own.
            traffic.retain(|_, counts| Arc::strong_count(counts) > 1);
        }
        Arc::clone(traffic.entry(name.clone()).or_default())
    }

    /// What was asked of every origin since the node started, by name.
    pub fn traffic(&self) -> Vec<OriginTraffic> {
        let traffic = self.shared.traffic.lock();
        traffic.iter().map(|(name, counts)| counts.told(name.as_str())).collect()
    }

    /// Their last lies.
    pub fn lies(&self) -> &Lies {
        &self.shared.of_all.lies
    }

    /// The origins in the order in which they should be asked for `id`, whose length may be
    /// known.
    pub fn ranked(&self, id: &BlobId, length: Option<u64>) -> Vec<Arc<Origin>> {
        let now = Instant::now();
        let origins = self.shared.origins.load();
        let candidates: Vec<_> =
            origins.iter().map(|origin| origin.candidate(id, length, now)).collect();
        let order = choice::order(&candidates, self.shared.fetch.spread);
        order.into_iter().map(|n| Arc::clone(&origins[n])).collect()
    }

    /// How origins are to be asked.
    pub fn fetch(&self) -> &Fetch {
        &self.shared.fetch
    }

    /// How long to wait for a head before another origin is asked too; `None` for as long as it
    /// takes.
    pub fn patience(&self) -> Option<Duration> {
        self.shared.of_all.hedging.lock().patience()
    }

    /// Takes one hedge from the budget; `false`, counted, if there is none left.
    pub fn may_hedge(&self) -> bool {
        let may = self.shared.of_all.hedging.lock().take();
        if !may {
            self.metrics().hedge("denied");
        }
        may
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &OriginMetrics {
        &self.shared.of_all.metrics.origin
    }

    /// How every origin is doing.
    pub fn reports(&self) -> Vec<Report> {
        let now = Instant::now();
        self.shared.origins.load().iter().map(|origin| origin.report(now)).collect()
    }

    /// The same for the operator, with what heads took lately over all origins.
    pub fn describe(&self) -> Value {
        let now = Instant::now();
        let origins: Vec<_> = self.reports().iter().map(|report| report.describe(now)).collect();
        let hedging = self.shared.of_all.hedging.lock();
        let quantile = |share| hedging.quantile(share).map(millis);
        json!({
            "heads_ms": {"p50": quantile(0.5), "p95": quantile(0.95)},
            "hedged_after_ms": hedging.patience().map(millis),
            "origins": origins,
        })
    }
}

impl Origin {
    fn candidate(&self, id: &BlobId, length: Option<u64>, now: Instant) -> Candidate {
        let record = self.record.lock();
        let refused_from = record.standing.refused_from(now);
        Candidate {
            affinity: rendezvous::affinity(id, self.name().as_str()),
            weight: self.weight.load(Relaxed),
            is_banned: self.is_banned.load(Relaxed),
            cost: record.latency.expected(now),
            availability: record.standing.availability(now),
            in_flight: self.in_flight.load(Relaxed),
            refuses: refused_from.is_some_and(|least| length.is_some_and(|len| len >= least)),
        }
    }

    fn report(&self, now: Instant) -> Report {
        let record = self.record.lock();
        Report {
            name: self.spec.name.clone(),
            url: self.spec.url.clone(),
            trusted: self.spec.trusted,
            weight: self.weight.load(Relaxed),
            is_banned: self.is_banned.load(Relaxed),
            availability: record.standing.availability(now),
            is_probed: record.standing.is_probed(),
            cost: record.latency.expected(now),
            in_flight: self.in_flight.load(Relaxed),
            limit: self.limit,
            strikes: record.standing.strikes(),
            served: self.served.load(Relaxed),
            failed: self.failed.load(Relaxed),
            refused_from: record.standing.refused_from(now),
        }
    }
}

impl Report {
    /// Whether it is asked as any other.
    pub fn is_passing(&self) -> bool {
        self.availability == Availability::Passing && !self.is_banned
    }

    fn describe(&self, now: Instant) -> Value {
        let (state, until) = match self.availability {
            Availability::Passing => ("passing", None),
            Availability::BackingOff(until) => ("backing_off", Some(until)),
            Availability::Ejected(_) if self.is_probed => ("probing", None),
            Availability::Ejected(until) => ("ejected", Some(until)),
        };
        let seconds = until.map(|until| until.saturating_duration_since(now).as_secs_f64());
        json!({
            "name": self.name.as_str(),
            "url": self.url.to_string(),
            "trusted": self.trusted,
            "weight": self.weight,
            "ejected_for_all": self.is_banned,
            "state": state,
            "seconds_left": seconds,
            "cost_ms": self.cost.map(millis),
            "in_flight": self.in_flight,
            "max_in_flight": self.limit,
            "faults_in_a_row": self.strikes,
            "served": self.served,
            "failed": self.failed,
            "refuses_from_bytes": self.refused_from,
        })
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

#[cfg(test)]
pub(crate) mod tests;
