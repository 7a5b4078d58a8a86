//! Origins, and how they are doing.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::header::ETAG;
use serde::Deserialize;
use tokio_stream::StreamExt as _;
use utoipa::IntoParams;
use wcdn_proto::pb::admin::v1::{self as admin, OriginKind, refresh_origins_request::Source};

use super::{
    error::Problem,
    model::origin::{
        NewPool, OriginsHealth, Pool, ProbeRequest, Probed, RefreshRequest, Refreshed, SetPool,
    },
    read::{self, Limit},
    visit::Door,
};
use crate::{
    auth::Operation,
    calls::{health, origins},
    refusal::Refusal,
};

/// The origins of every edge
#[utoipa::path(get, path = "/origins", tag = "origins", operation_id = "getOrigins",
    responses((status = 200, body = Pool, headers(("etag" = String)))))]
pub(super) async fn get(door: Door) -> Result<Response, Problem> {
    let caller = door.admit(Operation::GetOrigins).await?;
    let told = origins::get(&door.desk, &caller, admin::GetOriginsRequest {})?;
    let pool = Pool::from(told.pool.unwrap_or_default());
    Ok(([(ETAG, read::tag(pool.revision))], Json(pool)).into_response())
}

/// Replace the origins of every edge
#[utoipa::path(put, path = "/origins", tag = "origins", operation_id = "setOrigins",
    params(("If-Match" = String, Header, description = "the ETag of what is replaced, or *")),
    request_body = NewPool,
    responses((status = 200, body = SetPool, headers(("etag" = String)))))]
pub(super) async fn set(door: Door, body: Body) -> Result<Response, Problem> {
    let caller = door.admit(Operation::SetOrigins).await?;
    let revision = read::if_match(&door.head.headers)?;
    let asked: NewPool = read::json(&door.head.headers, body, read::BODY).await?;
    let revision = match revision {
        Some(revision) => revision,
        None => door.desk.health.pools.now().revision,
    };
    let pool = Some(asked.replacing(revision));
    let told = origins::set(&door.desk, &caller, admin::SetOriginsRequest { pool }).await?;
    let pool = Pool::from(told.pool.unwrap_or_default());
    let tag = [(ETAG, read::tag(pool.revision))];
    let change = told.change.unwrap_or_default().into();
    Ok((tag, Json(SetPool { change, pool })).into_response())
}

/// Which origins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HealthQuery {
    /// Of this name; of all if it is left out.
    #[serde(default)]
    #[param(required = false)]
    name: String,
    /// "aggregator" or "publisher"; both if it is left out.
    #[serde(default)]
    #[param(required = false)]
    kind: String,
    /// Only the healthy.
    #[serde(default)]
    #[param(required = false)]
    healthy: bool,
    /// So many, those with the highest score first; 0 for all.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    best: Limit,
    /// Without probes, strip, regions and changes.
    #[serde(default)]
    #[param(required = false)]
    brief: bool,
}

/// How origins and publishers are doing, and why
#[utoipa::path(get, path = "/origins/health", tag = "origins", operation_id = "getOriginHealth",
    params(HealthQuery), responses((status = 200, body = OriginsHealth)))]
pub(super) async fn health(door: Door) -> Result<Json<OriginsHealth>, Problem> {
    let caller = door.admit(Operation::GetOriginHealth).await?;
    let query: HealthQuery = read::query(&door.head.uri)?;
    let kind = match query.kind.as_str() {
        "" => OriginKind::Unspecified,
        "aggregator" => OriginKind::Aggregator,
        "publisher" => OriginKind::Publisher,
        _ => return Err(Refusal::invalid("kind", "must be aggregator or publisher").into()),
    };
    let request = admin::GetOriginHealthRequest {
        names: Some(query.name).filter(|name| !name.is_empty()).into_iter().collect(),
        kind: kind.into(),
        healthy: query.healthy,
        best: query.best.0,
        brief: query.brief,
    };
    Ok(Json(health::get(&door.desk, &caller, request).await?.into()))
}

/// Ask origins now
#[utoipa::path(post, path = "/origins/probe", tag = "origins", operation_id = "probeOrigins",
    request_body(content = Option<ProbeRequest>),
    responses((status = 200, body = Probed)))]
pub(super) async fn probe(door: Door, body: Body) -> Result<Json<Probed>, Problem> {
    let caller = door.admit(Operation::ProbeOrigins).await?;
    let ProbeRequest { names } = read::json_or_nothing(&door.head.headers, body).await?;
    let request = admin::ProbeOriginsRequest { names, kind: OriginKind::Unspecified.into() };
    let mut told = health::probe(&door.desk, &caller, request)?;
    let mut items = Vec::new();
    while let Some(next) = told.next().await {
        items.push(next?.into());
    }
    Ok(Json(Probed { items }))
}

/// Bring the origins up to date with the list of public operators
#[utoipa::path(post, path = "/origins/refresh", tag = "origins", operation_id = "refreshOrigins",
    request_body = RefreshRequest,
    responses((status = 200, body = Refreshed)))]
pub(super) async fn refresh(door: Door, body: Body) -> Result<Json<Refreshed>, Problem> {
    let caller = door.admit(Operation::RefreshOrigins).await?;
    let asked: RefreshRequest = read::json(&door.head.headers, body, read::BODY).await?;
    let request = admin::RefreshOriginsRequest {
        source: Some(Source::Url(asked.url)),
        dry_run: asked.dry_run,
        force: asked.force,
    };
    Ok(Json(origins::refresh(&door.desk, &caller, request).await?.into()))
}
