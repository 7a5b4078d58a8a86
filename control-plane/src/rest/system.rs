//! Nodes, and the control plane itself.

use axum::{Json, response::Response};
use wcdn_proto::pb::admin::v1 as admin;

use super::{
    error::Problem,
    lists::changed,
    model::{
        change::Changed,
        node::{Health, Nodes, Status},
    },
    visit::Door,
};
use crate::{
    auth::Operation,
    calls::{changes, queries},
};

/// Every node that is known, alive or not
#[utoipa::path(get, path = "/nodes", tag = "system", operation_id = "listNodes",
    responses((status = 200, body = Nodes)))]
pub(super) async fn nodes(door: Door) -> Result<Json<Nodes>, Problem> {
    let caller = door.admit(Operation::ListNodes).await?;
    Ok(Json(queries::list_nodes(&door.desk, &caller, admin::ListNodesRequest {})?.into()))
}

/// The control plane itself
#[utoipa::path(get, path = "/status", tag = "system", operation_id = "getStatus",
    responses((status = 200, body = Status)))]
pub(super) async fn status(door: Door) -> Result<Json<Status>, Problem> {
    let caller = door.admit(Operation::GetStatus).await?;
    Ok(Json(queries::status(&door.desk, &caller, admin::GetStatusRequest {}).await?.into()))
}

/// Prove that every node hears
///
/// Writes an event that changes nothing; its receipt names every node that has heard.
#[utoipa::path(post, path = "/barrier", tag = "system", operation_id = "barrier",
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn barrier(door: Door) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Barrier).await?;
    let done = changes::barrier(&door.desk, &caller, admin::BarrierRequest {}).await?;
    Ok(changed(done.change))
}

/// Whether the control plane serves
///
/// For everybody, without a key.
#[utoipa::path(get, path = "/health", tag = "system", operation_id = "health", security(()),
    responses((status = 200, body = Health)))]
pub(super) async fn health(door: Door) -> Result<Json<Health>, Problem> {
    door.anybody().await?;
    let is_leaving = door.desk.leaving.is_cancelled();
    let status = if is_leaving { "draining" } else { "serving" };
    Ok(Json(Health { status, version: env!("CARGO_PKG_VERSION") }))
}
