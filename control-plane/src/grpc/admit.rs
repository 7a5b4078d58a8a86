//! Who calls, and until when the caller waits.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, metadata::MetadataMap};

use super::error::Refusal;
use crate::{api_key, desk::Desk};

/// An operator, or a program of one.
#[derive(Debug)]
pub(super) struct Caller {
    /// The name of the API key.
    pub(super) name: String,
    /// When it no longer waits.
    pub(super) deadline: Option<Instant>,
}

/// Lets an operator in.
pub(super) async fn operator<T>(desk: &Desk, request: Request<T>) -> Result<(Caller, T), Refusal> {
    let metadata = request.metadata();
    let presented = key(metadata).ok_or(Refusal::KeyMissing)?;
    if api_key::is_damaged(presented) {
        return Err(Refusal::KeyDamaged);
    }
    let name = desk.key_name(presented).await?.ok_or(Refusal::KeyUnknown)?;
    let deadline = deadline(metadata);
    Ok((Caller { name, deadline }, request.into_inner()))
}

/// Lets an edge in: by the cluster's token, or by a certificate that the handshake has checked.
pub(super) fn edge<T>(desk: &Desk, request: &Request<T>) -> Result<(), Refusal> {
    let has_certificate = request.peer_certs().is_some_and(|chain| !chain.is_empty());
    let has_token = || bearer(request.metadata()).is_some_and(|text| desk.tokens.admit(text));
    if has_certificate || has_token() { Ok(()) } else { Err(Refusal::EdgeUnknown) }
}

fn key(metadata: &MetadataMap) -> Option<&str> {
    let own = metadata.get("x-api-key").and_then(|value| value.to_str().ok());
    own.or_else(|| bearer(metadata)).filter(|key| !key.is_empty() && key.len() <= api_key::MOST)
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

/// When the caller no longer waits. The library ends calls at their deadline only until they are
/// answered, not the streams that are the answer.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    Instant::now().checked_add(timeout(text)?)
}

/// `1S`, `250m`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_count = (1..=8).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    let count = is_count.then(|| digits.parse().ok())??;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_a_count_and_a_unit() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for none in ["", "S", "1", "1x", "123456789S", "-1S", "+1S", "1 S"] {
            assert_eq!(timeout(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_key_comes_in_either_header() {
        let mut metadata = MetadataMap::new();
        assert_eq!(key(&metadata), None);
        metadata.insert("authorization", "bearer  abc ".parse().unwrap());
        assert_eq!(key(&metadata), Some("abc"));
        metadata.insert("x-api-key", "own".parse().unwrap());
        assert_eq!(key(&metadata), Some("own"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_timeout_or_none(text: String) {
            let _some_or_none = timeout(&text);
        }
    }
}
