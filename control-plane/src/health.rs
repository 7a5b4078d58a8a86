//! The health of origins: asked from time to time, remembered, and told.
//!
//! - `target`, `prober`: who is asked, and how
//! - `probe`, `fault`: one question, and what can be wrong with its answer
//! - `counts`, `traffic`: what edges report of real requests, by region
//! - `score`, `standing`, `record`: what follows from all of it; pure
//! - `verify`, `evidence`, `inspector`: what edges say about lies, and whether it is true
//! - `verdict`: who is ejected for all edges, and who returns; pure
//! - `keeper`: the task that takes answers in; the store is what is known
//! - `pools`, `operators`: the pool that all of it is about, and the public list it may follow
//!
//! Rounds are made by one control plane of a cluster; whatever an operator asks for is asked by the one that
//! is called.

pub(crate) mod counts;
mod evidence;
pub(crate) mod fault;
mod inspector;
mod keeper;
mod metrics;
pub(crate) mod operators;
mod pools;
pub(crate) mod probe;
mod prober;
pub(crate) mod record;
mod score;
pub(crate) mod standing;
pub(crate) mod target;
pub(crate) mod traffic;
mod verdict;
mod verify;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::pb::edge::v1::{Lie, OriginPool, OriginTraffic};

use self::{
    evidence::Finding,
    inspector::Inspector,
    keeper::{Answers, Keeper},
    metrics::HealthMetrics,
    operators::{ListError, Lists},
    pools::Pools,
    probe::Probe,
    prober::Prober,
    record::Rules,
    target::{Key, Target},
    traffic::{Claim, Traffic},
    verify::Verifier,
};
use crate::{
    change::Recorded,
    config::Config,
    log::{Log, LogError},
    store::{Store, now_ms},
    tracker::Registered,
};

/// What is known of origins, and how to know more. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    pub(crate) pools: Pools,
    pub(crate) prober: Prober,
    pub(crate) lists: Lists,
    /// Held for lines, never across an await.
    pub(crate) traffic: Arc<Mutex<Traffic>>,
    store: Store,
    verifier: Verifier,
    metrics: Arc<HealthMetrics>,
    answers: mpsc::Sender<Answers>,
    claims: mpsc::Sender<Claim>,
    interval: Duration,
}

/// Why the pool does not follow a list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    /// The list is the reason.
    #[error(transparent)]
    List(#[from] ListError),
    /// The pool cannot be changed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Who changes the pool, where it is nobody's hand.
const BY: &str = "health";

/// Answers that wait to be taken in: rounds, and what operators ask for.
const WAITING: usize = 64;

/// Claims of edges that wait to be looked at.
const CLAIMS: usize = 256;

/// A round comes so much earlier or later, at random: control planes that started together do not ask all
/// at the same time.
const JITTER: f64 = 0.1;

impl Monitor {
    /// Starts the tasks; they run until `shutdown`.
    pub(crate) fn start(
        config: &Config,
        store: Store,
        log: Log,
        registry: &mut Registry,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let metrics = Arc::new(HealthMetrics::default());
        metrics.register(registry);
        let health = &config.health;
        let interval = health.interval.duration();
        let traffic = Arc::new(Mutex::new(Traffic::new(interval, Instant::now())));
        let (sender, answers) = mpsc::channel(WAITING);
        let (claims, claimed) = mpsc::channel(CLAIMS);
        let pools = Pools::new(log, config.base_pool());
        let rules = Rules { eject_after: health.eject_after, return_after: health.return_after };
        let keeper = Keeper {
            store: store.clone(),
            pools: pools.clone(),
            answers,
            traffic: Arc::clone(&traffic),
            metrics: Arc::clone(&metrics),
            interval,
            rules: health.eject.then_some(rules),
        };
        tasks.spawn(keeper.run(shutdown.clone()));
        let monitor = Self {
            pools,
            prober: Prober::new(config),
            lists: Lists::new(config),
            traffic,
            store,
            verifier: Verifier::new(config),
            metrics,
            answers: sender,
            claims,
            interval,
        };
        let until = |work| shutdown.clone().run_until_cancelled_owned(work);
        tasks.spawn(until(Inspector::new(monitor.clone(), claimed).run().boxed()));
        tasks.spawn(until(alone(monitor.clone().rounds()).boxed()));
        tasks.spawn(until(alone(monitor.clone().follow()).boxed()));
        if !health.operators.is_empty() {
            let (from, every) = (health.operators.clone(), health.operators_interval.duration());
            tasks.spawn(until(alone(monitor.clone().refresh(from, every)).boxed()));
        }
        monitor
    }

    /// Takes what an edge reports of its origins.
    pub(crate) fn heard(&self, who: &Registered, origins: &[OriginTraffic], lies: &[Lie]) {
        let claims = self.traffic.lock().heard(who, origins, lies, Instant::now());
        for claim in claims {
            if self.claims.try_send(claim).is_err() {
                self.metrics.claimed("dropped");
            }
        }
    }

    /// Tells of whoever is ejected by hand as of all others.
    async fn follow(self) {
        let mut pools = self.pools.watch();
        while pools.changed().await.is_ok() {
            self.take(HashMap::new()).await;
        }
    }

    /// Asks everybody, again and again.
    async fn rounds(self) {
        sleep(self.due().await).await;
        loop {
            self.round().await;
            let jitter = rand::random_range(1.0 - JITTER..1.0 + JITTER);
            sleep(self.interval.mul_f64(jitter)).await;
        }
    }

    /// How long until a round is due: at once, unless everybody was asked not long ago.
    async fn due(&self) -> Duration {
        let known = self.store.origins().await.unwrap_or_default();
        let last = known.values().flat_map(|origin| origin.probes.first()).map(|last| last.at_ms);
        let ago = last.min().map(|last| Duration::from_millis(now_ms().saturating_sub(last)));
        ago.map_or(Duration::ZERO, |ago| self.interval.saturating_sub(ago))
    }

    /// Brings the pool up to date with a list, again and again.
    async fn refresh(self, from: String, every: Duration) {
        loop {
            match self.refresh_once(&from).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    tracing::info!(
                        from,
                        change = change.id,
                        "origins follow the list of operators"
                    );
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(from, error, "origins do not follow the list of operators");
                }
            }
            sleep(every).await;
        }
    }

    async fn refresh_once(&self, from: &str) -> Result<Option<Recorded>, RefreshError> {
        let operators = self.lists.read(from).await?;
        let merge =
            |pool: &mut OriginPool| Ok(!self.lists.merge(pool, &operators, false)?.is_empty());
        self.pools.edit(BY, merge).await
    }

    async fn round(&self) {
        let targets = Target::all(&self.pools.now());
        let mut asking: FuturesUnordered<_> = targets
            .iter()
            .map(|target| async { (target.key.clone(), self.prober.probe(target).await) })
            .collect();
        let mut probes: HashMap<Key, Vec<Probe>> = HashMap::new();
        while let Some((key, answered)) = asking.next().await {
            probes.insert(key, answered);
        }
        for (key, proof) in self.proofs().await {
            probes.entry(key).or_default().push(proof);
        }
        self.send(probes, true).await;
    }

    /// Who lied is asked for the same blob again, or, if that is gone, for the one that all should have.
    /// Where that takes too long, those that are left have their turn in another round.
    async fn proofs(&self) -> Vec<(Key, Probe)> {
        let known = self.store.origins().await.unwrap_or_default();
        let (mut proofs, began) = (Vec::new(), Instant::now());
        let liars = known.into_iter().filter_map(|(key, it)| Some((key, it.record.lied_about?)));
        for (key, blob) in liars {
            if began.elapsed() >= self.interval {
                break;
            }
            let again = self.verify(&key, &blob).await;
            let is_settled =
                again.as_ref().is_some_and(|(finding, _)| *finding != Finding::Unknown);
            let proof = match self.prober.known_blob() {
                Some(other) if !is_settled => self.verify(&key, &other).await,
                _ => again,
            };
            proofs.extend(proof.map(|(_, probe)| (key, probe)));
        }
        proofs
    }

    /// Takes in what somebody asked for; returns once it is.
    pub(crate) async fn take(&self, probes: HashMap<Key, Vec<Probe>>) {
        self.send(probes, false).await;
    }

    async fn send(&self, probes: HashMap<Key, Vec<Probe>>, is_regular: bool) {
        let (done, taken) = oneshot::channel();
        if self.answers.send(Answers { probes, is_regular, done }).await.is_ok() {
            // At the end of the process they are lost.
            drop(taken.await);
        }
    }
}

/// Where the task of one control plane among several begins.
async fn alone(work: impl Future<Output = ()>) {
    work.await;
}
