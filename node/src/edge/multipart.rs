//! The framing of a response with several ranges (RFC 9110 §14.6).

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use super::{media::MediaType, range::content_range};

/// What stands between the ranges of a multipart body.
#[derive(Debug)]
pub(super) struct Framing {
    boundary: String,
    heads: Vec<Bytes>,
    tail: Bytes,
    length: u64,
}

impl Framing {
    /// The framing for `ranges` of a body of `length` bytes.
    pub(super) fn new(media: &MediaType, ranges: &[Range<u64>], length: u64) -> Self {
        // Two random words: no body can have been made to contain them.
        let boundary = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        let media = media.as_str();
        let head = |range: &Range<u64>| {
            let place = content_range(range, length);
            let place = place.to_str().expect("made of digits");
            Bytes::from(format!(
                "\r\n--{boundary}\r\ncontent-type: {media}\r\ncontent-range: {place}\r\n\r\n"
            ))
        };
        let heads: Vec<Bytes> = ranges.iter().map(head).collect();
        let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let framed: u64 = heads.iter().chain([&tail]).map(|bytes| bytes.len() as u64).sum();
        let body: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        Self { boundary, heads, tail, length: framed + body }
    }

    /// The media type of the whole.
    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.boundary))
            .expect("a boundary is visible ASCII")
    }

    /// What stands before each range.
    pub(super) fn heads(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.heads.iter().cloned()
    }

    /// What stands behind the last one.
    pub(super) fn tail(&self) -> Bytes {
        self.tail.clone()
    }

    /// Bytes of the whole, ranges included.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_name_their_place_and_the_length_is_true() {
        let ranges = [0..5, 7..9];
        let framing = Framing::new(&MediaType::OCTET_STREAM, &ranges, 9);
        let mut body = Vec::new();
        for (head, range) in framing.heads().zip(&ranges) {
            body.extend_from_slice(&head);
            body.extend(range.clone().map(|_| b'x'));
        }
        body.extend_from_slice(&framing.tail());
        assert_eq!(body.len() as u64, framing.length());
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains("content-range: bytes 0-4/9\r\n\r\nxxxxx\r\n--"));
        assert!(text.contains("content-range: bytes 7-8/9\r\n\r\nxx\r\n--"));
        assert!(text.ends_with("--\r\n"));
        let named = framing.content_type();
        assert!(
            text.starts_with(&format!(
                "\r\n--{}",
                named.to_str().unwrap().split_once('=').unwrap().1
            ))
        );
    }
}
