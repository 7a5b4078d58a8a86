//! What is pinned, withheld or preloaded, and hooks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wcdn_proto::pb::admin::v1 as admin;

use super::{some, time, word};

/// A blob that is kept ready.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Pin {
    pub(in crate::rest) id: String,
    note: Option<String>,
    by: String,
    #[schema(format = DateTime)]
    pinned_at: Option<String>,
    standing: Option<Standing>,
}

/// How far a pin is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Standing {
    /// "requested", "filling", "held", "degraded" or "over_budget".
    #[schema(example = "held")]
    state: String,
    /// Nodes that hold it, of those that are expected to.
    held: u32,
    /// Two in each region, or one where there is but one.
    expected: u32,
    /// Nodes that have no memory left for it.
    over_budget: u32,
    /// Nodes that cannot get it.
    failed: u32,
    /// What a node that does not hold it says.
    reason: Option<String>,
}

/// An id that is withheld.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Block {
    id: String,
    reason: Option<String>,
    by: String,
    #[schema(format = DateTime)]
    blocked_at: Option<String>,
}

/// What to say of a pin.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(in crate::rest) struct NewPin {
    /// For people who look at the list.
    #[schema(example = "the page of today")]
    pub(in crate::rest) note: String,
}

/// What to say of a block.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(in crate::rest) struct NewBlock {
    /// For people who look at the list.
    #[schema(example = "court order 2026/117")]
    pub(in crate::rest) reason: String,
}

/// Blobs to be fetched before anybody asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct NewPreload {
    /// Blob ids or quilt patch ids. At most 10,000.
    #[schema(example = json!(["AGWKSVxMdoyCHdYpfXRyCPHoE2zdwqTE5-_h4FxKKlc"]))]
    pub(in crate::rest) ids: Vec<String>,
    /// All if there is none.
    #[serde(default)]
    #[schema(example = json!(["eu-west"]))]
    pub(in crate::rest) regions: Vec<String>,
}

/// How far a preload is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Preload {
    #[schema(example = "pre_01jd8m5x2q9v7k3w4r6t8y0z1a")]
    id: String,
    #[schema(format = DateTime)]
    begun_at: Option<String>,
    regions: Vec<PreloadedRegion>,
    /// Whether every blob is there or has failed, in every region.
    settled: bool,
    /// Some of those that failed: 100 at most.
    failures: Vec<PreloadFailure>,
}

/// How far a preload is in a region.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PreloadedRegion {
    region: String,
    wanted: u32,
    done: u32,
    failed: u32,
    bytes: u64,
}

/// A blob that could not be preloaded.
#[derive(Debug, Serialize, ToSchema)]
struct PreloadFailure {
    id: String,
    region: String,
    reason: String,
}

/// A door for another system.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Hook {
    id: String,
    #[schema(example = "deploy")]
    name: String,
    /// Whether it may purge everything.
    all: bool,
    /// Whether it may purge what is pinned.
    force: bool,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    created_by: String,
    #[schema(format = DateTime)]
    used_at: Option<String>,
}

/// A hook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::rest) struct NewHook {
    #[schema(example = "deploy")]
    pub(in crate::rest) name: String,
    /// Whether it may purge everything.
    #[serde(default)]
    pub(in crate::rest) all: bool,
    /// Whether it may purge what is pinned.
    #[serde(default)]
    pub(in crate::rest) force: bool,
}

/// A hook that was made; its path and secret are told here, and nowhere else.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct MadeHook {
    pub(in crate::rest) hook: Option<Hook>,
    /// Where to POST.
    pub(in crate::rest) path: String,
    /// What to sign with.
    #[schema(example = "whsec_…")]
    pub(in crate::rest) secret: String,
}

impl From<admin::PinnedId> for Pin {
    fn from(pin: admin::PinnedId) -> Self {
        Self {
            id: pin.id,
            note: some(pin.note),
            by: pin.by,
            pinned_at: time(pin.pinned_at_ms),
            standing: pin.standing.map(Standing::from),
        }
    }
}

impl From<admin::PinStanding> for Standing {
    fn from(standing: admin::PinStanding) -> Self {
        Self {
            state: word(standing.state().as_str_name(), "PIN_STATE_"),
            held: standing.held,
            expected: standing.expected,
            over_budget: standing.over_budget,
            failed: standing.failed,
            reason: some(standing.reason),
        }
    }
}

impl From<admin::BlockedId> for Block {
    fn from(block: admin::BlockedId) -> Self {
        Self {
            id: block.id,
            reason: some(block.reason),
            by: block.by,
            blocked_at: time(block.blocked_at_ms),
        }
    }
}

impl From<admin::PreloadJob> for Preload {
    fn from(job: admin::PreloadJob) -> Self {
        let region = |it: admin::PreloadedRegion| PreloadedRegion {
            region: it.region,
            wanted: it.wanted,
            done: it.done,
            failed: it.failed,
            bytes: it.bytes,
        };
        let failure = |it: admin::PreloadFailure| PreloadFailure {
            id: it.id,
            region: it.region,
            reason: it.reason,
        };
        Self {
            id: job.id,
            begun_at: time(job.begun_at_ms),
            regions: job.regions.into_iter().map(region).collect(),
            settled: job.settled,
            failures: job.failures.into_iter().map(failure).collect(),
        }
    }
}

impl From<admin::Hook> for Hook {
    fn from(hook: admin::Hook) -> Self {
        Self {
            id: hook.id,
            name: hook.name,
            all: hook.all,
            force: hook.force,
            created_at: time(hook.created_at_ms),
            created_by: hook.created_by,
            used_at: time(hook.used_at_ms),
        }
    }
}
