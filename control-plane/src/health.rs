//! The health of origins: asked from time to time, remembered, and told.
//!
//! - `rounds`, `target`, `prober`: when who is asked, and how
//! - `probe`, `fault`: one question, and what can be wrong with its answer
//! - `counts`, `traffic`: what edges report of real requests, by region
//! - `score`, `standing`, `record`: what follows from all of it; pure
//! - `verify`, `evidence`, `inspector`: what edges say about lies, and whether it is true
//! - `verdict`: who is ejected for all edges, and who returns; pure
//! - `keeper`: the task that takes answers in; the store is what is known
//! - `pools`: the pool that all of it is about
//! - `operators`, `refresh`: the public list that the pool may follow
//!
//! Rounds are made, and claims looked at, by one control plane of a cluster; whatever an operator asks for is
//! asked by the one that is called. All of them hear what edges report.

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
pub(crate) mod refresh;
mod rounds;
mod score;
pub(crate) mod standing;
pub(crate) mod target;
pub(crate) mod traffic;
mod verdict;
mod verify;

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use wcdn_proto::pb::edge::v1::{Lie, OriginTraffic};

use self::{
    inspector::Inspector,
    keeper::{Answers, Keeper},
    metrics::HealthMetrics,
    operators::Lists,
    pools::Pools,
    probe::Probe,
    prober::Prober,
    record::Rules,
    target::Key,
    traffic::{Claim, Traffic},
    verify::Verifier,
};
use crate::{
    config::{self, Config},
    jobs::Jobs,
    log::Log,
    store::{Store, jobs::Fence},
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

/// Who changes the pool, where it is nobody's hand.
const BY: &str = "health";

/// Answers that wait to be taken in: rounds, and what operators ask for.
const WAITING: usize = 64;

/// Claims of edges that wait to be looked at.
const CLAIMS: usize = 256;

impl Monitor {
    /// Starts the tasks; they run until `shutdown`.
    pub(crate) fn start(
        config: &Config,
        store: Store,
        log: Log,
        registry: &mut Registry,
        jobs: &Jobs,
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
            rules,
            ejects: health.eject,
        };
        jobs.spawn(keeper.run());
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
        let inspector = Inspector::new(monitor.clone(), claimed);
        monitor.watch(health, inspector, jobs);
        monitor
    }

    /// What only one control plane does. Claims that come meanwhile to the others are dropped when there are
    /// too many: edges report to all.
    fn watch(&self, health: &config::Health, inspector: Inspector, jobs: &Jobs) {
        let (monitor, inspector) = (self.clone(), Arc::new(tokio::sync::Mutex::new(inspector)));
        let (from, every) = (health.operators.clone(), health.operators_interval.duration());
        jobs.run_as_singleton("health", move |turn| {
            let (monitor, inspector, from) =
                (monitor.clone(), Arc::clone(&inspector), from.clone());
            async move {
                let _shown = Arc::clone(&monitor.metrics).show();
                let mut inspector = inspector.lock().await;
                tokio::join!(
                    monitor.rounds(turn),
                    monitor.follow(),
                    monitor.refresh(&from, every),
                    inspector.run(),
                );
            }
        });
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

    /// Takes in what somebody asked for; returns once it is.
    pub(crate) async fn take(&self, probes: HashMap<Key, Vec<Probe>>) {
        self.send(probes, None).await;
    }

    async fn send(&self, probes: HashMap<Key, Vec<Probe>>, turn: Option<Fence>) {
        let (done, taken) = oneshot::channel();
        if self.answers.send(Answers { probes, turn, done }).await.is_ok() {
            // At the end of the process they are lost.
            drop(taken.await);
        }
    }
}
