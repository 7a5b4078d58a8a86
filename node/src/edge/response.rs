//! The headers of a response: what the bytes are, where they came from, how long they hold.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use wcdn_proto::NodeId;

use super::media::MediaType;
use crate::{cache::entry::Level, config::Hsts, events::Confirmation};

/// Where the bytes of a response came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The memory of this node.
    Memory = 0,
    /// The region's Redis.
    Redis = 1,
    /// Another node of the region.
    Peer = 2,
    /// An aggregator.
    Walrus = 3,
    /// No bytes were needed: the edge answered by itself.
    Edge = 4,
}

impl Source {
    /// Every source, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Redis, Self::Peer, Self::Walrus, Self::Edge];

    /// The word viewers and metrics see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Peer => "peer",
            Self::Walrus => "walrus",
            Self::Edge => "edge",
        }
    }
}

/// How a response relates to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// The bytes were in memory, or in the region's Redis.
    Hit(Level),
    /// They were fetched for this request, and checked.
    Miss(Level),
    /// They were fetched for another request that this one joined.
    Collapsed(Level),
}

impl CacheResult {
    /// `HIT` or `MISS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit(_) => "HIT",
            Self::Miss(_) | Self::Collapsed(_) => "MISS",
        }
    }

    /// How far the bytes were checked.
    pub const fn level(self) -> Level {
        match self {
            Self::Hit(level) | Self::Miss(level) | Self::Collapsed(level) => level,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Hit(level) => level as usize,
            Self::Miss(level) => 3 + level as usize,
            Self::Collapsed(level) => 6 + level as usize,
        }
    }
}

/// Header values that are the same for every response of a node, made once.
#[derive(Debug)]
pub struct Labels {
    node: NodeId,
    /// `Cache-Status` (RFC 9211), by [`CacheResult::index`]; then the same where the log is not
    /// confirmed.
    cache_status: [[HeaderValue; 9]; 2],
}

impl Labels {
    /// The labels of a node.
    pub fn new(node: &NodeId) -> Self {
        let forms = ["hit", "fwd=miss; fwd-status=200; stored", "fwd=miss; collapsed"];
        let value = |index: usize, label: &str| {
            let (form, level) = (forms[index / 3], Level::ALL[index % 3].as_str());
            HeaderValue::try_from(format!("\"{node}\"; {form}; detail={level}{label}"))
                .expect("names and words are visible ASCII")
        };
        let values =
            ["", "; unconfirmed"].map(|label| std::array::from_fn(|index| value(index, label)));
        Self { node: node.clone(), cache_status: values }
    }

    /// The name of the node.
    pub fn node(&self) -> &str {
        self.node.as_str()
    }

    fn cache_status(&self, result: CacheResult, log: Confirmation) -> HeaderValue {
        let is_unconfirmed = log != Confirmation::Confirmed;
        self.cache_status[usize::from(is_unconfirmed)][result.index()].clone()
    }
}

/// What is said of a body.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The validator, quoted; `None` where the body has none.
    pub etag: Option<HeaderValue>,
    /// What the bytes are; `None` where no byte has been seen.
    pub media: Option<MediaType>,
    /// The name of a file within its quilt.
    pub identifier: Option<HeaderValue>,
    /// How the response relates to the cache.
    pub result: CacheResult,
    /// Where the bytes came from.
    pub source: Source,
    /// How long they have been here.
    pub age: Duration,
    /// Whether the name in the URL leads to these bytes for ever.
    pub name_is_immutable: bool,
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const X_SOURCE: HeaderName = HeaderName::from_static("x-source");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const X_QUILT_PATCH_IDENTIFIER: HeaderName = HeaderName::from_static("x-quilt-patch-identifier");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Verified bytes are the blob for ever.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Unverified bytes are looked at again; [`UNCHECKED_TTL`](crate::cache::entry::UNCHECKED_TTL).
const MINUTE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// What names the request, on every response.
pub fn request_id(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(X_REQUEST_ID, id);
}

/// What tells browsers to come by TLS only.
pub(crate) fn hsts(hsts: &Hsts) -> HeaderValue {
    HeaderValue::try_from(hsts.header()).expect("words and digits are visible ASCII")
}

/// How long the edge took to have the head ready, and where the bytes came from.
pub fn timing(headers: &mut HeaderMap, elapsed: Duration, source: Source) {
    let mut text = [0; 40];
    headers.insert(SERVER_TIMING, timing_value(elapsed, source, &mut text));
}

/// `edge;dur=`, milliseconds to three places, and the source, without going through a formatter.
fn timing_value(elapsed: Duration, source: Source, text: &mut [u8; 40]) -> HeaderValue {
    const PREFIX: &[u8] = b"edge;dur=";
    let mut micros = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
    let mut at = text.len();
    for word in [source.as_str().as_bytes(), b";desc="] {
        at -= word.len();
        text[at..at + word.len()].copy_from_slice(word);
    }
    for place in 0.. {
        if place == 3 {
            at -= 1;
            text[at] = b'.';
        }
        if place > 3 && micros == 0 {
            break;
        }
        at -= 1;
        text[at] = b'0' + u8::try_from(micros % 10).expect("one digit");
        micros /= 10;
    }
    at -= PREFIX.len();
    text[at..at + PREFIX.len()].copy_from_slice(PREFIX);
    HeaderValue::from_bytes(&text[at..]).expect("digits are visible ASCII")
}

/// Headers on every response that has, or stands for, a body. Where a purge or a block may not have
/// been heard of yet, `Cache-Status` says `unconfirmed`.
pub fn content(headers: &mut HeaderMap, labels: &Labels, facts: &Facts, log: Confirmation) {
    validators(headers, facts.etag.clone(), facts.lasts());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(media) = &facts.media {
        headers.insert(CONTENT_TYPE, media.header_value());
        if media.is_active() {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        }
    }
    if let Some(identifier) = &facts.identifier {
        headers.insert(X_QUILT_PATCH_IDENTIFIER, identifier.clone());
    }
    headers.insert(X_CACHE, HeaderValue::from_static(facts.result.as_str()));
    headers.insert(X_SOURCE, HeaderValue::from_static(facts.source.as_str()));
    headers.insert(CACHE_STATUS, labels.cache_status(facts.result, log));
    headers.insert(AGE, HeaderValue::from(facts.age.as_secs()));
}

/// The headers by which a cache keeps a response, as a 304 repeats them.
pub fn validators(headers: &mut HeaderMap, etag: Option<HeaderValue>, lasts: bool) {
    if let Some(etag) = etag {
        headers.insert(ETAG, etag);
    }
    headers.insert(CACHE_CONTROL, if lasts { IMMUTABLE } else { MINUTE });
}

impl Facts {
    fn lasts(&self) -> bool {
        self.name_is_immutable && self.result.level().is_verified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_names_the_node_the_way_and_the_level() {
        let labels = Labels::new(&"eu-west-1".parse().unwrap());
        let status = |result| {
            let value = labels.cache_status(result, Confirmation::Confirmed);
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(status(CacheResult::Hit(Level::Full)), "\"eu-west-1\"; hit; detail=full");
        assert_eq!(
            status(CacheResult::Miss(Level::Origin)),
            "\"eu-west-1\"; fwd=miss; fwd-status=200; stored; detail=origin"
        );
        assert_eq!(
            status(CacheResult::Collapsed(Level::Attested)),
            "\"eu-west-1\"; fwd=miss; collapsed; detail=attested"
        );
        let hit = CacheResult::Hit(Level::Full);
        let unconfirmed = labels.cache_status(hit, Confirmation::Unconfirmed);
        assert_eq!(unconfirmed, "\"eu-west-1\"; hit; detail=full; unconfirmed");
    }

    #[test]
    fn timing_is_milliseconds_to_the_microsecond_and_says_where_from() {
        for (micros, text) in
            [(0, "0.000"), (7, "0.007"), (1_234, "1.234"), (1_000_000, "1000.000")]
        {
            let elapsed = Duration::from_micros(micros);
            let value = timing_value(elapsed, Source::Redis, &mut [0; 40]);
            assert_eq!(value, format!("edge;dur={text};desc=redis"));
        }
        for source in Source::ALL {
            let longest = timing_value(Duration::MAX, source, &mut [0; 40]);
            assert_eq!(longest, format!("edge;dur=4294967.295;desc={}", source.as_str()));
        }
    }
}
