//! The origin pool: reading it and replacing it.

use wcdn_proto::pb::{
    admin::v1::{self as admin, refresh_origins_request::Source},
    edge::v1::OriginPool,
};
use wcdn_walrus::Operators;

use super::{changes::append, parse};
use crate::{
    auth::Caller,
    change::Asked,
    desk::Desk,
    health::{
        fault::told,
        operators::{Difference, ListError},
        refresh::RefreshError,
    },
    refusal::Refusal,
};

pub(crate) fn get(
    desk: &Desk,
    _: &Caller,
    _: admin::GetOriginsRequest,
) -> Result<admin::GetOriginsResponse, Refusal> {
    let pool = desk.health.pools.now();
    Ok(admin::GetOriginsResponse { pool: Some(pool) })
}

pub(crate) async fn set(
    desk: &Desk,
    caller: &Caller,
    request: admin::SetOriginsRequest,
) -> Result<admin::SetOriginsResponse, Refusal> {
    let pool = parse::pool(request.pool)?;
    let next = OriginPool { revision: pool.revision.saturating_add(1), ..pool.clone() };
    let change = append(desk, Asked::Origins(pool), caller, None).await?;
    Ok(admin::SetOriginsResponse { change: Some(change), pool: Some(next) })
}

pub(crate) async fn refresh(
    desk: &Desk,
    caller: &Caller,
    request: admin::RefreshOriginsRequest,
) -> Result<admin::RefreshOriginsResponse, Refusal> {
    let (lists, pools) = (&desk.health.lists, &desk.health.pools);
    let operators = match request.source {
        Some(Source::Document(document)) => Operators::parse(&document)
            .map_err(|error| Refusal::invalid("document", told(&error)))?,
        Some(Source::Url(url)) => lists.fetch(&url).await?,
        None => return Err(Refusal::invalid("source", "is missing: give a document or a URL")),
    };
    let (mut difference, mut next) = (Difference::default(), OriginPool::default());
    let merge = |pool: &mut OriginPool| -> Result<bool, RefreshError> {
        difference = lists.merge(pool, &operators, request.force)?;
        let is_another = !difference.is_empty() && !request.dry_run;
        next = OriginPool { revision: pool.revision + u64::from(is_another), ..pool.clone() };
        Ok(is_another)
    };
    let change = pools.edit(&caller.author(), merge).await?;
    Ok(admin::RefreshOriginsResponse {
        change: change.map(|change| change.to_wire()),
        pool: Some(next),
        added: difference.added,
        removed: difference.removed,
        altered: difference.altered,
        skipped: u32::try_from(operators.skipped()).unwrap_or(u32::MAX),
    })
}

impl From<ListError> for Refusal {
    fn from(error: ListError) -> Self {
        Self::List { problem: told(&error) }
    }
}

impl From<RefreshError> for Refusal {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::List(error) => error.into(),
            RefreshError::Log(error) => error.into(),
        }
    }
}
