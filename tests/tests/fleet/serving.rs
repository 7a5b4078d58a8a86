//! Blobs, through both families of paths, in every region.

use bytes::Bytes;
use http::{Method, StatusCode};
use wcdn_proto::BlobId;
use wcdn_tests::{Fleet, bytes};

#[tokio::test]
async fn a_stored_blob_is_served_by_every_region_to_the_byte() {
    let fleet = Fleet::start().await;
    let body = bytes(1, 60_000);
    let id = fleet.store(body.clone()).await;
    for edge in 0..3 {
        let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.body, body);
        assert_eq!(reply.header("etag"), format!("\"{id}\""));
        assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("accept-ranges"), "bytes");
    }
}

#[tokio::test]
async fn the_second_request_is_a_hit_from_memory() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(2, 1_000)).await;
    let first = fleet.get(&format!("/cdn/{id}")).await;
    assert_eq!((first.header("x-cache"), first.header("x-source")), ("MISS", "walrus"));
    assert!(first.header("cache-status").contains("fwd=miss"));
    let second = fleet.get(&format!("/cdn/{id}")).await;
    assert_eq!((second.header("x-cache"), second.header("x-source")), ("HIT", "memory"));
    assert!(second.header("cache-status").ends_with("; hit; detail=full"), "{second:?}");
    assert_eq!(second.body, first.body);
    assert_eq!(fleet.fetches(&id).await, 1);
    assert_eq!(fleet.metric("wcdn_requests_total", "source=\"memory\",status=\"2xx\"").await, 1.0);
}

#[tokio::test]
async fn an_edge_is_a_drop_in_aggregator() {
    let fleet = Fleet::start().await;
    let body = bytes(3, 5_000);
    let id = fleet.store(body.clone()).await;
    let blob = fleet.get(&format!("/v1/blobs/{id}?strict_consistency_check=true&cb=1")).await;
    assert_eq!((blob.status, blob.body), (StatusCode::OK, body.clone()));
    let part = fleet.get(&format!("/v1/blobs/{id}/byte-range?start=10&length=20")).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::OK, &body[10..30]));
    let outside = fleet.get(&format!("/v1/blobs/{id}/byte-range?start=4999&length=2")).await;
    assert_eq!(outside.status, StatusCode::BAD_REQUEST);
    let error = &outside.json()["error"];
    assert_eq!(error["details"][0]["reason"], "INVALID_BYTE_RANGE");
    assert_eq!(
        error["details"][0]["metadata"]["requestId"].as_str(),
        Some(outside.header("x-request-id"))
    );
    assert_eq!(fleet.get("/status").await.body, "OK");
    assert_eq!(fleet.get("/v1alpha/blobs/concat?ids=x").await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_blob_is_found_by_the_object_that_holds_it() {
    let fleet = Fleet::start().await;
    let body = bytes(4, 3_000);
    let url = format!("{}/v1/blobs", fleet.publisher());
    let stored = fleet.client.request(Method::PUT, &url).body(body.clone()).send().await.json();
    let object = stored["newlyCreated"]["blobObject"]["id"].as_str().unwrap().to_owned();
    let reply = fleet.get(&format!("/v1/blobs/by-object-id/{object}")).await;
    assert_eq!((reply.status, reply.body.clone()), (StatusCode::OK, body));
    let id: BlobId = reply.header("etag").trim_matches('"').parse().unwrap();
    assert_eq!(reply.header("cache-control"), "public, max-age=60", "objects can be burned");
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.header("x-cache"), "HIT");
    let nobody = fleet.get(&format!("/v1/blobs/by-object-id/0x{}", "1".repeat(64))).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(0, 0)).await;
    for asked in [Method::GET, Method::HEAD, Method::GET] {
        let url = fleet.edge(0, &format!("/cdn/{id}"));
        let reply = fleet.client.request(asked, &url).send().await;
        assert_eq!((reply.status, reply.header("content-length")), (StatusCode::OK, "0"));
        assert!(reply.body.is_empty() && reply.complete);
    }
}

#[tokio::test]
async fn a_head_tells_what_a_get_would() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(5, 40_000)).await;
    let get = fleet.get(&format!("/cdn/{id}")).await;
    let head = fleet.client.head(&fleet.edge(0, &format!("/cdn/{id}"))).await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "etag", "cache-control", "accept-ranges"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn an_uncached_head_costs_an_origin_one_byte() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(6, 900_000)).await;
    let head = fleet.client.head(&fleet.edge(0, &format!("/cdn/{id}"))).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "900000"));
    assert_eq!(head.header("cache-control"), "public, max-age=60", "nobody has checked anything");
    assert_eq!(fleet.metric("wcdn_origin_bytes_total", "").await, 1.0);
}

#[tokio::test]
async fn a_missing_blob_is_404_and_origins_are_asked_twice_at_most_for_it() {
    let fleet = Fleet::start().await;
    let id = BlobId::from_bytes([7; 32]);
    for _ in 0..20 {
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::NOT_FOUND, "BLOB_NOT_FOUND")
        );
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    assert_eq!(fleet.fetches(&id).await, 2, "two witnesses, remembered");
    let theirs = fleet.get(&format!("/v1/blobs/{id}")).await;
    assert_eq!(theirs.json()["error"]["details"][0]["reason"], "BLOB_NOT_FOUND");
}

#[tokio::test]
async fn a_blob_asked_for_too_early_is_served_soon_after_it_appears() {
    let window = std::time::Duration::from_millis(300);
    let fleet = Fleet::with(|topology| topology.visible_after = window).await;
    let body = bytes(8, 500);
    let id = fleet.store(body.clone()).await;
    assert_eq!(fleet.get(&format!("/cdn/{id}")).await.status, StatusCode::NOT_FOUND);
    wcdn_tests::eventually("the blob is served", || async {
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        reply.status == StatusCode::OK && reply.body == body
    })
    .await;
}

#[tokio::test]
async fn what_a_viewer_accepts_changes_nothing() {
    let fleet = Fleet::start().await;
    let id = fleet.store(Bytes::from("just words")).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for accept in ["text/html", "image/png", "*/*"] {
        let asking = fleet.client.request(Method::GET, &url).header("accept", accept);
        let reply = asking.header("content-type", "text/html").send().await;
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn markup_is_served_in_a_sandbox() {
    let fleet = Fleet::start().await;
    for page in ["<!doctype html><script>alert(1)</script>", "<svg onload='alert(1)'/>"] {
        let id = fleet.store(Bytes::from(page)).await;
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(reply.header("content-security-policy"), "sandbox", "{page}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_stored_type_cannot_hide_another() {
    let fleet = Fleet::start().await;
    let page = Bytes::from_static(b"<script>alert(1)</script>");
    for hidden in ["text/plain; x=x, text/html", "text/plain, text/html", "text/xsl"] {
        let (quilt, _) = fleet.store_quilt(&[("page", page.clone(), hidden)]).await;
        let reply = fleet.get(&format!("/cdn/{quilt}/page")).await;
        assert_eq!(reply.status, StatusCode::OK);
        let is_plain = reply.header("content-type") == "text/plain";
        assert!(is_plain || reply.header("content-security-policy") == "sandbox", "{hidden}");
    }
}

#[tokio::test]
async fn every_page_may_read_responses_and_errors_alike() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(9, 10)).await;
    for path in [format!("/cdn/{id}"), "/cdn/x".into(), "/nothing".into()] {
        let reply = fleet.get(&path).await;
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
        assert!(reply.header("access-control-expose-headers").contains("etag"), "{path}");
    }
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let preflight = fleet.client.request(Method::OPTIONS, &url).send().await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert!(preflight.header("access-control-allow-headers").contains("range"));
    assert_eq!(preflight.header("access-control-max-age"), "86400");
}

#[tokio::test]
async fn a_request_keeps_the_id_its_viewer_gave_it() {
    let fleet = Fleet::start().await;
    let url = fleet.edge(0, "/cdn/nonsense");
    let asking = fleet.client.request(Method::GET, &url).header("x-request-id", "mine-1");
    let reply = asking.send().await;
    assert_eq!(reply.header("x-request-id"), "mine-1");
    assert_eq!(reply.json()["error"]["requestId"], "mine-1");
    assert!(!fleet.get("/cdn/nonsense").await.header("x-request-id").is_empty());
}

#[tokio::test]
async fn other_methods_are_refused_with_those_there_are() {
    let fleet = Fleet::start().await;
    let url = fleet.edge(0, "/cdn/x");
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let reply = fleet.client.request(method, &url).body("x").send().await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
    }
}
