//! How origins do, in JSON.

use serde::Serialize;
use wcdn_proto::pb::{
    admin::v1::{
        GetOriginHealthResponse, HealthCell, OriginChange, OriginHealth, OriginKind, OriginProbe,
        OriginState, RegionTraffic,
    },
    edge::v1::Origin,
};

use crate::text;

#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    revision: u64,
    origins: Vec<OriginDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OriginDocument<'a> {
    name: &'a str,
    kind: &'static str,
    url: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    since: Option<String>,
    score: u32,
    success_percent: Option<u32>,
    p50_ms: Option<f64>,
    probed_at: Option<String>,
    lied_at: Option<String>,
    trusted: bool,
    weight: u32,
    automatic: bool,
    operator: Option<&'a str>,
    probes: Vec<ProbeDocument<'a>>,
    strip: Vec<CellDocument>,
    regions: Vec<RegionDocument<'a>>,
    changes: Vec<ChangeDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProbeDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    at: Option<String>,
    asked: &'a str,
    result: &'a str,
    reason: Option<&'a str>,
    took_ms: f64,
}

#[derive(Debug, Serialize)]
struct CellDocument {
    from: Option<String>,
    good: u32,
    bad: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionDocument<'a> {
    region: &'a str,
    requests: u64,
    unreachable: u64,
    timed_out: u64,
    refused: u64,
    throttled: u64,
    broken: u64,
    slow: u64,
    lies: u64,
    bytes: u64,
    head_p50_ms: Option<u64>,
    head_p95_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ChangeDocument<'a> {
    at: Option<String>,
    from: &'static str,
    to: &'static str,
    reason: &'a str,
}

pub(super) fn kind(kind: OriginKind) -> &'static str {
    match kind {
        OriginKind::Unspecified => "unknown",
        OriginKind::Aggregator => "aggregator",
        OriginKind::Publisher => "publisher",
    }
}

pub(super) fn state(state: OriginState) -> &'static str {
    match state {
        OriginState::Unspecified => "unknown",
        OriginState::Healthy => "healthy",
        OriginState::Degraded => "degraded",
        OriginState::Unhealthy => "unhealthy",
        OriginState::Ejected => "ejected",
    }
}

/// The weight that counts.
pub(super) fn weight(origin: &Origin) -> u32 {
    if origin.weight == 0 { 100 } else { origin.weight }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(ms: u64) -> Option<String> {
    Some(ms).filter(|ms| *ms > 0).and_then(text::time)
}

fn millis(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

impl<'a> From<&'a GetOriginHealthResponse> for Document<'a> {
    fn from(told: &'a GetOriginHealthResponse) -> Self {
        let origins = told.origins.iter().filter_map(OriginDocument::of).collect();
        Self { revision: told.revision, origins }
    }
}

impl<'a> OriginDocument<'a> {
    fn of(health: &'a OriginHealth) -> Option<Self> {
        let origin = health.origin.as_ref()?;
        let is_known = health.probed_at_ms > 0;
        Some(Self {
            name: &origin.name,
            kind: kind(health.kind()),
            url: &origin.url,
            state: state(health.state()),
            reason: some(&health.reason),
            since: time(health.since_ms),
            score: health.score,
            success_percent: is_known.then_some(health.success_percent),
            p50_ms: Some(health.p50_us).filter(|us| *us > 0).map(millis),
            probed_at: time(health.probed_at_ms),
            lied_at: time(health.lied_at_ms),
            trusted: origin.trusted,
            weight: weight(origin),
            automatic: origin.automatic,
            operator: some(&origin.operator),
            probes: health.probes.iter().map(ProbeDocument::of).collect(),
            strip: health.strip.iter().map(CellDocument::from).collect(),
            regions: health.regions.iter().map(RegionDocument::from).collect(),
            changes: health.changes.iter().map(ChangeDocument::from).collect(),
        })
    }
}

impl<'a> ProbeDocument<'a> {
    fn of(probe: &'a OriginProbe) -> Self {
        Self {
            name: None,
            kind: None,
            at: time(probe.at_ms),
            asked: &probe.asked,
            result: &probe.result,
            reason: some(&probe.reason),
            took_ms: millis(probe.took_us),
        }
    }

    /// Beside those of others.
    pub(super) fn named(name: &'a str, kind: OriginKind, probe: &'a OriginProbe) -> Self {
        Self { name: Some(name), kind: Some(self::kind(kind)), ..Self::of(probe) }
    }
}

impl From<&HealthCell> for CellDocument {
    fn from(cell: &HealthCell) -> Self {
        Self { from: time(cell.from_ms), good: cell.good, bad: cell.bad }
    }
}

impl<'a> From<&'a RegionTraffic> for RegionDocument<'a> {
    fn from(region: &'a RegionTraffic) -> Self {
        let traffic = region.traffic.clone().unwrap_or_default();
        let known = |ms| Some(ms).filter(|ms| *ms > 0);
        Self {
            region: &region.region,
            requests: traffic.requests,
            unreachable: traffic.unreachable,
            timed_out: traffic.timed_out,
            refused: traffic.refused,
            throttled: traffic.throttled,
            broken: traffic.broken,
            slow: traffic.slow,
            lies: traffic.lies,
            bytes: traffic.bytes,
            head_p50_ms: known(region.head_p50_ms),
            head_p95_ms: known(region.head_p95_ms),
        }
    }
}

impl<'a> From<&'a OriginChange> for ChangeDocument<'a> {
    fn from(change: &'a OriginChange) -> Self {
        Self {
            at: time(change.at_ms),
            from: state(change.from()),
            to: state(change.to()),
            reason: &change.reason,
        }
    }
}
