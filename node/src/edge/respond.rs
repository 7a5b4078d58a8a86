//! From what was found to a response: conditions, ranges, headers.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE},
};
use wcdn_proto::{BlobId, ContentId};

use super::{
    Edge,
    body::{Body, Content, Part},
    clients::Payer,
    error::{Code, ServeError},
    guard::Guard,
    large, multipart,
    range::{self, Resolved},
    response::{self, CacheResult, Facts, Source},
    serve::Asked,
    validator::{self, Match},
};
use crate::cache::{entry::Entry, fill::Reader};

/// A response, and what is counted and logged of it.
pub(super) struct Reply {
    pub(super) response: Response<Body>,
    pub(super) source: Source,
    pub(super) result: Option<CacheResult>,
    /// Whose bytes its body has, if it has any that may come to be withheld.
    pub(super) guard: Option<Guard>,
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self { response, source: Source::Edge, result: None, guard: None }
    }
}

/// A body that can be sent, and what is said of it.
pub(super) struct Found {
    /// What it is a body of.
    pub(super) content: ContentId,
    pub(super) facts: Facts,
    /// Bytes of the body.
    pub(super) length: u64,
    pub(super) held: Held,
}

/// Where the bytes are.
pub(super) enum Held {
    /// In memory.
    Entry(Arc<Entry>),
    /// Arriving.
    Reader(Reader),
    /// At the origins, to be had in slices, at somebody's cost.
    Large(BlobId, Payer),
    /// Nowhere: only the length was asked for.
    Nothing,
}

impl Found {
    /// An entry that was in memory.
    pub(super) fn hit(content: ContentId, entry: Arc<Entry>) -> Self {
        let result = CacheResult::Hit(entry.record().level);
        Self::entry(content, entry, result, Source::Memory)
    }

    /// An entry, from wherever it came.
    pub(super) fn entry(
        content: ContentId,
        entry: Arc<Entry>,
        result: CacheResult,
        source: Source,
    ) -> Self {
        let record = entry.record();
        let facts = Facts {
            etag: Some(entry.etag().clone()),
            media: Some(record.media.clone()),
            identifier: entry.identifier().cloned(),
            result,
            source,
            age: entry.age(),
            name_is_immutable: true,
        };
        Self { content, facts, length: record.length, held: Held::Entry(entry) }
    }
}

/// Which bytes of a body a response carries.
enum Window {
    All,
    /// One range, as 206; or, for the aggregator's byte-range route, as 200.
    One(Range<u64>),
    Several(Vec<Range<u64>>),
}

/// The response to a request whose body was found.
///
/// # Errors
/// Ids that are withheld by now, conditions that fail, and ranges that cannot be satisfied.
pub(super) fn respond(edge: &Edge, asked: &Asked, found: Found) -> Result<Reply, ServeError> {
    let guard = Guard::new(&edge.log, found.content)?;
    let etag = found.facts.etag.as_ref();
    if !validator::if_match_holds(&asked.headers, etag) {
        return Err(ServeError::new(
            Code::PreconditionFailed,
            "If-Match names another version; blobs have only the one their id names",
        ));
    }
    match validator::if_none_match(&asked.headers, etag) {
        Match::Listed | Match::Any => return Ok(not_modified(edge, found.facts).into()),
        Match::No => {}
    }
    let (status, window) = match &asked.byte_range {
        Some(range) => (StatusCode::OK, Window::One(explicit(range, found.length)?)),
        None => windows(asked, &found)?,
    };
    let (source, result) = (found.facts.source, Some(found.facts.result));
    let response = send(edge, found, status, window);
    Ok(Reply { response, source, result, guard: Some(guard) })
}

/// A 304; it repeats what a cache needs to know, and has no length.
fn not_modified(edge: &Edge, facts: Facts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let facts = Facts { media: None, ..facts };
    response::content(response.headers_mut(), &edge.labels, &facts, edge.log.confirmation());
    response
}

fn windows(asked: &Asked, found: &Found) -> Result<(StatusCode, Window), ServeError> {
    let whole = Ok((StatusCode::OK, Window::All));
    // A Range means something for GET alone (RFC 9110 §14.2).
    if asked.is_head || !validator::if_range_holds(&asked.headers, found.facts.etag.as_ref()) {
        return whole;
    }
    match range::of(&asked.headers).resolve(found.length) {
        Resolved::Whole => whole,
        Resolved::Single(range) => Ok((StatusCode::PARTIAL_CONTENT, Window::One(range))),
        // Several ranges are served from memory only; elsewhere the whole is right, too.
        Resolved::Multi(ranges) if matches!(found.held, Held::Entry(_)) => {
            Ok((StatusCode::PARTIAL_CONTENT, Window::Several(ranges)))
        }
        Resolved::Multi(_) => whole,
        Resolved::Unsatisfiable => Err(ServeError::unsatisfiable(found.length)),
    }
}

/// The window of the byte-range route, which clamps nothing.
fn explicit(range: &Range<u64>, length: u64) -> Result<Range<u64>, ServeError> {
    if range.is_empty() || range.end > length {
        return Err(ServeError::new(
            Code::InvalidByteRange,
            format!("bytes {} to {} were asked for; the blob has {length}", range.start, range.end),
        ));
    }
    Ok(range.clone())
}

fn send(edge: &Edge, found: Found, status: StatusCode, window: Window) -> Response<Body> {
    let Found { content: _, facts, length, held } = found;
    let mut headers = HeaderMap::with_capacity(24);
    response::content(&mut headers, &edge.labels, &facts, edge.log.confirmation());
    let body = match window {
        Window::All => one(edge, held, length, 0..length),
        Window::One(range) => {
            // The byte-range route has the range in its URL, and looks at no other.
            match status {
                StatusCode::PARTIAL_CONTENT => {
                    headers.insert(CONTENT_RANGE, range::content_range(&range, length))
                }
                _ => headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none")),
            };
            one(edge, held, length, range)
        }
        Window::Several(ranges) => several(&mut headers, held, &facts, length, &ranges),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn one(edge: &Edge, held: Held, total: u64, range: Range<u64>) -> Body {
    let length = range.end - range.start;
    let bytes = match held {
        Held::Entry(entry) => Content::Entry(entry, range),
        Held::Reader(reader) => Content::Stream(Box::pin(reader.stream(range)), Bytes::new()),
        Held::Large(id, payer) => {
            Content::Stream(large::stream(edge, id, payer, total, range), Bytes::new())
        }
        Held::Nothing => Content::Nothing,
    };
    Body::new(bytes, length)
}

fn several(
    headers: &mut HeaderMap,
    held: Held,
    facts: &Facts,
    total: u64,
    ranges: &[Range<u64>],
) -> Body {
    let Held::Entry(entry) = held else { unreachable!("several ranges come from an entry") };
    let media = facts.media.as_ref().expect("an entry has a media type");
    let framing = multipart::Framing::new(media, ranges, total);
    headers.insert(CONTENT_TYPE, framing.content_type());
    let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
    for (head, range) in framing.heads().zip(ranges) {
        parts.push_back(Part::Bytes(head));
        parts.push_back(Part::Range(range.clone()));
    }
    parts.push_back(Part::Bytes(framing.tail()));
    Body::new(Content::Parts(entry, parts), framing.length())
}
