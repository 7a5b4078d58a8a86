//! The pool brought up to date with a list of public operators.

use std::path::Path;

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{
    RefreshOriginsRequest, RefreshOriginsResponse, refresh_origins_request::Source,
};

use super::pool::{self, PoolError};
use crate::{
    args::WaitArgs,
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    receipt::{self, ChangeDocument},
    text,
};

const WHAT: &str = "the refresh of origins";

/// As the service limits it, and one more, so that it refuses what is longer.
const MAX_BYTES: u64 = (1 << 20) + 1;

/// What a refresh answers when it is not waited for.
#[derive(Debug, Serialize)]
struct Document<'a> {
    change: Option<ChangeDocument>,
    added: &'a [String],
    removed: &'a [String],
    altered: &'a [String],
    skipped: u32,
}

/// Where a list is.
pub(super) fn source(from: &str) -> Result<Source, PoolError> {
    if from.starts_with("https://") || from.starts_with("http://") {
        return Ok(Source::Url(from.to_owned()));
    }
    Ok(Source::Document(pool::text_of(Path::new(from), MAX_BYTES)?.into()))
}

pub(super) async fn run(
    client: &mut Client,
    output: &Output,
    request: RefreshOriginsRequest,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.refresh_origins(request).await;
    let is_dry = request.dry_run;
    // It may have to wait for whoever has the list.
    let answer = client.open(WHAT, request, rpc).await?;
    let RefreshOriginsResponse { change, added, removed, altered, skipped, .. } = answer;
    if output.is_json() && !wait.wait {
        let change = change.as_ref().map(ChangeDocument::from);
        let (added, removed, altered) = (&added[..], &removed[..], &altered[..]);
        output.document(&Document { change, added, removed, altered, skipped })?;
        return Ok(Outcome::Done);
    }
    if !output.is_json() && !output.is_quiet() {
        for (sign, names) in [("+", &added), ("-", &removed), ("~", &altered)] {
            for name in names {
                output.line(&text::plain(&format!("{sign} {name}")))?;
            }
        }
    }
    match change {
        Some(change) => receipt::committed(client, output, change, wait).await,
        None => {
            let is_same = added.is_empty() && removed.is_empty() && altered.is_empty();
            let remark = if is_same { "the origins are up to date" } else { "nothing was changed" };
            if is_same || is_dry {
                output.remark(remark)?;
            }
            Ok(Outcome::Done)
        }
    }
}
