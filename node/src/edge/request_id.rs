//! A name for each request, the same in the response, the logs, and what a viewer reports.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The requests of one connection: a random word and a count, so that naming one costs no more
/// than writing it down.
#[derive(Debug)]
pub(super) struct RequestIds {
    connection: u64,
    count: AtomicU32,
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a viewer's own id that are taken over.
const MAX_LEN: usize = 64;

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { connection: rand::random(), count: AtomicU32::new(0) }
    }

    /// The id the viewer gave, if it is harmless, or a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_harmless(given.as_bytes()) => given.clone(),
            _ => self.next(),
        }
    }

    fn next(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = BytesMut::with_capacity(25);
        let mut put = |value: u64, digits: u32| {
            for place in (0..digits).rev() {
                let digit = usize::try_from((value >> (4 * place)) & 15).expect("four bits");
                text.extend_from_slice(&DIGITS[digit..=digit]);
            }
        };
        put(self.connection, 16);
        put(self.count.fetch_add(1, Relaxed).into(), 8);
        HeaderValue::from_maybe_shared(text.freeze()).expect("digits are visible ASCII")
    }
}

fn is_harmless(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_within_and_between_connections() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let headers = HeaderMap::new();
        let ids = [one.of(&headers), one.of(&headers), other.of(&headers)];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert!(ids.iter().all(|id| id.len() == 24));
    }

    #[test]
    fn a_viewers_own_id_is_kept_if_it_is_harmless() {
        let ids = RequestIds::new();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(text).unwrap());
            ids.of(&headers)
        };
        assert_eq!(of("a1.b-2_c"), "a1.b-2_c");
        for text in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert_ne!(of(text), text);
        }
    }
}
