//! The stand-in Walrus behaves like the real one, or every other test would prove little.

use http::{Method, StatusCode};
use serde_json::json;
use wcdn_tests::{Fleet, bytes, client::Reply};

async fn asked(fleet: &Fleet, path: &str, header: (&str, &str)) -> Reply {
    let url = format!("{}{path}", fleet.aggregator(0));
    fleet.client.request(Method::GET, &url).header(header.0, header.1).send().await
}

async fn get(fleet: &Fleet, path: &str) -> Reply {
    asked(fleet, path, ("accept", "*/*")).await
}

#[tokio::test]
async fn a_blob_comes_with_the_headers_of_the_real_daemon() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(1, 100)).await;
    let reply = get(&fleet, &format!("/v1/blobs/{id}")).await;
    assert_eq!(reply.header("etag"), id.to_string(), "bare, against RFC 9110");
    let caching = "public, max-age=86400, stale-while-revalidate=3600";
    assert_eq!(reply.header("cache-control"), caching);
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert!(reply.header("vary").starts_with("origin,"));
    assert!(
        !reply.headers.contains_key("content-type") && !reply.headers.contains_key("accept-ranges")
    );
    let echoed = asked(&fleet, &format!("/v1/blobs/{id}"), ("accept", "text/html")).await;
    assert_eq!(echoed.header("content-type"), "text/html");
    let asking =
        asked(&fleet, &format!("/v1/blobs/{id}"), ("if-none-match", &id.to_string())).await;
    assert_eq!(asking.status, StatusCode::OK, "it knows no conditions");
}

#[tokio::test]
async fn only_ranges_with_both_ends_are_served() {
    let fleet = Fleet::start().await;
    let body = bytes(2, 1_000);
    let id = fleet.store(body.clone()).await;
    let path = format!("/v1/blobs/{id}");
    let part = asked(&fleet, &path, ("range", "bytes=10-19")).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &body[10..20]));
    assert_eq!(part.header("content-range"), "bytes 10-19/1000");
    for range in ["bytes=5-", "bytes=-5", "bytes=0-1,3-4", "bytes=0-1000", "bytes=9-5", "lines=1-2"]
    {
        let refused = asked(&fleet, &path, ("range", range)).await;
        assert_eq!(refused.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(refused.json()["error"]["details"][0]["reason"], "INVALID_BYTE_RANGE");
        assert!(!refused.headers.contains_key("content-range"));
    }
}

#[tokio::test]
async fn refusals_have_the_words_of_the_real_daemon() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(3, 10)).await;
    for (path, status, words) in [
        (
            format!("/v1/blobs/{id}?cb=1"),
            400,
            "Failed to deserialize query string: cb: unknown field `cb`, expected \
             `strict_consistency_check` or `skip_consistency_check`",
        ),
        (
            format!("/v1/blobs/{id}?strict_consistency_check=1"),
            400,
            "provided string was not `true` or `false`",
        ),
        (
            "/v1/blobs/not-valid".into(),
            400,
            "Invalid URL: Cannot parse `blob_id` with value `not-valid`: failed to parse a blob ID",
        ),
        (format!("/v1/blobs/{id}/byte-range?start=1"), 400, "missing field `length`"),
        (format!("/v1/blobs/{id}/"), 404, ""),
        ("/v1/nothing".into(), 404, ""),
    ] {
        let reply = get(&fleet, &path).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, status, "{path}");
        assert!(text.contains(words) && words.is_empty() == text.is_empty(), "{path}: {text}");
    }
    let both = "strict_consistency_check=true&skip_consistency_check=true";
    let both = get(&fleet, &format!("/v1/blobs/{id}?{both}")).await;
    assert_eq!(both.json()["error"]["details"][0]["reason"], "INVALID_CONSISTENCY_CHECK");
    let url = format!("{}/v1/blobs/{id}", fleet.aggregator(0));
    let posted = fleet.client.request(Method::POST, &url).send().await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD")
    );
    let options = fleet.client.request(Method::OPTIONS, &url).send().await;
    assert_eq!(
        (options.status, options.header("access-control-max-age")),
        (StatusCode::OK, "86400")
    );
}

#[tokio::test]
async fn the_publisher_answers_as_the_real_one_does() {
    let fleet = Fleet::with(|topology| topology.max_body = 5_000).await;
    let url = format!("{}/v1/blobs", fleet.publisher());
    let put = |query: &str, length| {
        let url = format!("{url}{query}");
        let client = fleet.client.clone();
        async move { client.request(Method::PUT, &url).body(bytes(4, length)).send().await }
    };
    let new = put("?epochs=5", 100).await.json();
    let created = &new["newlyCreated"];
    assert_eq!(created["blobObject"]["size"], 100);
    assert_eq!(created["blobObject"]["encodingType"], "RS2");
    assert_eq!(created["blobObject"]["deletable"], true);
    assert_eq!(created["resourceOperation"]["registerFromScratch"]["epochsAhead"], 5);
    let again = put("", 100).await.json();
    assert_eq!(again["alreadyCertified"]["blobId"], created["blobObject"]["blobId"]);
    let refused = put("?deletable=true&permanent=true", 10).await;
    assert_eq!(refused.json()["error"]["details"][0]["reason"], "INVALID_BLOB_PERSISTENCE");
    assert_eq!(put("?unknown=1", 10).await.status, StatusCode::BAD_REQUEST);
    let large = put("", 6_000).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.body.ends_with(b"length limit exceeded"));
}

#[tokio::test]
async fn faults_are_set_shown_and_cleared_and_misspelt_ones_refused() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(5, 100)).await;
    fleet.fault(0, json!({"status": 429})).await;
    let busy = get(&fleet, &format!("/v1/blobs/{id}")).await;
    assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(busy.body.starts_with(b"the aggregator is receiving too many requests"));
    assert_eq!(get(&fleet, "/_faults").await.json()["status"], 429);
    let url = format!("{}/_faults", fleet.aggregator(0));
    let misspelt = fleet.client.request(Method::PUT, &url).body("{\"corupt\":true}").send().await;
    assert_eq!(misspelt.status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&misspelt.body).contains("corupt"));
    fleet.client.request(Method::DELETE, &url).send().await;
    assert_eq!(get(&fleet, &format!("/v1/blobs/{id}")).await.status, StatusCode::OK);
    let stats = get(&fleet, "/_stats").await.json();
    assert_eq!(
        (stats["requests"].as_u64(), stats["by_blob"][id.to_string()].as_u64()),
        (Some(2), Some(2))
    );
}

#[tokio::test]
async fn blobs_outlive_the_process_if_they_have_a_folder() {
    let home = tempfile::tempdir().unwrap();
    let kept = |topology: &mut wcdn_dev::Topology| topology.data = Some(home.path().to_owned());
    let fleet = Fleet::with(kept).await;
    let body = bytes(6, 5_000);
    let id = fleet.store(body.clone()).await;
    fleet.stop().await;
    let fleet = Fleet::with(kept).await;
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.body, body);
}
