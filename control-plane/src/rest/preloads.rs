//! Preloads.

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};
use wcdn_proto::pb::admin::v1 as admin;

use super::{
    HOME,
    error::Problem,
    model::lists::{NewPreload, Preload},
    read,
    visit::Door,
};
use crate::{auth::Operation, calls::preloads};

/// Have blobs fetched before anybody asks
///
/// By one node of each region, from which the others get them. Kept by this control plane alone, for an
/// hour.
#[utoipa::path(post, path = "/preload", tag = "cache", operation_id = "preload",
    request_body = NewPreload,
    responses((status = 202, body = Preload, headers(("location" = String)))))]
pub(super) async fn begin(door: Door, body: Body) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Preload).await?;
    let NewPreload { ids, regions } = read::json(&door.head.headers, body, read::BODY).await?;
    let begun = preloads::begin(&door.desk, &caller, admin::PreloadRequest { ids, regions })?;
    let job = begun.job.unwrap_or_default();
    let location = format!("{HOME}/preload/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(Preload::from(job))).into_response())
}

/// How far a preload is
#[utoipa::path(get, path = "/preload/{id}", tag = "cache", operation_id = "getPreload",
    params(("id" = String, Path, description = "of the preload")),
    responses((status = 200, body = Preload)))]
pub(super) async fn get(door: Door, Path(id): Path<String>) -> Result<Json<Preload>, Problem> {
    door.admit(Operation::WatchPreload).await?;
    Ok(Json(preloads::standing(&door.desk, &id)?.into()))
}
