//! Preload.

use serde_json::json;
use wcdn_proto::pb::admin::v1::{PreloadFailure, PreloadJob, PreloadedRegion};

use super::{
    desk::{COMMITTED_AT_MS, Desk},
    program::{Shell, id},
};

fn job(done: u32, failed: u32) -> PreloadJob {
    let region = |region: &str| PreloadedRegion {
        region: region.into(),
        wanted: 2,
        done,
        failed,
        bytes: 3 << 20,
    };
    PreloadJob {
        id: "pre_1".into(),
        begun_at_ms: COMMITTED_AT_MS,
        regions: vec![region("eu"), region("us")],
        settled: done + failed == 2,
        failures: Vec::new(),
    }
}

#[tokio::test]
async fn a_preload_is_named_so_that_it_can_be_looked_at_later() {
    let desk = Desk::start().await;
    desk.state().told_of_preload = vec![job(0, 0)];
    desk.state().hangs = true;
    let shell = Shell::of(&desk);
    let line = format!("preload {} {} --region eu --region us", id(1), id(2));
    let printed = shell.run(&line).await.done();
    assert_eq!(printed, "preload of 2 blobs in 2 regions is begun as pre_1\n");
    let expected =
        format!("PreloadRequest {{ ids: [{:?}, {:?}], regions: [\"eu\", \"us\"] }}", id(1), id(2));
    assert_eq!(desk.state().asked.join("\n"), expected);
    let ran = shell.run("preload --job pre_1").await;
    assert_eq!(ran.code, Some(5), "it is not done yet");
    assert!(ran.stdout.ends_with("\n0 of 4 blobs are there in 2 regions\n"), "{}", ran.stdout);
    shell.run("preload --job pre_7").await.failed(1);
}

#[tokio::test]
async fn waiting_for_a_preload_ends_when_every_blob_is_there() {
    let desk = Desk::start().await;
    desk.state().told_of_preload = vec![job(0, 0), job(1, 0), job(2, 0)];
    desk.state().breaks = 1;
    let shell = Shell::of(&desk);
    let expected = "\
preload of 2 blobs in 2 regions is begun as pre_1
REGION  WANTED  DONE  FAILED  BYTES
eu      2       2     0       3 MiB
us      2       2     0       3 MiB
4 of 4 blobs are there in 2 regions
";
    let printed = shell.run(&format!("preload {} {} --wait", id(1), id(2))).await.done();
    assert_eq!(printed, expected);
    let printed = shell.run(&format!("preload {} --wait --json", id(1))).await.json();
    let region = json!({ "region": "eu", "wanted": 2, "done": 2, "failed": 0, "bytes": 3 << 20 });
    assert_eq!(
        (&printed["job"]["regions"][0], &printed["job"]["settled"]),
        (&region, &json!(true))
    );
}

#[tokio::test]
async fn a_blob_that_cannot_be_preloaded_is_named_and_exits_with_5() {
    let desk = Desk::start().await;
    let failure = PreloadFailure {
        id: id(2),
        region: "eu".into(),
        reason: "eu-1: no origin has the blob".into(),
    };
    let told = PreloadJob { failures: vec![failure], ..job(1, 1) };
    desk.state().told_of_preload = vec![told];
    let ran = Shell::of(&desk).run(&format!("preload {} {} --wait -q", id(1), id(2))).await;
    let expected = format!(
        "pre_1\neu  2  1  1  3 MiB\nus  2  1  1  3 MiB\n{}  eu  eu-1: no origin has the blob\n",
        id(2)
    );
    assert_eq!((ran.code, ran.stdout), (Some(5), expected));
}
