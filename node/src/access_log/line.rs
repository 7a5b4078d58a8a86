//! A record as one line of text.

use std::{fmt::Write as _, time::SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object.
    Json,
    /// The combined log format of web servers, with duration, cache, source and request id behind.
    Clf,
}

impl Format {
    /// The line, with its end.
    pub(super) fn line(self, record: &Record) -> String {
        let mut line = match self {
            Self::Json => serde_json::to_string(record).unwrap_or_default(),
            Self::Clf => clf(record),
        };
        line.push('\n');
        line
    }
}

fn clf(record: &Record) -> String {
    let Record { client, method, path, protocol, status, bytes, micros, .. } = record;
    let Record { cache, source, request_id, user_agent, completed, .. } = record;
    let time = Timestamp::try_from(record.time).unwrap_or_default();
    let time = time.strftime("%d/%b/%Y:%H:%M:%S +0000");
    let cut = if *completed { "" } else { " cut" };
    let millis = std::time::Duration::from_micros(*micros).as_secs_f64() * 1e3;
    format!(
        "{client} - - [{time}] \"{} {} {protocol}\" {status} {bytes} \"-\" \"{}\" \
         {millis:.1}ms {cache} {source} {request_id}{cut}",
        escaped(method),
        escaped(path),
        escaped(user_agent),
    )
}

/// Text that cannot leave its field: quotes, backslashes and whatever is not printable ASCII are
/// written as bytes in hexadecimal.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => escaped.extend(['\\', char::from(byte)]),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => write!(escaped, "\\x{byte:02x}").expect("writing to a string succeeds"),
        }
    }
    escaped
}

/// The beginning of a text, at most `most` bytes.
pub(super) fn bounded(text: &str, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Times as RFC 3339 has them.
pub(super) mod rfc3339 {
    use super::{Deserialize, SystemTime, Timestamp};

    pub(in super::super) fn serialize<S: serde::Serializer>(
        time: &SystemTime,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&Timestamp::try_from(*time).unwrap_or_default())
    }

    pub(in super::super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        let time: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        SystemTime::try_from(time).map_err(serde::de::Error::custom)
    }
}
