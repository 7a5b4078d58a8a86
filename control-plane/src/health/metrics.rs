//! How origins are doing, for Prometheus.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    probe::Probe,
    record::{Origin, State},
    target::Key,
};

/// The metrics of the health monitor.
#[derive(Debug, Default)]
pub(crate) struct HealthMetrics {
    score: Family<One, Gauge<u64, AtomicU64>>,
    state: Family<OneState, Gauge>,
    probes: Family<OneResult, Counter>,
    changes: Family<To, Counter>,
    claims: Family<Claimed, Counter>,
    /// Whether scores and states are shown.
    is_shown: AtomicBool,
}

/// While it lives, scores and states are shown.
#[derive(Debug)]
pub(super) struct Shown(Arc<HealthMetrics>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct One {
    kind: &'static str,
    origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OneState {
    kind: &'static str,
    origin: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OneResult {
    kind: &'static str,
    origin: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Claimed {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    state: &'static str,
}

impl HealthMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "How well an origin does, 0 to 100";
        registry.register("origin_health_score", help, self.score.clone());
        let help = "Whether an origin is in this state";
        registry.register("origin_health_state", help, self.state.clone());
        let help = "Probes of origins, by what came of them";
        registry.register("origin_health_probes", help, self.probes.clone());
        let help = "Changes of origins' states, by what they became";
        registry.register("origin_health_changes", help, self.changes.clone());
        let help = "What edges say about lies, by what a look at it found";
        registry.register("origin_health_claims", help, self.claims.clone());
    }

    pub(super) fn probed(&self, key: &Key, probe: &Probe) {
        let One { kind, origin } = one(key);
        self.probes.get_or_create(&OneResult { kind, origin, result: probe.result() }).inc();
    }

    pub(super) fn changed(&self, to: State) {
        self.changes.get_or_create(&To { state: to.as_str() }).inc();
    }

    /// `true`, `false`, `unknown`; or not looked at: `known` already, its node `doubted`, its origin
    /// `gone`, `late`, `dropped` because too many wait.
    pub(super) fn claimed(&self, result: &'static str) {
        self.claims.get_or_create(&Claimed { result }).inc();
    }

    /// Shows how origins do until the guard is dropped: of several control planes only one knows.
    pub(super) fn show(self: Arc<Self>) -> Shown {
        self.is_shown.store(true, Relaxed);
        Shown(self)
    }

    pub(super) fn is(&self, origin: &Origin) {
        if !self.is_shown.load(Relaxed) {
            return;
        }
        self.score.get_or_create(&one(&origin.key)).set(u64::from(origin.score));
        for state in State::all() {
            let is_it = i64::from(state == origin.state);
            self.state.get_or_create(&in_state(&origin.key, state)).set(is_it);
        }
    }

    /// An origin that left the pool is told of no more; what was counted of it stays.
    pub(super) fn gone(&self, key: &Key) {
        self.score.remove(&one(key));
        for state in State::all() {
            self.state.remove(&in_state(key, state));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.is_shown.store(false, Relaxed);
        self.0.score.clear();
        self.0.state.clear();
    }
}

fn one(key: &Key) -> One {
    One { kind: key.kind.as_str(), origin: key.name.to_string() }
}

fn in_state(key: &Key, state: State) -> OneState {
    let One { kind, origin } = one(key);
    OneState { kind, origin, state: state.as_str() }
}
