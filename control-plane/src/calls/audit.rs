//! The audit log: looked at, and taken away as text.

use std::{fmt::Write as _, sync::Arc};

use wcdn_proto::{
    audit::{AuditEntry, AuditHead, AuditLine},
    pb::admin::v1::{self as admin, AuditFormat},
};

use super::{
    parse, queries,
    stream::{self, Feed, Sent},
};
use crate::{
    audit::{Class, Draft},
    auth::Caller,
    desk::Desk,
    refusal::Refusal,
    store::{
        audit::{Filter, Order},
        now_ms,
    },
};

/// Entries that are read at once for an export: at most some megabytes.
const ROWS: u32 = 1_000;

/// The names of the fields in CSV.
const CSV_HEAD: &str = "seq,at_ms,class,action,outcome,key_id,key_name,address,request_id,target,count,\
    detail,previous,hash\r\n";

pub(crate) async fn list(
    desk: &Desk,
    _: &Caller,
    request: admin::ListAuditRequest,
) -> Result<admin::ListAuditResponse, Refusal> {
    let filter = filter(request.filter)?;
    let (before, size) = queries::page(request.page_size, &request.page_token)?;
    let before = match before.len() {
        0 => u64::MAX,
        _ => before
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| Refusal::invalid("page_token", "is none of this list"))?,
    };
    let reading = desk.store.audit(&filter, Order::LatestBefore(before), size + 1);
    let mut entries = desk.store.in_time(reading).await?;
    let has_more = entries.len() > size as usize;
    entries.truncate(size as usize);
    let last = entries.last().filter(|_| has_more);
    let next = last.map(|last| queries::page_token(&last.seq.to_be_bytes()));
    let entries = entries.into_iter().map(to_wire).collect();
    Ok(admin::ListAuditResponse { entries, next_page_token: next.unwrap_or_default() })
}

pub(crate) async fn export(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::ExportAuditRequest,
) -> Result<Sent<admin::ExportAuditResponse>, Refusal> {
    let format = match request.format() {
        AuditFormat::Unspecified if request.format != 0 => {
            let problem = format!("is {}, which is none", request.format);
            return Err(Refusal::invalid("format", problem));
        }
        AuditFormat::Unspecified | AuditFormat::Jsonl => AuditFormat::Jsonl,
        AuditFormat::Csv => AuditFormat::Csv,
    };
    let filter = filter(request.filter)?;
    let room = desk.room_to_watch()?;
    let draft = Draft::done(Class::Operation, "audit.export", caller.author());
    desk.audit.note(Draft { target: format.as_str_name().to_owned(), ..draft });
    // What has happened so far is in it.
    desk.write_audit(false).await?;
    Ok(stream::begin(desk, room, caller.deadline, move |desk, feed| async move {
        send(&desk, &feed, &filter, format).await
    }))
}

async fn send(
    desk: &Desk,
    feed: &Feed<admin::ExportAuditResponse>,
    filter: &Filter,
    format: AuditFormat,
) -> Result<(), Refusal> {
    let (end, hash) = desk.store.in_time(desk.store.audit_head()).await?;
    if format == AuditFormat::Csv {
        feed.send(admin::ExportAuditResponse { lines: CSV_HEAD.into() }).await?;
    }
    let mut after = 0;
    while after < end {
        let reading = desk.store.audit(filter, Order::OldestAfter(after), ROWS);
        let entries = desk.store.in_time(reading).await?;
        let is_last = entries.len() < ROWS as usize;
        let mut lines = String::new();
        for entry in entries.into_iter().filter(|entry| entry.seq <= end) {
            after = entry.seq;
            match format {
                AuditFormat::Csv => csv(&mut lines, &entry),
                _ => json(&mut lines, &AuditLine::Entry(entry)),
            }
        }
        let is_past = lines.is_empty();
        if !is_past {
            feed.send(admin::ExportAuditResponse { lines: lines.into() }).await?;
        }
        if is_last || is_past {
            break;
        }
    }
    if format == AuditFormat::Jsonl && filter.is_empty() {
        let mut line = String::new();
        let head = signed(desk, end, hash);
        json(&mut line, &AuditLine::Head { head });
        feed.send(admin::ExportAuditResponse { lines: line.into() }).await?;
    }
    Ok(())
}

fn signed(desk: &Desk, seq: u64, hash: wcdn_proto::audit::AuditHash) -> AuditHead {
    let at_ms = now_ms();
    let signature = desk.signing.sign_audit_head(&AuditHead::message(seq, at_ms, &hash));
    let mut digits = String::with_capacity(2 * signature.len());
    for byte in signature {
        write!(digits, "{byte:02x}").expect("writing to a string succeeds");
    }
    let issuer = desk.signing.public().to_string();
    AuditHead { seq, at_ms, hash, issuer, signature: digits }
}

fn json(lines: &mut String, line: &AuditLine) {
    lines.push_str(&serde_json::to_string(line).expect("texts and numbers are JSON"));
    lines.push('\n');
}

fn csv(lines: &mut String, entry: &AuditEntry) {
    let AuditEntry { seq, at_ms, count, previous, hash, .. } = entry;
    write!(lines, "{seq},{at_ms}").expect("writing to a string succeeds");
    for text in [
        &entry.class,
        &entry.action,
        &entry.outcome,
        &entry.key_id,
        &entry.key_name,
        &entry.address,
        &entry.request_id,
        &entry.target,
    ] {
        lines.push(',');
        field(lines, text);
    }
    write!(lines, ",{count},").expect("writing to a string succeeds");
    field(lines, entry.detail.get());
    write!(lines, ",{previous},{hash}\r\n").expect("writing to a string succeeds");
}

/// A text as RFC 4180 has it. One that a spreadsheet would take for a formula gets a quote before it.
fn field(lines: &mut String, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains(['"', ',', '\r', '\n']) {
        lines.push_str(text);
        return;
    }
    lines.push('"');
    lines.push_str(if is_formula { "'" } else { "" });
    lines.push_str(&text.replace('"', "\"\""));
    lines.push('"');
}

fn to_wire(entry: AuditEntry) -> admin::AuditEntry {
    admin::AuditEntry {
        seq: entry.seq,
        at_ms: entry.at_ms,
        class: entry.class,
        action: entry.action,
        outcome: entry.outcome,
        key_id: entry.key_id,
        key_name: entry.key_name,
        address: entry.address,
        request_id: entry.request_id,
        target: entry.target,
        count: entry.count,
        detail: entry.detail.get().to_owned(),
        previous: entry.previous.0.to_vec().into(),
        hash: entry.hash.0.to_vec().into(),
    }
}

fn filter(given: Option<admin::AuditFilter>) -> Result<Filter, Refusal> {
    let given = given.unwrap_or_default();
    let text = |field: &str, text: String| -> Result<Option<String>, Refusal> {
        let text = parse::text(&format!("filter.{field}"), text)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    };
    Ok(Filter {
        from_ms: given.from_ms,
        until_ms: given.until_ms,
        class: text("class", given.class)?,
        action: text("action", given.action)?,
        outcome: text("outcome", given.outcome)?,
        key: text("key", given.key)?,
        target: text("target", given.target)?,
        request_id: text("request_id", given.request_id)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_csv_is_quoted_where_it_must_be_and_is_no_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("-", "\"'-\""),
        ] {
            let mut line = String::new();
            field(&mut line, text);
            assert_eq!(line, expected);
        }
    }
}
