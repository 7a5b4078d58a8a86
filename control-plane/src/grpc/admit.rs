//! Who calls, and until when the caller waits.

use std::{net::IpAddr, time::Duration};

use http::request::Parts;
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::MetadataMap,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use crate::{
    auth::{self, Caller, Operation, bearer},
    desk::Desk,
    refusal::Refusal,
};

/// A call of an edge, which was recognised by its head.
#[derive(Debug, Clone)]
pub(super) struct Member(());

/// Recognises an operator, who may make this call.
pub(super) async fn recognise_operator(desk: &Desk, head: &Parts) -> Result<Caller, Refusal> {
    let method = head.uri.path().rsplit('/').next().unwrap_or_default();
    let operation = Operation::of_method(method);
    let operation =
        operation.ok_or_else(|| Refusal::NoCall { name: method.chars().take(80).collect() })?;
    auth::admit(desk, &head.headers, address(desk, head), operation).await
}

/// From where a call comes, by the word of a trusted proxy if one brings it.
fn address(desk: &Desk, head: &Parts) -> Option<IpAddr> {
    let tls = head.extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    let peer = tls.or_else(|| head.extensions.get::<TcpConnectInfo>())?.remote_addr()?;
    let peer = peer.ip().to_canonical();
    let is_proxy = desk.proxies.trust(peer);
    Some(if is_proxy { desk.proxies.client(peer, &head.headers) } else { peer })
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
    let caller: Caller = request.extensions().get().cloned().ok_or(Refusal::KeyMissing)?;
    let deadline = deadline(request.metadata());
    Ok((Caller { deadline, ..caller }, request.into_inner()))
}

/// Lets an edge in.
pub(super) fn edge<T>(request: &Request<T>) -> Result<(), Refusal> {
    request.extensions().get::<Member>().map(|_| ()).ok_or(Refusal::EdgeUnknown)
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

    proptest! {
        #[test]
        fn any_text_is_a_timeout_or_none(text: String) {
            let _some_or_none = timeout(&text);
        }
    }
}
