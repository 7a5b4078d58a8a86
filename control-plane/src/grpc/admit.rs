//! Who calls, and until when the caller waits.

use std::time::Duration;

use http::{HeaderMap, request::Parts};
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::MetadataMap,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

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

/// The name of the API key of a call, which was recognised by its head.
#[derive(Debug, Clone)]
pub(super) struct Operator(String);

/// A call of an edge, which was recognised by its head.
#[derive(Debug, Clone)]
pub(super) struct Member(());

/// Recognises an operator.
pub(super) async fn recognise_operator(desk: &Desk, head: &Parts) -> Result<Operator, Refusal> {
    let presented = key(&head.headers).ok_or(Refusal::KeyMissing)?;
    if api_key::is_damaged(presented) {
        return Err(Refusal::KeyDamaged);
    }
    desk.key_name(presented).await?.map(Operator).ok_or(Refusal::KeyUnknown)
}

/// Recognises an edge: by the cluster's token, or by a certificate that the handshake has checked.
pub(super) fn recognise_edge(desk: &Desk, head: &Parts) -> Result<Member, Refusal> {
    let tls = head.extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    let has_certificate =
        tls.and_then(TlsConnectInfo::peer_certs).is_some_and(|chain| !chain.is_empty());
    let has_token = || bearer(&head.headers).is_some_and(|text| desk.tokens.admit(text));
    if has_certificate || has_token() { Ok(Member(())) } else { Err(Refusal::EdgeUnknown) }
}

/// Lets an operator in.
pub(super) fn operator<T>(request: Request<T>) -> Result<(Caller, T), Refusal> {
    let Operator(name) = request.extensions().get().cloned().ok_or(Refusal::KeyMissing)?;
    let deadline = deadline(request.metadata());
    Ok((Caller { name, deadline }, request.into_inner()))
}

/// Lets an edge in.
pub(super) fn edge<T>(request: &Request<T>) -> Result<(), Refusal> {
    request.extensions().get::<Member>().map(|_| ()).ok_or(Refusal::EdgeUnknown)
}

fn key(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    own.or_else(|| bearer(headers)).filter(|key| !key.is_empty() && key.len() <= api_key::MOST)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
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
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), None);
        headers.insert("authorization", "bearer  abc ".parse().unwrap());
        assert_eq!(key(&headers), Some("abc"));
        headers.insert("x-api-key", "own".parse().unwrap());
        assert_eq!(key(&headers), Some("own"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_timeout_or_none(text: String) {
            let _some_or_none = timeout(&text);
        }
    }
}
