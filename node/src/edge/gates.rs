//! The gates of a request that need no cache: who asks, how often, and whether it makes sense.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, Method, Response, StatusCode, Version, header, request::Parts};

use super::{
    Edge,
    body::Body,
    clients::Payer,
    connection::Connection,
    cors,
    error::{Code, ServeError},
    path::{self, Target},
    respond::Reply,
    serve::Asked,
};
use crate::metrics::ShedReason;

/// Whose request it is, by the word of a trusted proxy if one brings it.
pub(super) fn client(
    edge: &Edge,
    connection: &Connection,
    headers: &HeaderMap,
) -> (IpAddr, Option<Payer>) {
    if !connection.is_proxy {
        return (connection.peer, None);
    }
    let client = edge.viewers.proxies.client(connection.peer, headers);
    (client, Some(edge.viewers.clients.payer(client)))
}

/// The gates that look at the client.
pub(super) fn admit(edge: &Edge, asked: &mut Asked) -> Result<(), Box<Result<Reply, ServeError>>> {
    let refusal = |reason, message, wait| {
        edge.metrics.shed(reason);
        Box::new(Err(ServeError::limited(message, wait)))
    };
    if let Some(streams) = &asked.connection.streams {
        let most = edge.viewers.limits.load().max_streams_per_client;
        let in_flight = asked.payer().begin(most);
        let has_room = in_flight.is_some();
        asked.stream = Some(streams.begin(in_flight));
        if !has_room {
            let message = "this address has too many requests under way";
            return Err(refusal(ShedReason::ClientStreams, message, Duration::ZERO));
        }
    }
    asked.payer().request(asked.began).map_err(|wait| {
        refusal(ShedReason::ClientRequests, "this address sends too many requests", wait)
    })
}

/// The gates that look at the request alone; what it asks for, or the answer it gets at once.
pub(super) fn pass(
    asked: &mut Asked,
    head: &Parts,
) -> Result<Target, Box<Result<Reply, ServeError>>> {
    let refusal = |error: ServeError| Box::new(Err(error));
    if !names_one_host(head, &asked.headers) {
        let error = ServeError::new(Code::InvalidHost, "the request must have one Host");
        return Err(refusal(error));
    }
    match head.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Err(Box::new(Ok(preflight().into()))),
        _ => return Err(refusal(method_not_allowed(&head.method))),
    }
    let target = path::parse(head.uri.path()).map_err(|error| refusal(error.into()))?;
    if let Target::ByteRange(_) = target {
        let range = path::byte_range_query(head.uri.query().unwrap_or_default());
        let invalid = |error: path::QueryError| {
            refusal(ServeError::new(Code::InvalidByteRange, error.to_string()))
        };
        asked.byte_range = Some(range.map_err(invalid)?);
    }
    Ok(target)
}

/// What HTTP/1.1 demands of every request (RFC 9112 §3.2), and what HTTP/2 has instead: an
/// `:authority`, which a `Host` may repeat but not contradict (RFC 9113 §8.3.1).
fn names_one_host(head: &Parts, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = match head.version {
        Version::HTTP_2 => head.uri.authority().map(|authority| authority.as_str().as_bytes()),
        Version::HTTP_11 => None,
        _ => return true,
    };
    match (named, hosts.next()) {
        (None, None) => false,
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host.as_bytes()) => false,
        _ => hosts.next().is_none(),
    }
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::preflight(response.headers_mut());
    response
}

fn method_not_allowed(method: &Method) -> ServeError {
    ServeError::new(
        Code::MethodNotAllowed,
        format!("{method} is not served here; an edge answers GET, HEAD and OPTIONS"),
    )
}
