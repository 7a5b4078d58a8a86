use std::net::SocketAddr;

use http::HeaderMap;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{response::content_range, *};
use crate::HttpOptions;

/// Answers one request with these bytes; resolves with the head it got.
async fn answer(response: &'static str) -> (Aggregator, impl Future<Output = String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    };
    let base = format!("http://{address}").parse().unwrap();
    (Aggregator::new(HttpClient::new(HttpOptions::default()), base), server)
}

fn id() -> BlobId {
    BlobId::from_bytes([9; 32])
}

async fn read(mut response: BlobResponse) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[tokio::test]
async fn a_blob_comes_with_its_length_and_to_its_end() {
    let (aggregator, server) = answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let id = id();
    let (response, head) = tokio::join!(aggregator.blob(&id), server);
    assert!(head.starts_with(&format!("get /v1/blobs/{}", id.to_string().to_lowercase())));
    assert!(head.contains("accept: */*\r\n"), "{head}");
    let response = response.unwrap();
    assert_eq!(response.total(), 5);
    assert_eq!(read(response).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let (aggregator, server) = answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let id = id();
    let (response, _) = tokio::join!(aggregator.blob(&id), server);
    assert!(matches!(read(response.unwrap()).await, Err(BodyError::Broken { received: 5, .. })));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused() {
    let (aggregator, server) = answer("HTTP/1.1 200 OK\r\n\r\nhello").await;
    let id = id();
    let (response, _) = tokio::join!(aggregator.blob(&id), server);
    assert!(matches!(response, Err(AggregatorError::Invalid(InvalidAnswer::LengthUnknown))));
}

#[tokio::test]
async fn a_range_is_asked_for_by_both_ends_and_told_from_another() {
    const PART: &str = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/9\r\ncontent-length: 3\r\n\r\nllo";
    let (aggregator, server) = answer(PART).await;
    let id = id();
    let (response, head) = tokio::join!(aggregator.blob_range(&id, 2..=4), server);
    assert!(head.contains("range: bytes=2-4\r\n"), "{head}");
    let response = response.unwrap();
    assert_eq!(response.total(), 9);
    assert_eq!(read(response).await.unwrap(), b"llo");
    let (aggregator, server) = answer(PART).await;
    let (response, _) = tokio::join!(aggregator.blob_range(&id, 2..=5), server);
    assert!(matches!(response, Err(AggregatorError::Invalid(InvalidAnswer::ContentRange(_)))));
}

#[tokio::test]
async fn the_whole_instead_of_a_range_is_refused() {
    let (aggregator, server) = answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let id = id();
    let (response, _) = tokio::join!(aggregator.blob_range(&id, 0..=1), server);
    assert!(matches!(response, Err(AggregatorError::Invalid(InvalidAnswer::IgnoredRange))));
}

#[tokio::test]
async fn an_object_leads_to_the_blob_in_its_bare_etag() {
    let (aggregator, server) = answer(
        "HTTP/1.1 206 Partial Content\r\netag: M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk\r\n\
         content-type: image/png\r\ncontent-range: bytes 0-0/17\r\ncontent-length: 1\r\n\r\nx",
    )
    .await;
    let object = "0x2a".parse().unwrap();
    let (resolved, head) = tokio::join!(aggregator.resolve_object(&object), server);
    assert!(head.starts_with(&format!("get /v1/blobs/by-object-id/{object}")), "{head}");
    let resolved = resolved.unwrap();
    assert_eq!(resolved.blob.to_string(), "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk");
    assert_eq!(resolved.content_type.as_deref(), Some("image/png"));
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let aggregator = Aggregator::new(HttpClient::new(HttpOptions::default()), base);
    assert!(matches!(aggregator.status().await, Err(AggregatorError::Connect { .. })));
}

fn told(status: u16, reason: &str, retry_after: Option<&'static str>) -> AggregatorError {
    let body = format!(
        r#"{{"error":{{"status":"X","code":{status},"message":"words","details":[{{"@type":"ErrorInfo","reason":"{reason}","domain":"daemon.walrus.space","metadata":{{}}}}]}}}}"#
    );
    let mut headers = HeaderMap::new();
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    AggregatorError::from_parts(StatusCode::from_u16(status).unwrap(), &headers, &body)
}

#[test]
fn every_row_of_the_status_table_is_an_error_of_its_own() {
    use AggregatorError as E;
    assert!(
        matches!(told(400, "INVALID_CONSISTENCY_CHECK", None), E::BadRequest { message } if message == "words")
    );
    assert!(matches!(told(403, "BLOB_TOO_LARGE", None), E::TooLarge));
    assert!(matches!(told(404, "BLOB_NOT_FOUND", None), E::BlobNotFound));
    assert!(matches!(told(404, "QUILT_PATCH_NOT_FOUND", None), E::PatchNotFound));
    assert!(matches!(told(404, "OBJECT_ID_RESOLUTION_FAILED", None), E::ObjectNotFound));
    assert!(matches!(told(416, "INVALID_BYTE_RANGE", None), E::RangeNotSatisfiable));
    assert!(matches!(told(451, "FORBIDDEN_BLOB", None), E::Blocked));
    assert!(
        matches!(told(500, "SLIVER_RETRIEVAL_FAILED", None), E::Internal { reason } if reason == "SLIVER_RETRIEVAL_FAILED")
    );
    assert!(
        matches!(told(503, "BLOB_UNAVAILABLE", Some("7")), E::Unavailable { retry_after: Some(after) } if after.as_secs() == 7)
    );
    for status in [502, 504, 520, 530] {
        assert!(matches!(told(status, "", None), E::Gateway { .. }), "{status}");
    }
    for status in [301, 405, 418] {
        assert!(matches!(told(status, "", None), E::Unexpected { .. }), "{status}");
    }
}

#[test]
fn answers_in_plain_text_are_understood() {
    use AggregatorError as E;
    let plain = |status, body| E::from_parts(status, &HeaderMap::new(), body);
    let text = "the aggregator is receiving too many requests; please try again later";
    assert!(matches!(
        plain(StatusCode::TOO_MANY_REQUESTS, text),
        E::TooManyRequests { retry_after: None }
    ));
    let text = "Failed to deserialize query string: cb: unknown field `cb`";
    assert!(
        matches!(plain(StatusCode::BAD_REQUEST, text), E::BadRequest { message } if message == text)
    );
    assert!(matches!(plain(StatusCode::NOT_FOUND, ""), E::UnknownPath));
}

#[test]
fn what_is_said_about_the_blob_does_not_speak_against_the_aggregator() {
    assert!(!told(404, "BLOB_NOT_FOUND", None).is_fault_of_origin());
    assert!(!told(403, "BLOB_TOO_LARGE", None).is_fault_of_origin());
    assert!(told(404, "", None).is_fault_of_origin());
    assert!(told(500, "", None).is_fault_of_origin());
}

proptest! {
    #[test]
    fn content_ranges_that_make_sense_are_read_back(first: u32, len in 1u64..1_000, more in 0u64..9) {
        let (start, end) = (u64::from(first), u64::from(first) + len);
        let text = format!("bytes {start}-{}/{}", end - 1, end + more);
        prop_assert_eq!(content_range(&text), Some((start..end, end + more)));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(bytes )?[-/0-9*]{0,30}", body in "\\PC{0,200}") {
        if let Some((range, total)) = content_range(&text) {
            prop_assert!(range.start < range.end && range.end <= total);
        }
        let status = StatusCode::NOT_FOUND;
        let _ = AggregatorError::from_parts(status, &HeaderMap::new(), &body).is_not_found();
    }
}
