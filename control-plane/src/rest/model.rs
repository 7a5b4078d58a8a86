//! What is said in JSON: the messages of `wcdn.admin.v1`, as people who write for the web expect them.

pub(super) mod audit;
pub(super) mod change;
pub(super) mod explain;
pub(super) mod key;
pub(super) mod lists;
pub(super) mod node;
pub(super) mod origin;

use std::fmt::Write as _;

use serde::Serialize;
use utoipa::ToSchema;
use wcdn_proto::{Position, pb::event::v1 as event};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// What to send as `cursor` for the next page; null on the last one.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// A page, by the token of the next one.
    pub(super) fn new<W>(items: Vec<W>, next: String) -> Self
    where
        T: From<W>,
    {
        let items = items.into_iter().map(T::from).collect();
        Self { items, next: Some(next).filter(|next| !next.is_empty()) }
    }
}

/// A time as RFC 3339 has it; none for 0.
pub(super) fn time(unix_ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    (unix_ms > 0).then(|| format!("{time:.3}"))
}

/// A place in the log, as `epoch:seq`; none before any.
pub(super) fn position(wire: Option<event::Position>) -> Option<String> {
    let Position { epoch, seq } = wire.map(Position::from)?;
    Some(format!("{epoch}:{seq}"))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// A text; none if it is empty.
pub(super) fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The word of an enumeration: `NODE_STATE_APPLIED` is "applied".
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}
