//! Conditional requests.

use http::{Method, StatusCode};
use wcdn_proto::BlobId;
use wcdn_tests::{Fleet, bytes, client::Reply};

async fn with(fleet: &Fleet, id: &BlobId, header: &str, value: &str) -> Reply {
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    fleet.client.request(Method::GET, &url).header(header, value).send().await
}

#[tokio::test]
async fn a_viewer_that_has_the_blob_is_answered_from_the_url_alone() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(1, 5_000)).await;
    for etag in [format!("\"{id}\""), format!("W/\"{id}\""), format!("\"x\", \"{id}\"")] {
        let reply = with(&fleet, &id, "if-none-match", &etag).await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
        assert_eq!(reply.header("etag"), format!("\"{id}\""));
        assert!(!reply.headers.contains_key("content-length"));
        assert!(reply.body.is_empty());
    }
    assert_eq!(fleet.fetches(&id).await, 0, "no origin was asked");
    let url = fleet.edge(0, &format!("/v1/blobs/{id}"));
    let asking = fleet.client.request(Method::HEAD, &url);
    let head = asking.header("if-none-match", &format!("\"{id}\"")).send().await;
    assert_eq!(head.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_star_matches_only_what_exists() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(2, 5_000)).await;
    assert_eq!(with(&fleet, &id, "if-none-match", "*").await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(fleet.fetches(&id).await, 1, "it had to be looked up");
    let nothing = BlobId::from_bytes([1; 32]);
    let reply = with(&fleet, &nothing, "if-none-match", "*").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_etag_gets_the_blob() {
    let fleet = Fleet::start().await;
    let body = bytes(3, 5_000);
    let id = fleet.store(body.clone()).await;
    let reply = with(&fleet, &id, "if-none-match", "\"something-else\"").await;
    assert_eq!((reply.status, reply.body), (StatusCode::OK, body));
}

#[tokio::test]
async fn what_is_known_to_be_gone_is_current_for_nobody() {
    let fleet = Fleet::start().await;
    let id = BlobId::from_bytes([9; 32]);
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.status, StatusCode::NOT_FOUND);
    let reply = with(&fleet, &id, "if-none-match", &format!("\"{id}\"")).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn if_match_is_asked_before_if_none_match() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(8, 100)).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let asking = fleet.client.request(Method::GET, &url).header("if-match", "\"other\"");
    let reply = asking.header("if-none-match", &format!("\"{id}\"")).send().await;
    assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn if_match_with_another_etag_fails() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(4, 5_000)).await;
    let wrong = with(&fleet, &id, "if-match", "\"something-else\"").await;
    assert_eq!(wrong.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(wrong.code(), "PRECONDITION_FAILED");
    let right = with(&fleet, &id, "if-match", &format!("\"{id}\"")).await;
    assert_eq!(right.status, StatusCode::OK);
}

#[tokio::test]
async fn a_download_is_resumed_only_if_it_is_the_same_body() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(5, 5_000)).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for (validator, status) in [
        (format!("\"{id}\""), StatusCode::PARTIAL_CONTENT),
        ("\"other\"".into(), StatusCode::OK),
        ("Tue, 24 Nov 2026 00:00:00 GMT".into(), StatusCode::OK),
    ] {
        let asking = fleet.client.request(Method::GET, &url).header("range", "bytes=10-");
        let reply = asking.header("if-range", &validator).send().await;
        assert_eq!(reply.status, status, "{validator}");
    }
}
