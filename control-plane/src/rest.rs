//! Calls by REST: `/api/v1`, and what a browser needs to look at it.
//!
//! A handler finds out who calls and whether they may, before a body is read ([`visit::Door`]); reads the
//! body ([`read`]); asks [`calls`](crate::calls), as gRPC does; and says it in JSON ([`model`]). What it
//! refuses is made into a problem by [`visit`], which every response passes.

mod audit;
mod cache;
mod cors;
mod docs;
mod error;
mod examples;
mod hooks;
mod incoming;
mod keys;
mod lists;
mod live;
mod model;
mod openapi;
mod origins;
mod preloads;
mod read;
mod serve;
mod system;
mod visit;

use std::{future::ready, sync::Arc};

use axum::{
    Router,
    http::Uri,
    middleware,
    response::Redirect,
    routing::{any, get},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::error::Problem;
pub(crate) use self::{cors::Cors, serve::serve};
use crate::desk::Desk;

/// Where the API is.
const HOME: &str = "/api/v1";

/// What can be asked for under [`HOME`], and how it is described.
fn api() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::with_openapi(openapi::about())
        .routes(routes!(cache::invalidate))
        .routes(routes!(cache::forget))
        .routes(routes!(cache::purge))
        .routes(routes!(cache::change))
        .routes(routes!(cache::blob))
        .routes(routes!(cache::explain))
        .routes(routes!(preloads::begin))
        .routes(routes!(preloads::get))
        .routes(routes!(lists::pins))
        .routes(routes!(lists::pin))
        .routes(routes!(lists::get_pin))
        .routes(routes!(lists::unpin))
        .routes(routes!(lists::blocks))
        .routes(routes!(lists::block))
        .routes(routes!(lists::unblock))
        .routes(routes!(origins::get))
        .routes(routes!(origins::set))
        .routes(routes!(origins::health))
        .routes(routes!(origins::probe))
        .routes(routes!(origins::refresh))
        .routes(routes!(system::nodes))
        .routes(routes!(system::status))
        .routes(routes!(system::barrier))
        .routes(routes!(system::health))
        .routes(routes!(keys::list))
        .routes(routes!(keys::create))
        .routes(routes!(keys::get))
        .routes(routes!(keys::update))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::me))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::create))
        .routes(routes!(hooks::delete))
        .routes(routes!(live::page))
        .routes(routes!(live::live))
        .routes(routes!(live::socket))
}

/// Everything on the port.
fn router(desk: &Arc<Desk>) -> Router {
    let (api, described) = api().split_for_parts();
    let described = openapi::finished(&described);
    let api = api.route("/openapi.json", get(move || ready(docs::described(described.clone()))));
    Router::new()
        .nest(HOME, api)
        .merge(docs::pages())
        .route("/hooks/{token}", axum::routing::post(incoming::call))
        .route("/health", get(system::health))
        .route("/preload", any(home))
        .route("/cache/{id}", any(home))
        .route("/upload/file", any(|| async { Redirect::permanent("/api/v1/files") }))
        .route("/upload/vaults", any(|| async { Redirect::permanent("/api/v1/vaults") }))
        .fallback(|| async { Problem::NoPath })
        .method_not_allowed_fallback(|| async { Problem::Method })
        .layer(middleware::from_fn_with_state(Arc::clone(desk), visit::attend))
        .with_state(Arc::clone(desk))
}

/// Short paths lead to their home, with the same method and body.
async fn home(uri: Uri) -> Redirect {
    Redirect::permanent(&format!("{HOME}{}", uri.path_and_query().map_or("", |it| it.as_str())))
}

#[cfg(test)]
mod tests;
