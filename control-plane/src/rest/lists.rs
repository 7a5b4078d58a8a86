//! What is pinned, and what is withheld.

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};
use serde::Deserialize;
use utoipa::IntoParams;
use wcdn_proto::pb::admin::v1::{self as admin, PinState};

use super::{
    HOME,
    error::Problem,
    model::{
        Page,
        change::Changed,
        lists::{Block, NewBlock, NewPin, Pin},
    },
    read::{self, Limit},
    visit::Door,
};
use crate::{
    auth::Operation,
    calls::{changes, parse, pins, queries},
    refusal::Refusal,
};

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Cursor {
    /// `next` of the page before.
    #[serde(default)]
    #[param(required = false)]
    pub(super) cursor: String,
    /// Items of a page: 100 if it is left out, 1,000 at most.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    pub(super) limit: Limit,
}

/// Which pins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PinsQuery {
    /// `next` of the page before.
    #[serde(default)]
    #[param(required = false)]
    cursor: String,
    /// Items of a page: 100 if it is left out, 1,000 at most.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    limit: Limit,
    /// Only those that are "requested", "filling", "held", "degraded" or "over_budget".
    #[serde(default)]
    #[param(required = false)]
    state: String,
}

/// What is pinned, and how far it is
#[utoipa::path(get, path = "/pins", tag = "pins", operation_id = "listPins", params(PinsQuery),
    responses((status = 200, body = Page<Pin>)))]
pub(super) async fn pins(door: Door) -> Result<Json<Page<Pin>>, Problem> {
    let caller = door.admit(Operation::ListPins).await?;
    let query: PinsQuery = read::query(&door.head.uri)?;
    let name = format!("PIN_STATE_{}", query.state.to_ascii_uppercase());
    let state = match query.state.is_empty() {
        true => PinState::Unspecified,
        false => PinState::from_str_name(&name)
            .filter(|it| *it != PinState::Unspecified)
            .ok_or_else(|| {
                let shown: String = query.state.chars().take(40).collect();
                let problem = format!(
                    "is {shown:?}; it is requested, filling, held, degraded or over_budget"
                );
                Refusal::invalid("state", problem)
            })?,
    };
    let request = admin::ListPinsRequest {
        page_size: query.limit.0,
        page_token: query.cursor,
        state: state.into(),
    };
    let list = pins::list(&door.desk, &caller, request).await?;
    Ok(Json(Page::new(list.pins, list.next_page_token)))
}

/// Keep a blob ready in every region
#[utoipa::path(put, path = "/pins/{id}", tag = "pins", operation_id = "pin",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    request_body(content = Option<NewPin>),
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn pin(
    door: Door,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Pin).await?;
    let NewPin { note } = read::json_or_nothing(&door.head.headers, body).await?;
    let idempotency_token = read::idempotency_key(&door.head.headers)?;
    let request = admin::PinRequest { ids: vec![id], note, idempotency_token };
    let done = changes::pin(&door.desk, &caller, request).await?;
    Ok(changed(done.change))
}

/// How far a pin is
#[utoipa::path(get, path = "/pins/{id}", tag = "pins", operation_id = "getPin",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    responses((status = 200, body = Pin)))]
pub(super) async fn get_pin(door: Door, Path(id): Path<String>) -> Result<Json<Pin>, Problem> {
    let caller = door.admit(Operation::ListPins).await?;
    let blob = parse::content("id", &id)?.blob();
    let pin = pins::get(&door.desk, &caller, blob).await?;
    Ok(Json(pin.into()))
}

/// Keep a blob no longer than others
#[utoipa::path(delete, path = "/pins/{id}", tag = "pins", operation_id = "unpin",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn unpin(door: Door, Path(id): Path<String>) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Unpin).await?;
    let idempotency_token = read::idempotency_key(&door.head.headers)?;
    let request = admin::UnpinRequest { ids: vec![id], idempotency_token };
    let done = changes::unpin(&door.desk, &caller, request).await?;
    Ok(changed(done.change))
}

/// What is withheld
#[utoipa::path(get, path = "/blocks", tag = "blocks", operation_id = "listBlocks", params(Cursor),
    responses((status = 200, body = Page<Block>)))]
pub(super) async fn blocks(door: Door) -> Result<Json<Page<Block>>, Problem> {
    let caller = door.admit(Operation::ListBlocks).await?;
    let Cursor { cursor, limit } = read::query(&door.head.uri)?;
    let request = admin::ListBlocksRequest { page_size: limit.0, page_token: cursor };
    let list = queries::list_blocks(&door.desk, &caller, request).await?;
    Ok(Json(Page::new(list.blocks, list.next_page_token)))
}

/// Withhold an id on every edge
///
/// It is answered with 451 from then on, and running responses are cut.
#[utoipa::path(put, path = "/blocks/{id}", tag = "blocks", operation_id = "block",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    request_body(content = Option<NewBlock>),
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn block(
    door: Door,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Block).await?;
    let NewBlock { reason } = read::json_or_nothing(&door.head.headers, body).await?;
    let idempotency_token = read::idempotency_key(&door.head.headers)?;
    let request = admin::BlockRequest { ids: vec![id], reason, idempotency_token };
    let done = changes::block(&door.desk, &caller, request).await?;
    Ok(changed(done.change))
}

/// Withhold an id no longer
#[utoipa::path(delete, path = "/blocks/{id}", tag = "blocks", operation_id = "unblock",
    params(("id" = String, Path, description = "a blob id or a quilt patch id")),
    responses((status = 202, body = Changed, headers(("location" = String)))))]
pub(super) async fn unblock(door: Door, Path(id): Path<String>) -> Result<Response, Problem> {
    let caller = door.admit(Operation::Unblock).await?;
    let idempotency_token = read::idempotency_key(&door.head.headers)?;
    let request = admin::UnblockRequest { ids: vec![id], idempotency_token };
    let done = changes::unblock(&door.desk, &caller, request).await?;
    Ok(changed(done.change))
}

/// A change that was made, and where its receipt is.
pub(super) fn changed(change: Option<admin::Change>) -> Response {
    let change = change.unwrap_or_default();
    let location = format!("{HOME}/changes/{}", change.id);
    let told = Changed { change: change.into() };
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(told)).into_response()
}
