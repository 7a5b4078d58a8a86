//! Calls that change something everywhere.

use tokio::time::Instant;
use wcdn_proto::{Scope, pb::admin::v1 as admin};

use super::parse;
use crate::{
    audit::{Class, Draft, Outcome},
    auth::{Author, Caller},
    change::{self, Asked},
    desk::Desk,
    refusal::Refusal,
};

pub(crate) async fn purge(
    desk: &Desk,
    caller: &Caller,
    request: admin::PurgeRequest,
) -> Result<admin::PurgeResponse, Refusal> {
    if request.all {
        let allowed = caller.needs(Scope::CachePurgeAll);
        allowed.inspect_err(|refusal| note_refused(desk, "purge", caller.author(), refusal))?;
    }
    let purge = parse::purge(&request)?;
    let token = parse::token(request.idempotency_token)?;
    let asked = if request.force { Asked::ForcedPurge(purge) } else { Asked::Purge(purge) };
    let change = append(desk, asked, caller, token).await?;
    Ok(admin::PurgeResponse { change: Some(change) })
}

pub(crate) async fn block(
    desk: &Desk,
    caller: &Caller,
    request: admin::BlockRequest,
) -> Result<admin::BlockResponse, Refusal> {
    let ids = parse::blocked(&request.ids)?;
    let reason = parse::text("reason", request.reason)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Block { ids, reason }, caller, token).await?;
    Ok(admin::BlockResponse { change: Some(change) })
}

pub(crate) async fn unblock(
    desk: &Desk,
    caller: &Caller,
    request: admin::UnblockRequest,
) -> Result<admin::UnblockResponse, Refusal> {
    let ids = parse::blocked(&request.ids)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Unblock(ids), caller, token).await?;
    Ok(admin::UnblockResponse { change: Some(change) })
}

pub(crate) async fn pin(
    desk: &Desk,
    caller: &Caller,
    request: admin::PinRequest,
) -> Result<admin::PinResponse, Refusal> {
    let ids = parse::pinned(&request.ids)?;
    let note = parse::text("note", request.note)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Pin { ids, note }, caller, token).await?;
    Ok(admin::PinResponse { change: Some(change) })
}

pub(crate) async fn unpin(
    desk: &Desk,
    caller: &Caller,
    request: admin::UnpinRequest,
) -> Result<admin::UnpinResponse, Refusal> {
    let ids = parse::pinned(&request.ids)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Unpin(ids), caller, token).await?;
    Ok(admin::UnpinResponse { change: Some(change) })
}

pub(crate) async fn barrier(
    desk: &Desk,
    caller: &Caller,
    _: admin::BarrierRequest,
) -> Result<admin::BarrierResponse, Refusal> {
    let change = append(desk, Asked::Barrier, caller, None).await?;
    Ok(admin::BarrierResponse { change: Some(change) })
}

/// Returns once it is on the disk.
pub(crate) async fn append(
    desk: &Desk,
    asked: Asked,
    caller: &Caller,
    token: Option<String>,
) -> Result<admin::Change, Refusal> {
    let (kind, by) = (asked.kind(), caller.author());
    let request = change::Request { asked, by: by.clone(), token };
    match desk.log.append(request).await.map_err(Refusal::from) {
        Ok(recorded) => Ok(recorded.to_wire()),
        Err(refusal) => {
            note_refused(desk, kind, by, &refusal);
            Err(refusal)
        }
    }
}

/// What was not done is remembered, too.
pub(crate) fn note_refused(desk: &Desk, action: &str, by: Author, refusal: &Refusal) {
    let target = refusal.reason().to_owned();
    let outcome =
        if matches!(refusal, Refusal::StoreFailed) { Outcome::Failed } else { Outcome::Refused };
    let draft = Draft::done(Class::Operation, action, by);
    desk.audit.note_often(Draft { outcome, target, ..draft }, Instant::now());
}
