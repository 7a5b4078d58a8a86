//! Hooks: made, listed, ended, and what comes through them.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use serde::Deserialize;
use wcdn_proto::{Scope, pb::admin::v1 as admin};

use super::{
    changes::{self, note_refused},
    parse,
};
use crate::{
    auth::{Author, Caller, request_id, within_budget},
    base32,
    desk::Desk,
    hooks::{Hook, Token},
    refusal::Refusal,
    store::{hooks::HookRefused, now_ms},
};

/// What a call through a hook asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    force: bool,
}

pub(crate) async fn create(
    desk: &Desk,
    caller: &Caller,
    request: admin::CreateHookRequest,
) -> Result<admin::CreateHookResponse, Refusal> {
    let name = parse::name(request.name)?;
    let needed = if request.all { Scope::CachePurgeAll } else { Scope::CachePurge };
    let allowed = caller.needs(needed);
    allowed.inspect_err(|refusal| note_refused(desk, "hook.create", caller.author(), refusal))?;
    let id = base32::encode(&rand::random::<[u8; 6]>());
    let hook = Hook {
        id: id.parse().expect("ten digits are an id"),
        name,
        all: request.all,
        force: request.force,
        created_at_ms: now_ms(),
        created_by: caller.key.name.clone(),
        used_at_ms: 0,
    };
    let token = Token::generate();
    let (hash, by) = (desk.keys.hook(&token), caller.author());
    let adding = desk.store.add_hook(&hook, hash, &by);
    match desk.store.in_time(adding).await? {
        Ok(()) => {}
        Err(HookRefused::NameTaken) => return Err(Refusal::HookNameTaken { name: hook.name }),
        Err(HookRefused::Full) => return Err(Refusal::Full { what: "hooks" }),
    }
    let secret = desk.hook_root.secret(&hook.id).expose();
    let path = format!("/hooks/{}", token.expose());
    Ok(admin::CreateHookResponse { hook: Some(to_wire(hook)), path, secret })
}

pub(crate) async fn list(
    desk: &Desk,
    _: &Caller,
    _: admin::ListHooksRequest,
) -> Result<admin::ListHooksResponse, Refusal> {
    let hooks = desk.store.in_time(desk.store.hooks()).await?;
    Ok(admin::ListHooksResponse { hooks: hooks.into_iter().map(to_wire).collect() })
}

pub(crate) async fn delete(
    desk: &Desk,
    caller: &Caller,
    request: admin::DeleteHookRequest,
) -> Result<admin::DeleteHookResponse, Refusal> {
    let by = caller.author();
    let removing = desk.store.remove_hook(&request.id, &by);
    match desk.store.in_time(removing).await? {
        true => Ok(admin::DeleteHookResponse {}),
        false => Err(Refusal::NoHook),
    }
}

/// Does what a call through a hook asks for.
///
/// # Errors
/// Why it is not done, as the caller is told: nothing of a hook whose token they do not know.
pub(crate) async fn receive(
    desk: &Arc<Desk>,
    token: &str,
    headers: &HeaderMap,
    body: &[u8],
    address: Option<IpAddr>,
) -> Result<admin::PurgeResponse, Refusal> {
    let mut author = Author {
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        request_id: request_id(headers),
        ..Author::default()
    };
    let done = pass(desk, token, headers, body, address, &mut author).await;
    done.inspect_err(|refusal| note_refused(desk, "hook.call", author, refusal))
}

async fn pass(
    desk: &Arc<Desk>,
    token: &str,
    headers: &HeaderMap,
    body: &[u8],
    address: Option<IpAddr>,
    author: &mut Author,
) -> Result<admin::PurgeResponse, Refusal> {
    desk.limiter.may_try(address).map_err(|wait| Refusal::TooManyFailures { wait })?;
    let token = Token::parse(token).ok_or(Refusal::NoHook);
    let token = token.inspect_err(|_| desk.limiter.failed(address))?;
    let finding = desk.store.hook(desk.keys.hook(&token));
    let hook = desk.store.in_time(finding).await?.ok_or(Refusal::NoHook);
    let hook = hook.inspect_err(|_| desk.limiter.failed(address))?;
    let key = hook.key();
    (author.key_id, author.name) = (key.id.to_string(), key.name.clone());
    let budget = desk.limiter.key(&hook.id, 0).await;
    within_budget(budget.as_ref())?;
    let secret = desk.hook_root.secret(&hook.id);
    let id = secret.verify(headers, body, now_ms() / 1_000);
    let id = id.map_err(|problem| Refusal::HookNotSigned { problem: problem.to_string() })?;
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid("body", format!("is not what a hook takes: {error}")))?;
    if asked.force && !hook.force {
        return Err(Refusal::HookMayNotForce { hook: hook.name });
    }
    let request_id = author.request_id.clone();
    let caller = Caller { key: key.into(), address, request_id, budget, deadline: None };
    let Asked { ids, all, force } = asked;
    let request = admin::PurgeRequest { ids, all, force, idempotency_token: id };
    let purged = changes::purge(desk, &caller, request).await?;
    // It did what it should: that this is noted is not worth an error.
    if let Err(error) = desk.store.in_time(desk.store.hook_used(&hook)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "use of a hook is not noted");
    }
    Ok(purged)
}

fn to_wire(hook: Hook) -> admin::Hook {
    admin::Hook {
        id: hook.id.to_string(),
        name: hook.name,
        all: hook.all,
        force: hook.force,
        created_at_ms: hook.created_at_ms,
        created_by: hook.created_by,
        used_at_ms: hook.used_at_ms,
    }
}
