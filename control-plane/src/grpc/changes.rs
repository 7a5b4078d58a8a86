//! Calls that change something everywhere.

use tonic::Request;
use wcdn_proto::pb::admin::v1 as admin;

use super::{admit, error::Refusal, parse};
use crate::{
    change::{self, Asked},
    desk::Desk,
};

pub(super) async fn purge(
    desk: &Desk,
    request: Request<admin::PurgeRequest>,
) -> Result<admin::PurgeResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let purge = parse::purge(&request)?;
    let token = parse::token(request.idempotency_token)?;
    let asked = if request.force { Asked::ForcedPurge(purge) } else { Asked::Purge(purge) };
    let change = append(desk, asked, caller.name, token).await?;
    Ok(admin::PurgeResponse { change: Some(change) })
}

pub(super) async fn block(
    desk: &Desk,
    request: Request<admin::BlockRequest>,
) -> Result<admin::BlockResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let ids = parse::blocked(&request.ids)?;
    let reason = parse::text("reason", request.reason)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Block { ids, reason }, caller.name, token).await?;
    Ok(admin::BlockResponse { change: Some(change) })
}

pub(super) async fn unblock(
    desk: &Desk,
    request: Request<admin::UnblockRequest>,
) -> Result<admin::UnblockResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let ids = parse::blocked(&request.ids)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Unblock(ids), caller.name, token).await?;
    Ok(admin::UnblockResponse { change: Some(change) })
}

pub(super) async fn pin(
    desk: &Desk,
    request: Request<admin::PinRequest>,
) -> Result<admin::PinResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let ids = parse::pinned(&request.ids)?;
    let note = parse::text("note", request.note)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Pin { ids, note }, caller.name, token).await?;
    Ok(admin::PinResponse { change: Some(change) })
}

pub(super) async fn unpin(
    desk: &Desk,
    request: Request<admin::UnpinRequest>,
) -> Result<admin::UnpinResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let ids = parse::pinned(&request.ids)?;
    let token = parse::token(request.idempotency_token)?;
    let change = append(desk, Asked::Unpin(ids), caller.name, token).await?;
    Ok(admin::UnpinResponse { change: Some(change) })
}

pub(super) async fn barrier(
    desk: &Desk,
    request: Request<admin::BarrierRequest>,
) -> Result<admin::BarrierResponse, Refusal> {
    let (caller, _) = admit::operator(request)?;
    let change = append(desk, Asked::Barrier, caller.name, None).await?;
    Ok(admin::BarrierResponse { change: Some(change) })
}

/// Returns once it is on the disk.
pub(super) async fn append(
    desk: &Desk,
    asked: Asked,
    by: String,
    token: Option<String>,
) -> Result<admin::Change, Refusal> {
    let recorded = desk.log.append(change::Request { asked, by, token }).await?;
    Ok(recorded.to_wire())
}
