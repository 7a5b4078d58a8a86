use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wcdn_walrus::{
    Aggregator, AggregatorError, BlobId, BlobResponse, BodyError, HttpClient, HttpOptions,
    Publisher, PublisherError, QuiltPart, StoreOptions, Stored,
};

use super::*;

struct Walrus {
    standin: Standin,
    publisher: Publisher,
    aggregator: Aggregator,
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// One publisher and one aggregator, with something else about them.
async fn walrus(change: impl FnOnce(&mut StandinOptions)) -> Walrus {
    let mut options = StandinOptions {
        encoding: Encoding::new(100).unwrap(),
        publisher: listener().await,
        aggregators: vec![listener().await],
        dir: None,
        visible_after: Duration::ZERO,
        max_body: MAX_BODY,
        max_quilt_body: MAX_QUILT_BODY,
    };
    change(&mut options);
    let standin = Standin::start(options, CancellationToken::new()).await.unwrap();
    let http = HttpClient::new(HttpOptions::default());
    Walrus {
        publisher: Publisher::new(http.clone(), standin.publisher_url.clone()),
        aggregator: Aggregator::new(http, standin.aggregator_urls[0].clone()),
        standin,
    }
}

impl Walrus {
    async fn store(&self, blob: impl Into<Bytes>) -> BlobId {
        let stored = self.publisher.store(blob.into(), StoreOptions::default()).await;
        stored.unwrap().blob_id()
    }

    fn reads_from(&self) -> &BaseUrl {
        &self.standin.aggregator_urls[0]
    }

    async fn fault(&self, faults: Value) {
        let reply = ask(self.reads_from(), "PUT", "/_faults", &faults.to_string()).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }
}

/// One request on a connection of its own; everything that comes back.
async fn ask(daemon: &BaseUrl, method: &str, path: &str, body: &str) -> String {
    let url = daemon.to_string();
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: walrus\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

async fn all(mut response: BlobResponse) -> (Vec<u8>, Result<(), BodyError>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, Ok(())),
            Err(error) => return (body, Err(error)),
        }
    }
}

#[tokio::test]
async fn what_the_publisher_stores_is_served_whole_and_in_parts() {
    let walrus = walrus(|_| {}).await;
    for blob in [&b""[..], b"x", b"0123456789"] {
        let blob = Bytes::from_static(blob);
        let id = walrus.store(blob.clone()).await;
        let response = walrus.aggregator.blob(&id).await.unwrap();
        assert_eq!(response.total(), blob.len() as u64);
        let (body, end) = all(response).await;
        assert!(end.is_ok() && body == blob, "{end:?}");
    }
    let id = walrus.store("0123456789").await;
    let part = walrus.aggregator.blob_range(&id, 3..=5).await.unwrap();
    assert_eq!(part.total(), 10);
    assert_eq!(all(part).await.0, b"345");
    let outside = walrus.aggregator.blob_range(&id, 3..=10).await;
    assert!(matches!(outside, Err(AggregatorError::RangeNotSatisfiable)));
    walrus.aggregator.status().await.unwrap();
}

#[tokio::test]
async fn objects_lead_to_their_blobs_even_to_empty_ones() {
    let walrus = walrus(|_| {}).await;
    for blob in ["", "a blob"] {
        let stored = walrus.publisher.store(blob.into(), StoreOptions::default()).await.unwrap();
        let Stored::NewlyCreated { blob: id, object, end_epoch: 35, .. } = stored else {
            panic!("{stored:?}");
        };
        let resolved = walrus.aggregator.resolve_object(&object.parse().unwrap()).await.unwrap();
        assert_eq!((resolved.blob, resolved.content_type), (id, None));
    }
    let nobody = walrus.aggregator.resolve_object(&"0x2a".parse().unwrap()).await;
    assert!(nobody.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_blob_stored_again_is_certified_already() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("twice").await;
    let options = StoreOptions { epochs: Some(3), ..StoreOptions::default() };
    let again = walrus.publisher.store("twice".into(), options).await.unwrap();
    let expected = Stored::AlreadyCertified { blob: id, end_epoch: 37 };
    assert_eq!(again, expected);
}

#[tokio::test]
async fn files_of_a_quilt_are_served_by_name_and_by_patch() {
    let walrus = walrus(|_| {}).await;
    let part = |identifier: &str, content: Bytes| QuiltPart {
        identifier: identifier.into(),
        content,
        tags: BTreeMap::from([("content-type".into(), "text/plain".into())]),
    };
    let large = Bytes::from(vec![b'l'; 3 << 20]);
    let parts = vec![part("a/b \"c\".txt", "in a quilt".into()), part("large", large)];
    let quilt = walrus.publisher.store_quilt(parts, StoreOptions::default()).await.unwrap();
    let named: Vec<_> = quilt.patches.iter().map(|patch| patch.identifier.as_str()).collect();
    assert_eq!(named, ["a/b \"c\".txt", "large"]);
    let id = quilt.blob_id();
    let by_name = format!("/v1/blobs/by-quilt-id/{id}/a%2Fb%20%22c%22.txt");
    let by_patch = format!("/v1/blobs/by-quilt-patch-id/{}", quilt.patches[0].id);
    for path in [by_name, by_patch] {
        let reply = ask(walrus.reads_from(), "GET", &path, "").await;
        assert!(reply.ends_with("\r\n\r\nin a quilt"), "{reply}");
        assert!(reply.contains(&format!("etag: {id}\r\n")), "the quilt's: {reply}");
        assert!(reply.contains("content-type: text/plain\r\n"), "{reply}");
        assert!(reply.contains("x-quilt-patch-identifier: a/b \"c\".txt\r\n"), "{reply}");
    }
    let list = ask(walrus.reads_from(), "GET", &format!("/v1/quilts/{id}/patches"), "").await;
    assert!(list.contains(&format!("\"patch_id\":\"{}\"", quilt.patches[1].id)), "{list}");
    let stats = ask(walrus.reads_from(), "GET", "/_stats", "").await;
    let (_, stats) = stats.split_once("\r\n\r\n").unwrap();
    let stats: Value = serde_json::from_str(stats).unwrap();
    assert_eq!(stats, json!({"requests": 3, "by_blob": {id.to_string(): 3}}));
}

#[tokio::test]
async fn a_head_is_that_of_a_get() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("a blob").await;
    let path = format!("/v1/blobs/{id}");
    let undated = |reply: String| {
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let lines = head.lines().filter(|line| !line.starts_with("date: "));
        (lines.map(str::to_owned).collect::<Vec<_>>(), body.to_owned())
    };
    for faults in [json!({}), json!({"extra_bytes": 3})] {
        walrus.fault(faults).await;
        let (get, body) = undated(ask(walrus.reads_from(), "GET", &path, "").await);
        let (head, nothing) = undated(ask(walrus.reads_from(), "HEAD", &path, "").await);
        assert_eq!((head, nothing.as_str()), (get, ""));
        assert!(body.starts_with("a blob"));
    }
}

#[tokio::test]
async fn answers_of_every_kind_are_open_to_other_origins() {
    let walrus = walrus(|_| {}).await;
    let vary = "vary: origin, access-control-request-method, access-control-request-headers\r\n";
    for (method, path, status) in [
        ("GET", "/status", 200),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/blobs/x", 405),
        ("GET", "/v1/blobs/x", 400),
        ("OPTIONS", "/v1/nothing", 200),
    ] {
        let reply = ask(walrus.reads_from(), method, path, "").await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
        assert!(reply.contains("access-control-allow-origin: *\r\n"), "{path}: {reply}");
        assert!(reply.contains(vary), "{path}: {reply}");
    }
}

#[tokio::test]
async fn every_status_that_can_be_set_is_understood() {
    use AggregatorError as E;
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("a blob").await;
    type Holds = fn(&E) -> bool;
    let is: [(u16, Holds); 9] = [
        (403, |error| matches!(error, E::TooLarge)),
        (404, |error| matches!(error, E::BlobNotFound)),
        (429, |error| matches!(error, E::TooManyRequests { retry_after: None })),
        (451, |error| matches!(error, E::Blocked)),
        (500, |error| matches!(error, E::Internal { reason } if reason == "INTERNAL_ERROR")),
        (502, |error| matches!(error, E::Gateway { .. })),
        (503, |error| matches!(error, E::Unavailable { retry_after: None })),
        (522, |error| matches!(error, E::Gateway { .. })),
        (302, |error| matches!(error, E::Unexpected { .. })),
    ];
    for (status, is_right) in is {
        walrus.fault(json!({ "status": status })).await;
        let error = walrus.aggregator.blob(&id).await.unwrap_err();
        assert!(is_right(&error), "{status}: {error:?}");
    }
    walrus.fault(json!({"error_rate": 1.0})).await;
    let error = walrus.aggregator.blob(&id).await.unwrap_err();
    assert!(matches!(error, E::Internal { .. }), "{error:?}");
    walrus.fault(json!({"status": 503, "error_rate": 0.0})).await;
    assert!(walrus.aggregator.blob(&id).await.is_ok());
}

#[tokio::test]
async fn damaged_bodies_are_damaged_as_asked() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("0123456789").await;
    let read = async |faults: Value| {
        walrus.fault(faults).await;
        let response = walrus.aggregator.blob(&id).await.unwrap();
        (response.total(), all(response).await)
    };
    let (total, (body, end)) = read(json!({"corrupt": true})).await;
    assert_eq!((total, end.is_ok()), (10, true));
    assert_eq!(body, b"0123446789", "one bit, in the middle");
    let (total, (body, end)) = read(json!({"extra_bytes": 3})).await;
    assert_eq!((total, end.is_ok(), &body[..]), (13, true, &b"0123456789!!!"[..]));
    let (total, (body, end)) = read(json!({"truncate_at": 4})).await;
    assert_eq!((total, &body[..]), (10, &b"0123"[..]));
    assert!(matches!(end, Err(BodyError::Broken { received: 4, length: 10, .. })), "{end:?}");
    let (total, (body, end)) = read(json!({"html": true})).await;
    assert!(body.starts_with(b"<!doctype html>") && end.is_ok() && total == body.len() as u64);
}

#[tokio::test]
async fn a_large_body_is_cut_at_the_very_byte() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store(vec![b'x'; 8 << 20]).await;
    for at in [0, 1, (5 << 20) + 7] {
        walrus.fault(json!({"truncate_at": at})).await;
        let (body, end) = all(walrus.aggregator.blob(&id).await.unwrap()).await;
        assert_eq!(body.len(), at);
        assert!(matches!(end, Err(BodyError::Broken { .. })), "{end:?}");
    }
}

#[tokio::test]
async fn a_reset_body_breaks_within_the_bytes_asked_for() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store(vec![b'x'; 1 << 20]).await;
    walrus.fault(json!({"reset_at": 500_000})).await;
    let (body, end) = all(walrus.aggregator.blob(&id).await.unwrap()).await;
    assert!(body.len() <= 500_000, "{}", body.len());
    let end = format!("{:?}", end.unwrap_err());
    assert!(end.contains("ConnectionReset"), "{end}");
}

#[tokio::test]
async fn only_the_share_of_requests_that_is_asked_for_waits() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("a blob").await;
    let hour = 3_600_000;
    walrus.fault(json!({"latency_ms": hour, "latency_share": 0.0})).await;
    assert!(walrus.aggregator.blob(&id).await.is_ok());
    walrus.fault(json!({"latency_ms": hour, "latency_share": 0.5})).await;
    let impatient = || tokio::time::timeout(Duration::from_millis(50), walrus.aggregator.blob(&id));
    let (mut waited, mut served) = (false, false);
    while !(waited && served) {
        match impatient().await {
            Ok(blob) => served |= blob.is_ok(),
            Err(_) => waited = true,
        }
    }
}

#[tokio::test]
async fn a_stalled_body_gives_its_beginning_and_keeps_the_connection() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("0123456789").await;
    walrus.fault(json!({"stall_at": 4})).await;
    let mut response = walrus.aggregator.blob(&id).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "0123");
    let more = tokio::time::timeout(Duration::from_millis(50), response.chunk()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_daemon_that_refuses_still_takes_its_faults() {
    let walrus = walrus(|_| {}).await;
    let id = walrus.store("a blob").await;
    walrus.fault(json!({"refuse": true})).await;
    let error = walrus.aggregator.blob(&id).await.unwrap_err();
    assert!(matches!(error, AggregatorError::Connect { .. }), "{error:?}");
    walrus.fault(json!({})).await;
    assert!(walrus.aggregator.blob(&id).await.is_ok());
}

#[tokio::test]
async fn an_aggregator_may_be_made_to_serve_small_blobs_only() {
    let walrus = walrus(|_| {}).await;
    let stored =
        walrus.publisher.store("0123456789".into(), StoreOptions::default()).await.unwrap();
    let Stored::NewlyCreated { blob, object, .. } = stored else {
        panic!("{stored:?}");
    };
    walrus.fault(json!({"max_body": 9})).await;
    let error = walrus.aggregator.blob(&blob).await.unwrap_err();
    assert!(matches!(error, AggregatorError::TooLarge), "{error:?}");
    let error = walrus.aggregator.resolve_object(&object.parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, AggregatorError::TooLarge), "{error:?}");
    walrus.fault(json!({"max_body": 10})).await;
    assert!(walrus.aggregator.blob(&blob).await.is_ok());
}

#[tokio::test]
async fn the_publisher_says_what_is_too_large_however_large_it_is() {
    let walrus = walrus(|options| {
        options.max_body = 1_000;
        options.max_quilt_body = 1_000;
    })
    .await;
    for length in [1_001, 100_000, 32 << 20] {
        let content = Bytes::from(vec![0; length]);
        let blob = walrus.publisher.store(content.clone(), StoreOptions::default()).await;
        assert!(matches!(blob, Err(PublisherError::TooLarge)), "{length}: {blob:?}");
        let part = QuiltPart { identifier: "large".into(), content, tags: BTreeMap::new() };
        let quilt = walrus.publisher.store_quilt(vec![part], StoreOptions::default()).await;
        assert!(matches!(quilt, Err(PublisherError::TooLarge)), "{length}: {quilt:?}");
    }
}

#[tokio::test]
async fn the_publisher_refuses_what_makes_no_quilt() {
    let walrus = walrus(|_| {}).await;
    let part = |identifier: &str| QuiltPart {
        identifier: identifier.into(),
        content: "x".into(),
        tags: BTreeMap::new(),
    };
    for parts in [vec![], vec![part("twice"), part("twice")], vec![part("blank ")]] {
        let refused = walrus.publisher.store_quilt(parts, StoreOptions::default()).await;
        assert!(
            matches!(&refused, Err(PublisherError::BadRequest { reason, .. }) if reason == "MALFORMED_REQUEST"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_blob_just_stored_is_seen_after_a_while() {
    let hour = Duration::from_secs(3_600);
    let walrus = walrus(|options| options.visible_after = hour).await;
    let id = walrus.store("a blob").await;
    let early = walrus.aggregator.blob(&id).await.unwrap_err();
    assert!(matches!(early, AggregatorError::BlobNotFound), "{early:?}");
    tokio::time::pause();
    tokio::time::advance(hour).await;
    tokio::time::resume();
    assert!(walrus.aggregator.blob(&id).await.is_ok());
}

#[tokio::test]
async fn a_folder_keeps_blobs_and_passes_over_what_was_left_half_written() {
    let home = tempfile::tempdir().unwrap();
    let kept = |options: &mut StandinOptions| options.dir = Some(home.path().to_owned());
    let id = walrus(kept).await.store("a blob").await;
    std::fs::write(home.path().join(format!(".{id}.0")), "a bl").unwrap();
    let again = walrus(kept).await;
    assert_eq!(all(again.aggregator.blob(&id).await.unwrap()).await.0, b"a blob");
}
