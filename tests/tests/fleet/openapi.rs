//! The REST API as others read its description.

use std::path::Path;

use wcdn_tests::{Fleet, openapi};

async fn fleet() -> Fleet {
    Fleet::with(|topology| {
        topology.control_plane = true;
        // Nobody else asks as often.
        topology.control.limits.key_per_minute = 0;
        topology.control.limits.anonymous_per_minute = 0;
        topology.control.limits.failures_per_minute = 0;
    })
    .await
}

fn http(fleet: &Fleet) -> (String, String) {
    let desk = fleet.cluster.desk().expect("there is a control plane");
    (format!("http://{}", desk.http), desk.key.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_finds_nothing_wrong_with_the_description() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    openapi::validate(&file).await.unwrap_or_else(|told| panic!("{told}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fuzzer_finds_no_server_error_and_no_answer_that_is_not_described() {
    let fleet = fleet().await;
    let (http, key) = http(&fleet);
    openapi::fuzz(&http, &key).await.unwrap_or_else(|told| panic!("{told}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_description_and_makes_a_call() {
    let fleet = fleet().await;
    let (http, key) = http(&fleet);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let seen = openapi::browse(&http, &key, &folder.join("docs.png")).await;
    let seen = seen.unwrap_or_else(|told| panic!("{told}"));
    assert!(seen.title.starts_with("WCDN control plane"), "{}", seen.title);
    assert!(seen.operations >= 39, "{}", seen.operations);
    assert_eq!(seen.status, "200");
    assert!(seen.body.contains("\"items\""), "{}", seen.body);
    assert_eq!(seen.errors, Vec::<String>::new());
    let elsewhere: Vec<_> = seen
        .requests
        .iter()
        .filter(|url| !url.starts_with(&http) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
