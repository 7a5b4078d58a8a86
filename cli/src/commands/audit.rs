//! The audit log: listed, taken away, and checked.

pub(super) mod verify;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{
    AuditEntry, AuditFilter, AuditFormat, ExportAuditRequest, ListAuditRequest,
};

use crate::{
    args::{FilterArgs, Format},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::{Cell, Table, Tone},
    text::{self, Moment, NOTHING},
};

const WHAT: &str = "the audit log";

/// The most that the service gives at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Serialize)]
struct Document {
    entries: Vec<EntryDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryDocument {
    seq: u64,
    at: Option<String>,
    class: String,
    action: String,
    outcome: String,
    key_id: String,
    key_name: String,
    address: String,
    request_id: String,
    target: String,
    count: u64,
    detail: serde_json::Value,
}

/// The latest entries, the latest last, as a log reads.
pub(super) async fn list(
    client: &mut Client,
    output: &Output,
    filter: FilterArgs,
    limit: u32,
) -> Result<Outcome, Failure> {
    let filter = asked(filter);
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    while entries.len() < limit as usize {
        let left = limit - u32::try_from(entries.len()).unwrap_or(limit);
        let (filter, page_size) = (Some(filter.clone()), left.min(PAGE));
        let question = ListAuditRequest { filter, page_size, page_token };
        let rpc = async |admin: &mut Admin, request| admin.audit.list_audit(request).await;
        let page = client.call(WHAT, question, rpc).await?;
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    entries.reverse();
    if output.is_json() {
        let entries = entries.into_iter().map(EntryDocument::from).collect();
        output.document(&Document { entries })?;
        return Ok(Outcome::Done);
    }
    let mut table =
        Table::new(["SEQ", "TIME", "KEY", "FROM", "ACTION", "OUTCOME", "COUNT", "TARGET"]);
    for entry in &entries {
        let time = text::time(entry.at_ms);
        let or_nothing =
            |text: &str| if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() };
        let tone = if entry.outcome == "done" { Tone::Plain } else { Tone::Doubtful };
        table.row([
            entry.seq.to_string().into(),
            time.as_deref().unwrap_or(NOTHING).into(),
            or_nothing(&entry.key_name).into(),
            or_nothing(&entry.address).into(),
            (&entry.action).into(),
            Cell::toned(&entry.outcome, tone),
            entry.count.to_string().into(),
            (&entry.target).into(),
        ]);
    }
    output.table(&table)?;
    if entries.is_empty() {
        output.remark("there is no such entry")?;
    }
    Ok(Outcome::Done)
}

/// Writes entries to a file that only its owner may read, or to standard output.
pub(super) async fn export(
    client: &mut Client,
    output: &Output,
    filter: FilterArgs,
    format: Format,
    to: Option<PathBuf>,
) -> Result<Outcome, Failure> {
    let format = match format {
        Format::Jsonl => AuditFormat::Jsonl,
        Format::Csv => AuditFormat::Csv,
    };
    let question = ExportAuditRequest { filter: Some(asked(filter)), format: format.into() };
    let rpc = async |admin: &mut Admin, request| admin.audit.export_audit(request).await;
    let mut lines = client.open(WHAT, question, rpc).await?;
    let mut sink: Box<dyn Write> = match &to {
        Some(path) => Box::new(create(path)?),
        None => Box::new(io::stdout()),
    };
    let mut count: u64 = 0;
    while let Some(part) = client.next_in_time(WHAT, &mut lines).await? {
        count += part.lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        sink.write_all(&part.lines)?;
    }
    sink.flush()?;
    if let Some(path) = &to {
        output.remark(&format!("{} in {}", text::count(count, "line"), path.display()))?;
    }
    Ok(Outcome::Done)
}

/// A file that does not exist yet: an export is evidence, and replaces none.
fn create(path: &Path) -> io::Result<std::fs::File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display()))
    })
}

fn asked(args: FilterArgs) -> AuditFilter {
    AuditFilter {
        from_ms: args.from.map_or(0, Moment::unix_ms),
        until_ms: args.until.map_or(0, Moment::unix_ms),
        class: args.class,
        action: args.action,
        outcome: args.outcome,
        key: args.key,
        target: args.target,
        request_id: args.request_id,
    }
}

impl From<AuditEntry> for EntryDocument {
    fn from(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: text::time(entry.at_ms),
            class: entry.class,
            action: entry.action,
            outcome: entry.outcome,
            key_id: entry.key_id,
            key_name: entry.key_name,
            address: entry.address,
            request_id: entry.request_id,
            target: entry.target,
            count: entry.count,
            detail: serde_json::from_str(&entry.detail).unwrap_or_default(),
        }
    }
}
