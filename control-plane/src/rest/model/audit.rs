//! The audit log.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wcdn_proto::pb::admin::v1 as admin;

use super::{hex, some, time};

/// Who did what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct AuditEntry {
    /// From 1, without gaps.
    seq: u64,
    #[schema(format = DateTime)]
    at: Option<String>,
    /// "authentication", "operation" or "system".
    #[schema(example = "operation")]
    class: String,
    /// Such as "purge" or "key.rotate".
    #[schema(example = "purge")]
    action: String,
    /// "done", "refused" or "failed".
    #[schema(example = "done")]
    outcome: String,
    key_id: Option<String>,
    key_name: Option<String>,
    /// From where; null if it was the program itself.
    address: Option<String>,
    request_id: Option<String>,
    /// What it was done to.
    target: Option<String>,
    /// How many such things the entry stands for.
    count: u64,
    /// More: what it was before and after, why it was refused.
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash of the entry before.
    previous: String,
    /// BLAKE3 of that and of all of the above.
    hash: String,
}

impl From<admin::AuditEntry> for AuditEntry {
    fn from(entry: admin::AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: time(entry.at_ms),
            class: entry.class,
            action: entry.action,
            outcome: entry.outcome,
            key_id: some(entry.key_id),
            key_name: some(entry.key_name),
            address: some(entry.address),
            request_id: some(entry.request_id),
            target: some(entry.target),
            count: entry.count,
            // It was written as JSON.
            detail: serde_json::from_str(&entry.detail).unwrap_or_default(),
            previous: hex(&entry.previous),
            hash: hex(&entry.hash),
        }
    }
}
