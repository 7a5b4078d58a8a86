//! The one form of `Range` that aggregators serve.

use std::ops::Range;

use axum::response::Response;
use http::{HeaderMap, header};

use super::answer::range_not_satisfiable;

/// The bytes asked for: `bytes=A-B` with both ends, the last one within the blob. Nothing is
/// clamped; every other form is refused.
pub(super) fn of(
    headers: &HeaderMap,
    length: usize,
) -> Result<Option<Range<usize>>, Box<Response>> {
    let Some(value) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    let refuse = |why: &str| Err(Box::new(range_not_satisfiable(why)));
    let specs = value.to_str().ok().and_then(|value| value.strip_prefix("bytes="));
    let Some(specs) = specs else {
        return refuse("invalid range header");
    };
    if specs.contains(',') {
        return refuse("multiple ranges are not supported");
    }
    let Some((first, last)) = specs.split_once('-') else {
        return refuse("invalid range header");
    };
    if first.is_empty() {
        return refuse("must provide start index");
    }
    if last.is_empty() {
        return refuse("must provide end index");
    }
    let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
        return refuse("invalid range header");
    };
    if first > last {
        return refuse("start is greater than end");
    }
    if last >= length {
        let end = last.saturating_add(1);
        return refuse(&format!(
            "byte range out of bounds: requested {first}-{end}, blob size is {length}"
        ));
    }
    Ok(Some(first..last + 1))
}
