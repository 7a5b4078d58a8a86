//! Files of quilts, served from the verified quilt.

use bytes::Bytes;
use http::{Method, StatusCode};
use wcdn_proto::QuiltPatchId;
use wcdn_tests::{Fleet, bytes};

fn files() -> Vec<(&'static str, Bytes, &'static str)> {
    vec![
        ("about.txt", Bytes::from_static(b"three files"), "text/plain"),
        ("pictures/wal rus.svg", Bytes::from_static(b"<svg/>"), "image/svg+xml"),
        ("data.bin", bytes(7, 30_000), "application/octet-stream"),
    ]
}

#[tokio::test]
async fn a_file_is_served_by_name_and_by_id_from_both_families() {
    let fleet = Fleet::start().await;
    let (quilt, stored) = fleet.store_quilt(&files()).await;
    let id = stored["storedQuiltBlobs"][1]["quiltPatchId"].as_str().unwrap();
    assert_eq!(stored["storedQuiltBlobs"][1]["identifier"], "data.bin");
    for path in [
        format!("/cdn/{quilt}/data.bin"),
        format!("/cdn/{id}"),
        format!("/v1/blobs/by-quilt-id/{quilt}/data.bin"),
        format!("/v1/blobs/by-quilt-patch-id/{id}"),
    ] {
        let reply = fleet.get(&path).await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 30_000), "{path}");
        assert_eq!(reply.body, bytes(7, 30_000));
        assert_eq!(reply.header("etag"), format!("\"{id}\""), "a file has a validator of its own");
        assert_eq!(reply.header("x-quilt-patch-identifier"), "data.bin");
        assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
    }
    assert_eq!(fleet.fetches(&quilt).await, 1, "one fetch, of the whole quilt");
}

#[tokio::test]
async fn names_with_slashes_and_spaces_lead_to_their_files() {
    let fleet = Fleet::start().await;
    let (quilt, _) = fleet.store_quilt(&files()).await;
    for path in [
        format!("/cdn/{quilt}/pictures/wal%20rus.svg"),
        format!("/v1/blobs/by-quilt-id/{quilt}/pictures%2Fwal%20rus.svg"),
    ] {
        let reply = fleet.get(&path).await;
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"<svg/>"[..]), "{path}");
        assert_eq!(reply.header("content-type"), "image/svg+xml");
        assert_eq!(reply.header("content-security-policy"), "sandbox");
    }
}

#[tokio::test]
async fn a_file_has_ranges_and_conditions_like_a_blob() {
    let fleet = Fleet::start().await;
    let (quilt, stored) = fleet.store_quilt(&files()).await;
    let url = fleet.edge(0, &format!("/cdn/{quilt}/data.bin"));
    let part = fleet.client.range(&url, "bytes=-10").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, bytes(7, 30_000).slice(29_990..));
    let id = stored["storedQuiltBlobs"][1]["quiltPatchId"].as_str().unwrap();
    let etag = format!("\"{id}\"");
    let asking = fleet.client.request(Method::GET, &url).header("if-none-match", &etag);
    assert_eq!(asking.send().await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn the_list_of_files_is_the_aggregators() {
    let fleet = Fleet::start().await;
    let (quilt, _) = fleet.store_quilt(&files()).await;
    let ours = fleet.get(&format!("/v1/quilts/{quilt}/patches")).await;
    let url = format!("{}/v1/quilts/{quilt}/patches", fleet.aggregator(0));
    assert_eq!(ours.json(), fleet.client.get(&url).await.json());
    assert_eq!(ours.json()[2]["tags"]["content-type"], "image/svg+xml");
}

#[tokio::test]
async fn a_name_that_is_not_there_is_404_without_asking_again() {
    let fleet = Fleet::start().await;
    let (quilt, _) = fleet.store_quilt(&files()).await;
    for _ in 0..3 {
        let reply = fleet.get(&format!("/cdn/{quilt}/nothing")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(reply.code(), "QUILT_PATCH_NOT_FOUND");
    }
    assert_eq!(fleet.fetches(&quilt).await, 1);
}

#[tokio::test]
async fn a_blob_that_is_no_quilt_has_no_files() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(1, 777)).await;
    let named = fleet.get(&format!("/cdn/{id}/index.html")).await;
    assert_eq!((named.status, named.code().as_str()), (StatusCode::NOT_FOUND, "NOT_A_QUILT"));
    let forged = QuiltPatchId::new(id, 5, 6).unwrap();
    let by_id = fleet.get(&format!("/cdn/{forged}")).await;
    assert_eq!((by_id.status, by_id.code().as_str()), (StatusCode::NOT_FOUND, "NOT_A_QUILT"));
}

#[tokio::test]
async fn a_forged_patch_id_gives_no_file() {
    let fleet = Fleet::start().await;
    let (quilt, _) = fleet.store_quilt(&files()).await;
    let forged = QuiltPatchId::new(quilt, 60, 66).unwrap();
    let reply = fleet.get(&format!("/cdn/{forged}")).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::NOT_FOUND, "NOT_A_QUILT"));
}

#[tokio::test]
async fn a_herd_after_one_file_costs_one_fetch() {
    let fleet = Fleet::start().await;
    let (quilt, _) = fleet.store_quilt(&files()).await;
    let url = fleet.edge(0, &format!("/cdn/{quilt}/data.bin"));
    let herd = (0..60).map(|_| fleet.client.get(&url));
    for reply in futures_util::future::join_all(herd).await {
        assert_eq!((reply.status, reply.body), (StatusCode::OK, bytes(7, 30_000)));
    }
    assert_eq!(fleet.fetches(&quilt).await, 1);
}
