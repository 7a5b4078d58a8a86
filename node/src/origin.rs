//! The aggregators a node fills from: whom to ask first, and what their failures mean.
//!
//! [`Pool`] keeps them; [`choice`] puts them in order; each [`Origin`] has its [`standing`],
//! [`latency`] and [`pace`], and is asked by an [`attempt`] that holds a [`Permit`]. What came of it is
//! told to control planes by [`traffic`] and [`lies`].

pub mod attempt;
pub mod choice;
pub mod hedge;
pub mod latency;
pub mod lies;
pub mod meter;
pub mod pace;
pub mod pool;
pub mod quantile;
pub mod standing;
pub mod traffic;
pub mod witness;

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_proto::{BlobId, OriginName};
use wcdn_walrus::{Aggregator, HttpClient};

pub use self::pool::Pool;
use self::{
    attempt::AttemptError,
    hedge::Hedging,
    latency::Latency,
    lies::Lies,
    pace::Pace,
    standing::{Availability, Standing, Verdict},
    traffic::Traffic,
};
use crate::{
    config::{Fetch, OriginSpec},
    metrics::{
        Metrics,
        origin::{OriginOutcome, Outcome},
    },
};

/// One aggregator, with how it has behaved.
#[derive(Debug)]
pub struct Origin {
    spec: OriginSpec,
    aggregator: Aggregator,
    authority: String,
    record: Mutex<Record>,
    in_flight: AtomicUsize,
    limit: usize,
    served: AtomicU64,
    failed: AtomicU64,
    /// Its share of blobs among others that are as fast; the pool writes it.
    weight: AtomicU32,
    /// Whether it is asked only where no other serves, whatever this node knows; the pool writes it.
    is_banned: AtomicBool,
    traffic: Arc<Traffic>,
    shared: Shared,
}

/// What all origins of a pool share.
#[derive(Debug, Clone)]
struct Shared {
    hedging: Arc<Mutex<Hedging>>,
    lies: Arc<Lies>,
    metrics: Arc<Metrics>,
}

/// What is known of it; locked for a few lines at a time.
#[derive(Debug)]
struct Record {
    standing: Standing,
    latency: Latency,
    pace: Pace,
}

/// The right to have one request under way; returned when it is dropped, which is when the body
/// has ended.
#[derive(Debug)]
pub struct Permit {
    origin: Arc<Origin>,
    /// Whether this request tries if the origin is well again.
    probes: bool,
}

/// Why an origin is not to be asked at this moment, though it may be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// As many requests as may be are under way.
    #[error("not asked: {0} requests are under way, which is its limit")]
    Full(usize),
    /// Its budget of requests per second is spent.
    #[error("not asked: its requests per second are spent")]
    Spent,
    /// It said itself how long it is not to be asked.
    #[error("not asked: it said to come back in {0:.0?}")]
    Told(Duration),
    /// It failed or had no room a moment ago.
    #[error("not asked: it failed or was busy a moment ago")]
    Away,
    /// One request tries whether it is well again, and others are to wait for that.
    #[error("not asked: one request is trying whether it is well again")]
    Probed,
}

/// How much an origin is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Another is being asked.
    Hedge,
    /// There are others.
    Choice,
    /// There is no other.
    LastResort,
}

impl Origin {
    fn new(
        spec: OriginSpec,
        http: &HttpClient,
        fetch: &Fetch,
        traffic: Arc<Traffic>,
        shared: Shared,
    ) -> Self {
        Self {
            aggregator: Aggregator::new(http.clone(), spec.url.clone()),
            authority: spec.url.authority().to_ascii_lowercase(),
            weight: AtomicU32::new(spec.weight),
            is_banned: AtomicBool::new(spec.ejected),
            spec,
            record: Mutex::new(Record {
                standing: Standing::default(),
                latency: Latency::default(),
                pace: Pace::new(fetch.origin_rate, Instant::now()),
            }),
            in_flight: AtomicUsize::new(0),
            limit: fetch.max_per_origin,
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            traffic,
            shared,
        }
    }

    /// Takes the terms of a spec that is otherwise the same.
    fn take_terms(&self, spec: &OriginSpec) {
        self.weight.store(spec.weight, Relaxed);
        self.is_banned.store(spec.ejected, Relaxed);
    }

    /// Its name in configuration, logs and metrics.
    pub fn name(&self) -> &OriginName {
        &self.spec.name
    }

    /// Its HTTP interface.
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// Host and port, by which independent witnesses are told apart.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether its word alone is believed.
    pub fn is_trusted(&self) -> bool {
        self.spec.trusted
    }

    /// The right to ask it, if there is room; never waits.
    ///
    /// # Errors
    /// [`Unready`]; [`Unready::Probed`] only where there is a choice.
    pub fn acquire(self: &Arc<Self>, need: Need) -> Result<Permit, Unready> {
        let now = Instant::now();
        let mut record = self.record.lock();
        let is_passing = record.standing.availability(now) == Availability::Passing;
        if need == Need::Hedge && (!is_passing || self.is_banned.load(Relaxed)) {
            return Err(Unready::Away);
        }
        if let Some(wait) = record.standing.told_to_wait(now) {
            return Err(Unready::Told(wait));
        }
        if self.in_flight.load(Acquire) > 0
            && matches!(record.standing.availability(now), Availability::BackingOff(_))
        {
            return Err(Unready::Away);
        }
        if need == Need::Choice && record.standing.is_probed() {
            return Err(Unready::Probed);
        }
        let room = |under_way: usize| (under_way < self.limit).then_some(under_way + 1);
        let taken = self.in_flight.fetch_update(AcqRel, Acquire, room);
        taken.map_err(|_| Unready::Full(self.limit))?;
        // From here on the permit returns what was taken.
        let mut permit = Permit { origin: Arc::clone(self), probes: false };
        let has_budget = record.pace.take(now);
        permit.probes = has_budget && record.standing.admit(now);
        drop(record);
        if !has_budget {
            return Err(Unready::Spent);
        }
        self.shared.hedging.lock().asked();
        Ok(permit)
    }

    /// It answered as an origin should, with all the bytes.
    pub fn served(&self) {
        self.served.fetch_add(1, Relaxed);
        self.traffic.served();
        self.count(Outcome::Served);
        self.note(Verdict::Answered);
    }

    /// It failed or refused.
    pub fn failed(&self, error: &AttemptError) {
        self.failed.fetch_add(1, Relaxed);
        self.traffic.failed(error);
        self.count(error.outcome());
        self.note(error.verdict());
    }

    /// Its bytes are not the blob.
    pub fn lied(&self, id: &BlobId) {
        self.failed.fetch_add(1, Relaxed);
        self.traffic.lied();
        self.shared.lies.note(self.name(), id);
        self.count(Outcome::Lied);
        self.note(Verdict::Lie);
        tracing::warn!(origin = %self.name(), blob = %id, "origin sent bytes that are not the blob");
    }

    /// It broke off, and with what others added its bytes were not the blob. Nobody knows whose
    /// fault that is; asked last, it does no harm, and another that lies is found out alone.
    pub fn suspected(&self) {
        self.note(Verdict::Lie);
    }

    /// It was not asked, though it would have been its turn.
    pub fn passed_over(&self) {
        self.count(Outcome::Full);
    }

    /// It refuses blobs of this length as too large.
    pub fn refuses(&self, length: u64) {
        self.record.lock().standing.refused(length, Instant::now());
    }

    /// It began to serve a blob of this length, after so long.
    fn began(&self, length: u64, took: Duration) {
        let mut record = self.record.lock();
        record.standing.serves(length);
        record.latency.note(took, Instant::now());
        drop(record);
        self.traffic.head(took);
        self.shared.hedging.lock().head(took);
    }

    /// So many bytes of a body came.
    fn received(&self, bytes: usize) {
        self.traffic.received(bytes as u64);
    }

    /// Its head had not come after so long.
    pub fn kept_waiting(&self, waited: Duration) {
        self.record.lock().latency.note_in_vain(waited, Instant::now());
    }

    /// Its head had not come after so long, and that of another, asked later, had.
    pub fn overtaken(&self, waited: Duration) {
        self.record.lock().latency.note_overtaken(waited, Instant::now());
    }

    fn note(&self, verdict: Verdict) {
        let now = Instant::now();
        let (was, is) = {
            let standing = &mut self.record.lock().standing;
            let was = standing.is_ejected();
            standing.note(verdict, now);
            (was, standing.is_ejected())
        };
        match (was, is) {
            (false, true) => tracing::warn!(origin = %self.name(), ?verdict, "origin ejected"),
            (true, false) => tracing::info!(origin = %self.name(), "origin passes again"),
            _ => {}
        }
    }

    fn count(&self, outcome: Outcome) {
        let label = OriginOutcome { origin: self.name().to_string(), outcome: outcome.as_str() };
        self.shared.metrics.origin.requests.get_or_create(&label).inc();
    }
}

impl Permit {
    /// Who may be asked.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.origin.in_flight.fetch_sub(1, AcqRel);
        if self.probes {
            self.origin.record.lock().standing.probe_ended(Instant::now());
        }
    }
}
