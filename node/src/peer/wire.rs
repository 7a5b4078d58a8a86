//! How one node asks another for a blob, and what it is told, as HTTP.
//!
//! ```text
//! GET /v1/{id}/whole | /v1/{id}/probe | /v1/{id}/beginning | /v1/{id}/slice/{n}
//!     wcdn-node: us-west-2          who asks
//!     wcdn-least: 1795653825153.17  the answer must not be older than this position
//!     wcdn-start: 1048576           where in the part to begin
//!     wcdn-slice: 4194304           bytes of a slice, of which both must think alike
//!     wcdn-total: 9000000           bytes of the blob, where they are known
//!     wcdn-patience-ms: 15000       after that nobody waits for the head of the answer any more
//!
//! 200 wcdn-total, wcdn-token: 1795653825153.18, wcdn-age-ms: 12, wcdn-source: memory|redis|walrus
//!     the bytes from `wcdn-start` on; then, as a trailer, wcdn-attestation, in hexadecimal digits
//! 404, 403 origins do not have it, or withhold it: wcdn-token, wcdn-age-ms
//! 413 too large to be held: wcdn-total, wcdn-token
//! 409 it knows less of the log than was asked for   451 withheld here   503 no room, Retry-After
//! 502 no origin served it   504 no head in time   400 not understood
//! ```

use std::{fmt::Display, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, request};
use http_body_util::Empty;
use wcdn_proto::{BlobId, NodeId, Position};

use super::attestation::LENGTH;
use crate::{
    cache::{
        entry::{Key, Part},
        negative::Absence,
    },
    edge::response::Source,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which part of which blob.
    pub key: Key,
    /// Bytes of the blob, where they are known; slices need it.
    pub total: Option<u64>,
    /// Bytes of a slice.
    pub slice: u64,
    /// Where in the part to begin.
    pub start: u64,
    /// The answer must not be older than this.
    pub least: Position,
    /// For how long the head of the answer is waited for.
    pub patience: Duration,
}

/// What is said of bytes before they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the whole blob.
    pub total: u64,
    /// The position that was known when they were asked for at an origin.
    pub token: Position,
    /// How long ago they left it.
    pub age: Duration,
    /// Where the peer has them from.
    pub source: Source,
}

/// Why a peer does not give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not understand what is asked, or counts slices otherwise.
    #[error("it does not understand the request")]
    Malformed,
    /// Origins do not have the blob, or withhold it.
    #[error("origins do not give the blob: {absence:?}")]
    Absent {
        /// What they said.
        absence: Absence,
        /// The position that was known when they were asked.
        token: Position,
        /// How long ago they were.
        age: Duration,
    },
    /// It knows less of the log than was asked for.
    #[error("it knows less of the log")]
    Behind,
    /// It cannot be held as a whole.
    #[error("the blob has {total} bytes, too many to be held")]
    Large {
        /// Bytes of the blob.
        total: u64,
        /// The position that was known when its length was asked for.
        token: Position,
    },
    /// The control plane has it withhold the blob.
    #[error("the blob is withheld there")]
    Withheld,
    /// No origin served it.
    #[error("no origin served it the blob")]
    Failed,
    /// It has no room; when to come back, if it says so.
    #[error("it has no room")]
    Busy(Option<Duration>),
    /// It has no answer in time.
    #[error("it had no answer in time")]
    Slow,
}

/// Something that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or makes no sense")]
pub struct Odd(&'static str);

const NODE: &str = "wcdn-node";
const LEAST: &str = "wcdn-least";
const START: &str = "wcdn-start";
const SLICE: &str = "wcdn-slice";
const TOTAL: &str = "wcdn-total";
const PATIENCE: &str = "wcdn-patience-ms";
const TOKEN: &str = "wcdn-token";
const AGE: &str = "wcdn-age-ms";
const SOURCE: &str = "wcdn-source";
const ATTESTATION: &str = "wcdn-attestation";

impl Ask {
    /// The request, as `node` sends it.
    pub fn to_request(&self, node: &NodeId) -> Request<Empty<Bytes>> {
        let Self { key: Key { id, part }, total, slice, start, least, patience } = self;
        let part = match part {
            Part::Whole => "whole".to_owned(),
            Part::Probe => "probe".to_owned(),
            Part::Beginning => "beginning".to_owned(),
            Part::Slice(n) => format!("slice/{n}"),
            // Files are cut out of quilts, not asked for; this is refused.
            Part::Patch { .. } => "patch".to_owned(),
        };
        let mut request = Request::new(Empty::new());
        // With an authority, as HTTP/2 wants it; which one means nothing.
        let uri = format!("https://{}/v1/{id}/{part}", super::tls::NAME);
        *request.uri_mut() = uri.parse().expect("ids and words are a path");
        let headers = request.headers_mut();
        put(headers, NODE, node);
        put(headers, LEAST, print(*least));
        put(headers, START, start);
        put(headers, SLICE, slice);
        put(headers, PATIENCE, millis(*patience));
        total.inspect(|total| put(headers, TOTAL, total));
        request
    }

    /// Reads a request, and the name of who asks.
    ///
    /// # Errors
    /// [`Odd`] names what is wrong.
    pub fn of_request(head: &request::Parts) -> Result<(Self, NodeId), Odd> {
        if head.method != Method::GET {
            return Err(Odd("the method"));
        }
        let key = key(head.uri.path()).ok_or(Odd("the path"))?;
        let headers = &head.headers;
        let ask = Self {
            key,
            total: match headers.contains_key(TOTAL) {
                true => Some(number(headers, TOTAL)?),
                false if matches!(key.part, Part::Slice(_) | Part::Beginning) => {
                    return Err(Odd(TOTAL));
                }
                false => None,
            },
            slice: number(headers, SLICE)?,
            start: number(headers, START)?,
            least: position(headers, LEAST)?,
            patience: Duration::from_millis(number(headers, PATIENCE)?),
        };
        Ok((ask, get(headers, NODE)?))
    }
}

fn key(path: &str) -> Option<Key> {
    let mut words = path.strip_prefix("/v1/")?.split('/');
    let id: BlobId = words.next()?.parse().ok()?;
    let part = match words.next()? {
        "whole" => Part::Whole,
        "probe" => Part::Probe,
        "beginning" => Part::Beginning,
        "slice" => Part::Slice(words.next()?.parse().ok()?),
        _ => return None,
    };
    words.next().is_none().then_some(Key { id, part })
}

impl Found {
    /// Writes it into the head of an answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { total, token, age, source } = self;
        put(headers, TOTAL, total);
        put(headers, TOKEN, print(*token));
        put(headers, AGE, millis(*age));
        put(headers, SOURCE, source.as_str());
    }

    fn read(headers: &HeaderMap) -> Result<Self, Odd> {
        let source = headers.get(SOURCE).map_or(&b""[..], HeaderValue::as_bytes);
        let source = Source::ALL.into_iter().find(|known| known.as_str().as_bytes() == source);
        Ok(Self {
            total: number(headers, TOTAL)?,
            token: position(headers, TOKEN)?,
            age: Duration::from_millis(number(headers, AGE)?),
            source: source.ok_or(Odd(SOURCE))?,
        })
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Absent { absence: Absence::Blocked, .. } => StatusCode::FORBIDDEN,
            Self::Absent { absence: Absence::NotFound, .. } => StatusCode::NOT_FOUND,
            Self::Behind => StatusCode::CONFLICT,
            Self::Large { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Withheld => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Writes what its status does not say.
    pub fn write(&self, headers: &mut HeaderMap) {
        match self {
            Self::Absent { absence: _, token, age } => {
                put(headers, TOKEN, print(*token));
                put(headers, AGE, millis(*age));
            }
            Self::Large { total, token } => {
                put(headers, TOTAL, total);
                put(headers, TOKEN, print(*token));
            }
            Self::Busy(Some(after)) => {
                put(headers, header::RETRY_AFTER.as_str(), after.as_secs().max(1));
            }
            _ => {}
        }
    }

    fn read(status: StatusCode, headers: &HeaderMap) -> Result<Self, Odd> {
        Ok(match status {
            StatusCode::BAD_REQUEST => Self::Malformed,
            StatusCode::FORBIDDEN => Self::absent(Absence::Blocked, headers)?,
            StatusCode::NOT_FOUND => Self::absent(Absence::NotFound, headers)?,
            StatusCode::CONFLICT => Self::Behind,
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::Large { total: number(headers, TOTAL)?, token: position(headers, TOKEN)? }
            }
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => Self::Withheld,
            StatusCode::BAD_GATEWAY => Self::Failed,
            StatusCode::SERVICE_UNAVAILABLE => {
                let after = number(headers, header::RETRY_AFTER.as_str());
                Self::Busy(after.ok().map(Duration::from_secs))
            }
            StatusCode::GATEWAY_TIMEOUT => Self::Slow,
            _ => return Err(Odd("the status")),
        })
    }
}

impl Refusal {
    fn absent(absence: Absence, headers: &HeaderMap) -> Result<Self, Odd> {
        let age = Duration::from_millis(number(headers, AGE)?);
        Ok(Self::Absent { absence, token: position(headers, TOKEN)?, age })
    }
}

/// Reads the head of an answer.
///
/// # Errors
/// [`Odd`] names what is wrong.
pub fn answer(status: StatusCode, headers: &HeaderMap) -> Result<Result<Found, Refusal>, Odd> {
    match status {
        StatusCode::OK => Found::read(headers).map(Ok),
        other => Refusal::read(other, headers).map(Err),
    }
}

/// Trailers with an attestation.
pub fn trailers(attestation: &[u8; LENGTH]) -> HeaderMap {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let text: String = attestation
        .iter()
        .flat_map(digits)
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect();
    let mut trailers = HeaderMap::with_capacity(1);
    put(&mut trailers, ATTESTATION, text);
    trailers
}

/// The attestation among trailers, if there is one; nobody has checked it.
pub fn attestation(trailers: &HeaderMap) -> Option<[u8; LENGTH]> {
    let text = trailers.get(ATTESTATION)?.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let bytes = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn put(headers: &mut HeaderMap, name: &'static str, value: impl Display) {
    let value = HeaderValue::try_from(value.to_string()).expect("names and numbers are ASCII");
    headers.insert(HeaderName::from_static(name), value);
}

fn get<T: FromStr>(headers: &HeaderMap, name: &'static str) -> Result<T, Odd> {
    let text = headers.get(name).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).ok_or(Odd(name))
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<u64, Odd> {
    get(headers, name)
}

fn position(headers: &HeaderMap, name: &'static str) -> Result<Position, Odd> {
    let text: String = get(headers, name)?;
    let (epoch, seq) = text.split_once('.').ok_or(Odd(name))?;
    match (epoch.parse(), seq.parse()) {
        (Ok(epoch), Ok(seq)) => Ok(Position { epoch, seq }),
        _ => Err(Odd(name)),
    }
}

fn print(Position { epoch, seq }: Position) -> String {
    format!("{epoch}.{seq}")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
