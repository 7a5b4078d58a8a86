//! What comes through hooks.

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};

use super::{
    HOME,
    error::Problem,
    model::change::Purged,
    read::{self, LARGE_BODY},
    visit::Door,
};
use crate::calls::hooks;

/// A call through a hook: signed, and answered as `/invalidate` is.
pub(super) async fn call(
    door: Door,
    Path(token): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let body = read::bytes(body, LARGE_BODY).await?;
    let headers = &door.head.headers;
    let purged = hooks::receive(&door.desk, &token, headers, &body, door.address()).await?;
    let purge = purged.change.unwrap_or_default();
    let location = format!("{HOME}/purges/{}", purge.id);
    let told = Purged { purge: purge.into() };
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(told)).into_response())
}
