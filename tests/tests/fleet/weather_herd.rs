//! Many viewers of one thing, and something goes wrong.

use std::path::PathBuf;

use http::StatusCode;
use serde_json::json;
use wcdn_tests::{Fleet, bytes, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_viewers_of_a_cold_blob_do_not_notice_that_its_origin_dies_halfway() {
    // The same blob with another origin dying each time: once it is the one that is asked.
    for (bad, length) in [(0, 900_000), (1, 900_000), (2, 900_000), (0, 3_000_000)] {
        let fleet = Fleet::with(|topology| {
            topology.edge.limits.max_connections_per_client = 1_000;
        })
        .await;
        let body = bytes(1, length);
        let id = fleet.store(body.clone()).await;
        fleet.fault_all(json!({"latency_ms": 300})).await;
        fleet.fault(bad, json!({"latency_ms": 300, "reset_at": length / 2})).await;
        let url = fleet.edge(0, &format!("/cdn/{id}"));
        let herd = (0..500).map(|_| async {
            let reply = fleet.client.get(&url).await;
            let got = (reply.status, reply.complete, reply.body.len());
            assert_eq!(got, (StatusCode::OK, true, length), "{:?}", reply.headers);
            assert!(reply.body == body);
        });
        futures_util::future::join_all(herd).await;
        let fetched = fleet.metric("wcdn_origin_bytes_total", "").await;
        assert_eq!(fetched, length as f64, "no byte came twice");
        assert_eq!(fleet.metric("wcdn_fills_total", "").await, 1.0, "one fill for all");
    }
}

#[tokio::test]
async fn a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let fleet = Fleet::with(|topology| {
        topology.edge.access_log.to = PathBuf::from("/dev/full");
    })
    .await;
    let id = fleet.store(bytes(1, 5_000)).await;
    for _ in 0..200 {
        let reply = fleet.get(&format!("/cdn/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body == bytes(1, 5_000));
    }
    eventually("the lines are counted as lost", || async {
        fleet.metric("wcdn_access_log_dropped_total", "").await >= 100.0
    })
    .await;
    fleet.stop().await;
}
