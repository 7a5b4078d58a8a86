//! Parts of blobs, in every form there is.

use http::StatusCode;
use wcdn_tests::{Fleet, bytes};

#[tokio::test]
async fn every_form_of_range_gives_its_bytes_cached_or_not() {
    let fleet = Fleet::start().await;
    for (n, (range, expected)) in [
        ("bytes=0-0", 0..1),
        ("bytes=100-199", 100..200),
        ("bytes=49990-", 49_990..50_000),
        ("bytes=-100", 49_900..50_000),
        ("bytes=49999-99999", 49_999..50_000),
    ]
    .into_iter()
    .enumerate()
    {
        let body = bytes(100 + n as u64, 50_000);
        let id = fleet.store(body.clone()).await;
        let url = fleet.edge(0, &format!("/cdn/{id}"));
        for cache in ["MISS", "HIT"] {
            let reply = fleet.client.range(&url, range).await;
            assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(reply.body, body.slice(expected.clone()), "{range}");
            let place = format!("bytes {}-{}/50000", expected.start, expected.end - 1);
            assert_eq!(reply.header("content-range"), place);
            assert_eq!(reply.header("x-cache"), cache);
        }
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts_with_their_places() {
    let fleet = Fleet::start().await;
    let body = bytes(2, 10_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let reply = fleet.client.range(&url, "bytes=5000-5009,0-9").await;
    assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT);
    let boundary = reply.header("content-type").strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("a boundary");
    let mut expected = Vec::new();
    for (place, part) in [("5000-5009", 5_000..5_010), ("0-9", 0..10)] {
        let head = format!(
            "\r\n--{boundary}\r\ncontent-type: application/octet-stream\r\n\
             content-range: bytes {place}/10000\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&body[part]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(reply.body, expected);
    assert_eq!(reply.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn ranges_outside_the_body_tell_how_long_it_is() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(3, 1_000)).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for range in ["bytes=1000-", "bytes=-0", "bytes=5000-6000,7000-"] {
        let reply = fleet.client.range(&url, range).await;
        assert_eq!(reply.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(reply.header("content-range"), "bytes */1000");
        assert_eq!(reply.code(), "RANGE_NOT_SATISFIABLE");
    }
}

#[tokio::test]
async fn two_thousand_or_overlapping_ranges_get_the_body_once() {
    let fleet = Fleet::start().await;
    let body = bytes(4, 100_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let many: Vec<String> = (0..2_000).map(|n| format!("{}-{}", n * 50, n * 50 + 1)).collect();
    for range in [many.join(","), vec!["0-"; 50].join(","), vec!["0-99999"; 64].join(",")] {
        let reply = fleet.client.range(&url, &format!("bytes={range}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.body, body);
    }
}

#[tokio::test]
async fn a_malformed_range_is_no_range() {
    let fleet = Fleet::start().await;
    let body = bytes(5, 1_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for range in ["bytes=9-1", "bytes=a-b", "lines=0-1", "bytes 0-1"] {
        let reply = fleet.client.range(&url, range).await;
        assert_eq!((reply.status, reply.body), (StatusCode::OK, body.clone()), "{range}");
    }
}

#[tokio::test]
async fn a_range_means_nothing_to_head() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(6, 1_000)).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    fleet.client.get(&url).await;
    let asking = fleet.client.request(http::Method::HEAD, &url).header("range", "bytes=0-9");
    let reply = asking.send().await;
    assert_eq!((reply.status, reply.header("content-length")), (StatusCode::OK, "1000"));
}
