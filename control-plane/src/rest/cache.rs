//! Purges, receipts, and what is known of a blob.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;
use utoipa::{IntoParams, ToSchema};
use wcdn_proto::{Span, pb::admin::v1 as admin};

use super::{
    HOME,
    error::Problem,
    model::{
        change::{Purged, Receipt},
        explain::{Blob, Explanation},
    },
    read::{self, LARGE_BODY},
    visit::Door,
};
use crate::{
    auth::{Caller, Operation},
    calls::{changes, queries, receipts},
    refusal::Refusal,
};

/// The longest that a request waits for a receipt.
const WAIT: Duration = Duration::from_secs(25);

/// What is to be removed from every edge: one of `ids` and `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Invalidation {
    /// Blob ids or quilt patch ids, 100,000 at most. A patch stands for its whole quilt.
    #[serde(default)]
    #[schema(example = json!(["AGWKSVxMdoyCHdYpfXRyCPHoE2zdwqTE5-_h4FxKKlc"]))]
    ids: Option<Vec<String>>,
    /// Everything instead.
    #[serde(default)]
    all: Option<bool>,
    /// Also what is pinned. Pins stay, and their bytes are fetched anew.
    #[serde(default)]
    force: bool,
    /// Comes with files.
    #[serde(default)]
    #[schema(ignore)]
    prefix: Option<serde_json::Value>,
    #[serde(default)]
    #[schema(ignore)]
    vault: Option<serde_json::Value>,
    #[serde(default)]
    #[schema(ignore)]
    tag: Option<serde_json::Value>,
    #[serde(default)]
    #[schema(ignore)]
    owner: Option<serde_json::Value>,
}

/// How long to wait for a receipt.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Until it is settled, at most so long, such as `2s`; 25 s at most.
    #[param(value_type = Option<String>, example = "2s")]
    wait: Option<Span>,
}

/// Remove bytes from every edge
///
/// Answered once it is in the log; the purge's receipt tells which node has applied it.
#[utoipa::path(post, path = "/invalidate", tag = "cache", operation_id = "purge",
    request_body = Invalidation,
    responses((status = 202, body = Purged, headers(("location" = String)))))]
pub(super) async fn invalidate(door: Door, body: Body) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Purge).await?;
    let asked: Invalidation = read::json(&door.head.headers, body, LARGE_BODY).await?;
    for (field, given) in [
        ("prefix", &asked.prefix),
        ("vault", &asked.vault),
        ("tag", &asked.tag),
        ("owner", &asked.owner),
    ] {
        if given.is_some() {
            let problem = "names files, of which this control plane has none; give ids, or all";
            return Err(Refusal::invalid(field, problem).into());
        }
    }
    let (ids, all) = (asked.ids.unwrap_or_default(), asked.all.unwrap_or(false));
    purge_these(&door, &caller, ids, all, asked.force).await
}

/// Remove one blob from every edge
#[utoipa::path(delete, path = "/cache/{id}", tag = "cache", operation_id = "purgeOne",
    params(("id" = String, Path, description = "a blob id or a quilt patch id"), Force),
    responses((status = 202, body = Purged, headers(("location" = String)))))]
pub(super) async fn forget(door: Door, Path(id): Path<String>) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Purge).await?;
    let Force { force } = read::query(&door.head.uri)?;
    purge_these(&door, &caller, vec![id], false, force).await
}

/// Whether what is pinned is removed, too.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// Also if it is pinned.
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

async fn purge_these(
    door: &Door,
    caller: &Caller,
    ids: Vec<String>,
    all: bool,
    force: bool,
) -> Result<Response, Problem> {
    let idempotency_token = read::idempotency_key(&door.head.headers)?;
    let request = admin::PurgeRequest { ids, all, force, idempotency_token };
    let purged = changes::purge(&door.desk, caller, request).await?;
    let purge = purged.change.unwrap_or_default();
    let location = format!("{HOME}/purges/{}", purge.id);
    let told = Purged { purge: purge.into() };
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(told)).into_response())
}

/// Which node has applied a purge
#[utoipa::path(get, path = "/purges/{id}", tag = "cache", operation_id = "getPurge",
    params(("id" = String, Path, description = "of the purge"), Wait),
    responses((status = 200, body = Receipt)))]
pub(super) async fn purge(door: Door, Path(id): Path<String>) -> Result<Json<Receipt>, Problem> {
    receipt(door, id).await
}

/// Which node has applied a change
///
/// Of any kind: a purge, a block, a pin, other origins, a key.
#[utoipa::path(get, path = "/changes/{id}", tag = "cache", operation_id = "getReceipt",
    params(("id" = String, Path, description = "of the change"), Wait),
    responses((status = 200, body = Receipt)))]
pub(super) async fn change(door: Door, Path(id): Path<String>) -> Result<Json<Receipt>, Problem> {
    receipt(door, id).await
}

async fn receipt(door: Door, change_id: String) -> Result<Json<Receipt>, Problem> {
    let caller = door.admit(Operation::GetReceipt).await?;
    let Wait { wait } = read::query(&door.head.uri)?;
    let wait = wait.map_or(Duration::ZERO, Span::duration).min(WAIT);
    let until = Instant::now() + wait;
    let now = admin::GetReceiptRequest { change_id: change_id.clone() };
    let now = receipts::get(&door.desk, &caller, now).await?;
    let mut receipt = now.receipt.unwrap_or_default();
    if receipt.settled || wait.is_zero() {
        return Ok(Json(receipt.into()));
    }
    let request = admin::WatchReceiptRequest { change_id };
    let mut told = receipts::watch(&door.desk, &caller, request).await?;
    while let Ok(Some(next)) = timeout_at(until, told.next()).await {
        receipt = next?.receipt.unwrap_or_default();
        if receipt.settled {
            break;
        }
    }
    Ok(Json(receipt.into()))
}

/// What is known of a blob
#[utoipa::path(get, path = "/blobs/{id}", tag = "blobs", operation_id = "getBlob",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    responses((status = 200, body = Blob)))]
pub(super) async fn blob(door: Door, Path(id): Path<String>) -> Result<Json<Blob>, Problem> {
    Ok(Json(explained(door, id).await?.into()))
}

/// What every live node holds of a blob, and why
#[utoipa::path(get, path = "/blobs/{id}/explain", tag = "blobs", operation_id = "explain",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    responses((status = 200, body = Explanation)))]
pub(super) async fn explain(
    door: Door,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    Ok(Json(explained(door, id).await?.into()))
}

async fn explained(door: Door, id: String) -> Result<admin::ExplainResponse, Problem> {
    let caller = door.admit(Operation::Explain).await?;
    Ok(queries::explain(&door.desk, &caller, admin::ExplainRequest { id }).await?)
}
