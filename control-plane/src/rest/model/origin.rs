//! Origins, and how they are doing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wcdn_proto::pb::{admin::v1 as admin, edge::v1 as edge};

use super::{some, time, word};

/// The origins of every edge.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Pool {
    /// Larger is newer; it is the ETag. 0 for those of the configuration.
    pub(in crate::rest) revision: u64,
    origins: Vec<Origin>,
    publishers: Vec<Origin>,
}

/// The origins that every edge is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct NewPool {
    origins: Vec<Origin>,
    #[serde(default)]
    publishers: Vec<Origin>,
}

/// An aggregator, or a publisher.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Origin {
    #[schema(example = "aggregator-1")]
    name: String,
    #[schema(example = "https://aggregator.example")]
    url: String,
    /// Whether its word alone is believed, and its bytes need no check.
    #[serde(default)]
    trusted: bool,
    /// Its share of blobs among others that are as fast; 0 stands for 100.
    #[serde(default)]
    weight: u32,
    /// Whether it is asked only where no other serves.
    #[serde(default)]
    ejected: bool,
    /// Why it is ejected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    /// Whether the control plane ejected it, and returns it once it is well.
    #[serde(default)]
    automatic: bool,
    /// Who runs it, if it is of a public list.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    operator: String,
}

/// A pool that was set.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct SetPool {
    pub(in crate::rest) change: super::change::Change,
    pub(in crate::rest) pool: Pool,
}

/// How origins and publishers are doing.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct OriginsHealth {
    /// Of the pool.
    revision: u64,
    items: Vec<OriginHealth>,
}

/// How an origin is doing, and why.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OriginHealth {
    /// "aggregator" or "publisher".
    #[schema(example = "aggregator")]
    kind: String,
    name: String,
    url: String,
    /// "healthy", "degraded", "unhealthy" or "ejected".
    #[schema(example = "healthy")]
    state: String,
    reason: Option<String>,
    #[schema(format = DateTime)]
    since: Option<String>,
    /// 0 to 100.
    score: u32,
    #[schema(format = DateTime)]
    probed_at: Option<String>,
    /// The median of the last probes that were answered. Microseconds.
    p50_us: Option<u64>,
    success_percent: u32,
    #[schema(format = DateTime)]
    lied_at: Option<String>,
    probes: Vec<Probe>,
    /// The last 24 hours in quarters of an hour, the oldest first.
    strip: Vec<Cell>,
    regions: Vec<RegionTraffic>,
    changes: Vec<StateChange>,
}

/// One question to an origin, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[schema(format = DateTime)]
    at: Option<String>,
    /// "absent", "read", "verify" or "alive".
    asked: String,
    /// "ok", or the kind of failure.
    result: String,
    reason: Option<String>,
    took_us: u64,
}

/// A quarter of an hour of probes.
#[derive(Debug, Serialize, ToSchema)]
struct Cell {
    #[schema(format = DateTime)]
    from: Option<String>,
    good: u32,
    bad: u32,
}

/// What edges of a region report.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RegionTraffic {
    region: String,
    requests: u64,
    /// Those that were not answered as they should.
    failures: u64,
    /// Bodies that were not the blob.
    lies: u64,
    bytes: u64,
    head_p50_ms: u64,
    head_p95_ms: u64,
}

/// A change of an origin's state.
#[derive(Debug, Serialize, ToSchema)]
struct StateChange {
    #[schema(format = DateTime)]
    at: Option<String>,
    from: String,
    to: String,
    reason: Option<String>,
}

/// Origins to be asked now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::rest) struct ProbeRequest {
    /// All if there is none.
    #[schema(example = json!(["aggregator-1"]))]
    pub(in crate::rest) names: Vec<String>,
}

/// What origins answered.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct Probed {
    pub(in crate::rest) items: Vec<NamedProbe>,
}

/// What an origin answered.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct NamedProbe {
    kind: String,
    name: String,
    probe: Option<Probe>,
}

/// From where the list of public operators is taken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct RefreshRequest {
    /// The control plane asks there itself.
    #[schema(example = "https://docs.wal.app/operators.json")]
    pub(in crate::rest) url: String,
    /// Only tell what would change.
    #[serde(default)]
    pub(in crate::rest) dry_run: bool,
    /// Also if more than half of the origins would leave the pool.
    #[serde(default)]
    pub(in crate::rest) force: bool,
}

/// What the list of public operators changed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::rest) struct Refreshed {
    change: Option<super::change::Change>,
    pool: Pool,
    added: Vec<String>,
    removed: Vec<String>,
    altered: Vec<String>,
    skipped: u32,
}

impl From<edge::OriginPool> for Pool {
    fn from(pool: edge::OriginPool) -> Self {
        Self {
            revision: pool.revision,
            origins: pool.origins.into_iter().map(Origin::from).collect(),
            publishers: pool.publishers.into_iter().map(Origin::from).collect(),
        }
    }
}

impl NewPool {
    /// In the place of the one of this revision.
    pub(in crate::rest) fn replacing(self, revision: u64) -> edge::OriginPool {
        edge::OriginPool {
            revision,
            origins: self.origins.into_iter().map(edge::Origin::from).collect(),
            publishers: self.publishers.into_iter().map(edge::Origin::from).collect(),
        }
    }
}

impl From<edge::Origin> for Origin {
    fn from(origin: edge::Origin) -> Self {
        let edge::Origin { name, url, trusted, weight, ejected, reason, automatic, operator } =
            origin;
        Self { name, url, trusted, weight, ejected, reason, automatic, operator }
    }
}

impl From<Origin> for edge::Origin {
    fn from(origin: Origin) -> Self {
        let Origin { name, url, trusted, weight, ejected, reason, automatic, operator } = origin;
        Self { name, url, trusted, weight, ejected, reason, automatic, operator }
    }
}

impl From<admin::GetOriginHealthResponse> for OriginsHealth {
    fn from(told: admin::GetOriginHealthResponse) -> Self {
        let items = told.origins.into_iter().map(OriginHealth::from).collect();
        Self { revision: told.revision, items }
    }
}

impl From<admin::OriginHealth> for OriginHealth {
    fn from(told: admin::OriginHealth) -> Self {
        let cell = |cell: admin::HealthCell| Cell {
            from: time(cell.from_ms),
            good: cell.good,
            bad: cell.bad,
        };
        let (kind, state) = (kind(told.kind()), state(told.state()));
        let origin = told.origin.unwrap_or_default();
        Self {
            kind,
            name: origin.name,
            url: origin.url,
            state,
            reason: some(told.reason),
            since: time(told.since_ms),
            score: told.score,
            probed_at: time(told.probed_at_ms),
            p50_us: Some(told.p50_us).filter(|us| *us > 0),
            success_percent: told.success_percent,
            lied_at: time(told.lied_at_ms),
            probes: told.probes.into_iter().map(Probe::from).collect(),
            strip: told.strip.into_iter().map(cell).collect(),
            regions: told.regions.into_iter().map(RegionTraffic::from).collect(),
            changes: told.changes.into_iter().map(StateChange::from).collect(),
        }
    }
}

impl From<admin::OriginProbe> for Probe {
    fn from(probe: admin::OriginProbe) -> Self {
        Self {
            at: time(probe.at_ms),
            asked: probe.asked,
            result: probe.result,
            reason: some(probe.reason),
            took_us: probe.took_us,
        }
    }
}

impl From<admin::RegionTraffic> for RegionTraffic {
    fn from(told: admin::RegionTraffic) -> Self {
        let traffic = told.traffic.unwrap_or_default();
        let failures = [
            traffic.unreachable,
            traffic.timed_out,
            traffic.refused,
            traffic.throttled,
            traffic.broken,
            traffic.slow,
            traffic.lies,
        ];
        Self {
            region: told.region,
            requests: traffic.requests,
            failures: failures.iter().sum(),
            lies: traffic.lies,
            bytes: traffic.bytes,
            head_p50_ms: told.head_p50_ms,
            head_p95_ms: told.head_p95_ms,
        }
    }
}

impl From<admin::OriginChange> for StateChange {
    fn from(change: admin::OriginChange) -> Self {
        Self {
            at: time(change.at_ms),
            from: state(change.from()),
            to: state(change.to()),
            reason: some(change.reason),
        }
    }
}

impl From<admin::ProbeOriginsResponse> for NamedProbe {
    fn from(told: admin::ProbeOriginsResponse) -> Self {
        let kind = kind(told.kind());
        Self { kind, name: told.name, probe: told.probe.map(Probe::from) }
    }
}

impl From<admin::RefreshOriginsResponse> for Refreshed {
    fn from(told: admin::RefreshOriginsResponse) -> Self {
        Self {
            change: told.change.map(super::change::Change::from),
            pool: told.pool.unwrap_or_default().into(),
            added: told.added,
            removed: told.removed,
            altered: told.altered,
            skipped: told.skipped,
        }
    }
}

fn kind(kind: admin::OriginKind) -> String {
    word(kind.as_str_name(), "ORIGIN_KIND_")
}

fn state(state: admin::OriginState) -> String {
    word(state.as_str_name(), "ORIGIN_STATE_")
}
