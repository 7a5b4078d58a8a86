//! The audit log.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use tokio_stream::StreamExt as _;
use utoipa::IntoParams;
use wcdn_proto::pb::admin::v1::{self as admin, AuditFormat};

use super::{
    error::Problem,
    model::{Page, audit::AuditEntry, key::moment},
    read::{self, Limit},
    visit::Door,
};
use crate::{auth::Operation, calls::audit, refusal::Refusal};

/// Which entries: all that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// `next` of the page before.
    #[serde(default)]
    #[param(required = false)]
    cursor: String,
    /// Items of a page: 100 if it is left out, 1,000 at most.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    limit: Limit,
    /// From then on.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before then.
    #[param(format = DateTime)]
    until: Option<String>,
    /// "authentication", "operation" or "system".
    #[serde(default)]
    #[param(required = false)]
    class: String,
    /// Such as "purge"; with a dot at the end, all that begin so: "key.".
    #[serde(default)]
    #[param(required = false)]
    action: String,
    /// "done", "refused" or "failed".
    #[serde(default)]
    #[param(required = false)]
    outcome: String,
    /// The id or the name of a key.
    #[serde(default)]
    #[param(required = false)]
    key: String,
    /// Of a change, a key, a node.
    #[serde(default)]
    #[param(required = false)]
    target: String,
    #[serde(default)]
    #[param(required = false)]
    request_id: String,
    /// Of an export: "jsonl" or "csv".
    #[serde(default)]
    #[param(required = false)]
    format: String,
}

/// Who did what, the latest first
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list(door: Door) -> Result<Json<Page<AuditEntry>>, Problem> {
    let caller = door.admit(Operation::ListAudit).await?;
    let query: AuditQuery = read::query(&door.head.uri)?;
    if !query.format.is_empty() {
        let problem = "is of use for /audit/export only";
        return Err(Refusal::invalid("format", problem).into());
    }
    let (page_size, page_token) = (query.limit.0, query.cursor.clone());
    let filter = Some(query.filter()?);
    let request = admin::ListAuditRequest { filter, page_size, page_token };
    let list = audit::list(&door.desk, &caller, request).await?;
    Ok(Json(Page::new(list.entries, list.next_page_token)))
}

/// Who did what, as a file
///
/// The oldest entry first. As JSON Lines and without a filter it ends with the signed head of the chain, and
/// `wcdn audit verify` checks it.
#[utoipa::path(get, path = "/audit/export", tag = "audit", operation_id = "exportAudit",
    params(AuditQuery),
    responses((status = 200, content((String = "application/jsonl"), (String = "text/csv")))))]
pub(super) async fn export(door: Door) -> Result<Response, Problem> {
    let caller = door.admit(Operation::ExportAudit).await?;
    let query: AuditQuery = read::query(&door.head.uri)?;
    let (format, kind, name) = match query.format.as_str() {
        "" | "jsonl" => (AuditFormat::Jsonl, "application/jsonl", "audit.jsonl"),
        "csv" => (AuditFormat::Csv, "text/csv; charset=utf-8", "audit.csv"),
        _ => return Err(Refusal::invalid("format", "must be jsonl or csv").into()),
    };
    if query.limit.0 > 0 || !query.cursor.is_empty() {
        let problem = "is of use for /audit only; an export has everything";
        return Err(Refusal::invalid("limit", problem).into());
    }
    let filter = Some(query.filter()?);
    let request = admin::ExportAuditRequest { filter, format: format.into() };
    let lines = audit::export(&door.desk, &caller, request).await?;
    // One that breaks off is no whole chain, and shows as such.
    let lines = lines.map(|part| part.map(|part| part.lines).map_err(|refusal| refusal.message()));
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(lines)).into_response())
}

impl AuditQuery {
    fn filter(self) -> Result<admin::AuditFilter, Problem> {
        Ok(admin::AuditFilter {
            from_ms: moment("from", self.from)?,
            until_ms: moment("until", self.until)?,
            class: self.class,
            action: self.action,
            outcome: self.outcome,
            key: self.key,
            target: self.target,
            request_id: self.request_id,
        })
    }
}
