//! Which bytes a `Range` header asks for (RFC 9110 §14).

use std::{fmt::Write as _, ops::Range};

use http::{HeaderMap, HeaderValue, header};

/// A `Range` header: `None` stands for one that is not there or must be ignored.
#[derive(Debug, Clone, Copy)]
pub struct Ranges<'a> {
    specs: Option<&'a str>,
}

/// What a header asks of a body of a certain length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// All of it: nothing was asked, or nothing that can be honoured.
    Whole,
    /// One range.
    Single(Range<u64>),
    /// Several, in the order asked for.
    Multi(Vec<Range<u64>>),
    /// Only bytes that are not there.
    Unsatisfiable,
}

/// Ranges that a header may have. RFC 9110 §14.2 lets a server ignore a header with more than it
/// finds sensible; players and download tools ask for one, PDF viewers for a few.
const MAX_SPECS: usize = 64;

/// Parts that are sent. Each costs a part head, and many small ones are a known attack (§17.15).
const MAX_PARTS: usize = 16;

/// Ranges closer than this are joined: a part head would cost as much as the gap (§15.3.7.2).
const JOINED_GAP: u64 = 80;

/// The ranges a request asks for. Several header lines, or an unknown unit, are ignored (§14.2).
pub fn of(headers: &HeaderMap) -> Ranges<'_> {
    let mut values = headers.get_all(header::RANGE).iter();
    let specs = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(unit_bytes),
        _ => None,
    };
    Ranges { specs }
}

fn unit_bytes(value: &str) -> Option<&str> {
    let (unit, specs) = value.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
}

/// One range as asked for, cut to the length of the body; `Ok(None)` if it lies outside.
fn resolve_one(spec: &str, length: u64) -> Result<Option<Range<u64>>, ()> {
    let (first, last) = spec.trim_matches([' ', '\t']).split_once('-').ok_or(())?;
    let range = match (first, last) {
        ("", "") => return Err(()),
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(());
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Ok((range.start < range.end).then_some(range))
}

/// A number; one too large to hold is as good as the largest, for no body is that long.
fn number(text: &str) -> Result<u64, ()> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

impl Ranges<'_> {
    /// What is asked of a body of `length` bytes.
    ///
    /// The whole is sent where the ranges are malformed, too many, or together as large as the
    /// body: a client that asks for overlapping ranges must not make the response longer than
    /// the body is (§14.2).
    pub fn resolve(self, length: u64) -> Resolved {
        let Some(specs) = self.specs else {
            return Resolved::Whole;
        };
        let mut wanted = Vec::new();
        for (n, spec) in specs.split(',').enumerate() {
            if n >= MAX_SPECS {
                return Resolved::Whole;
            }
            // Empty elements of a list are no error (§5.6.1).
            if spec.trim_matches([' ', '\t']).is_empty() {
                continue;
            }
            match resolve_one(spec, length) {
                Ok(range) => wanted.push(range),
                Err(()) => return Resolved::Whole,
            }
        }
        if wanted.is_empty() {
            return Resolved::Whole;
        }
        choose(wanted.into_iter().flatten().collect(), length)
    }
}

fn choose(mut ranges: Vec<Range<u64>>, length: u64) -> Resolved {
    match &ranges[..] {
        [] => return Resolved::Unsatisfiable,
        [one] => return Resolved::Single(one.clone()),
        _ => {}
    }
    let asked: u64 =
        ranges.iter().fold(0, |sum, range| sum.saturating_add(range.end - range.start));
    if asked >= length {
        return Resolved::Whole;
    }
    if needs_joining(&ranges) {
        ranges = joined(ranges);
    }
    match ranges.len() {
        1 => Resolved::Single(ranges.remove(0)),
        parts if parts > MAX_PARTS => Resolved::Whole,
        _ => Resolved::Multi(ranges),
    }
}

/// Whether two of the ranges overlap or nearly touch.
fn needs_joining(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[1].start <= pair[0].end.saturating_add(JOINED_GAP))
}

fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(JOINED_GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// `Content-Range` of a part of a body of `length` bytes.
pub fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    let mut text = String::with_capacity(64);
    write!(text, "bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))
        .expect("writing to a string succeeds");
    HeaderValue::try_from(text).expect("digits are visible ASCII")
}

/// `Content-Range` of a 416.
pub fn unsatisfied(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits are visible ASCII")
}

#[cfg(test)]
mod tests;
