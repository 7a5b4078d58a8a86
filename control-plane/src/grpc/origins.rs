//! The origin pool: reading it and replacing it.

use tonic::Request;
use wcdn_proto::pb::{admin::v1 as admin, edge::v1::OriginPool};

use super::{admit, changes::append, error::Refusal, parse};
use crate::{change::Asked, desk::Desk};

pub(super) fn get(
    desk: &Desk,
    request: Request<admin::GetOriginsRequest>,
) -> Result<admin::GetOriginsResponse, Refusal> {
    admit::operator(request)?;
    let pool = desk.log.pools().borrow().clone();
    Ok(admin::GetOriginsResponse { pool: Some(pool) })
}

pub(super) async fn set(
    desk: &Desk,
    request: Request<admin::SetOriginsRequest>,
) -> Result<admin::SetOriginsResponse, Refusal> {
    let (caller, request) = admit::operator(request)?;
    let pool = parse::pool(request.pool)?;
    let next = OriginPool { revision: pool.revision.saturating_add(1), ..pool.clone() };
    let change = append(desk, Asked::Origins(pool), caller.name, None).await?;
    Ok(admin::SetOriginsResponse { change: Some(change), pool: Some(next) })
}
