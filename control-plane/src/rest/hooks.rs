//! Hooks: made, listed and ended.

use axum::{
    Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use wcdn_proto::pb::admin::v1 as admin;

use super::{
    error::Problem,
    model::{
        Page,
        lists::{Hook, MadeHook, NewHook},
    },
    read,
    visit::Door,
};
use crate::{auth::Operation, calls::hooks};

/// Every hook
#[utoipa::path(get, path = "/hooks", tag = "hooks", operation_id = "listHooks",
    responses((status = 200, body = Page<Hook>)))]
pub(super) async fn list(door: Door) -> Result<Json<Page<Hook>>, Problem> {
    let caller = door.admit(Operation::ListHooks).await?;
    let list = hooks::list(&door.desk, &caller, admin::ListHooksRequest {}).await?;
    Ok(Json(Page::new(list.hooks, String::new())))
}

/// Make a hook
///
/// Whoever knows its path and its secret may purge, and nothing else: `POST` there what `/invalidate` takes,
/// signed as Standard Webhooks have it. Both are in the answer, and nowhere else.
#[utoipa::path(post, path = "/hooks", tag = "hooks", operation_id = "createHook",
    request_body = NewHook,
    responses((status = 201, body = MadeHook)))]
pub(super) async fn create(door: Door, body: Body) -> Result<Response, Problem> {
    let caller = door.admit(Operation::CreateHook).await?;
    let NewHook { name, all, force } = read::json(&door.head.headers, body, read::BODY).await?;
    let request = admin::CreateHookRequest { name, all, force };
    let made = hooks::create(&door.desk, &caller, request).await?;
    let hook = made.hook.map(Hook::from);
    let told = MadeHook { hook, path: made.path, secret: made.secret };
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

/// End a hook
#[utoipa::path(delete, path = "/hooks/{id}", tag = "hooks", operation_id = "deleteHook",
    params(("id" = String, Path, description = "of the hook")),
    responses((status = 204)))]
pub(super) async fn delete(door: Door, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let caller = door.admit(Operation::DeleteHook).await?;
    hooks::delete(&door.desk, &caller, admin::DeleteHookRequest { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
