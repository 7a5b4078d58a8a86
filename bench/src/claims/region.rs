//! What it costs to read through the owner of a region, and what it saves.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use wcdn_proto::BlobId;
use wcdn_tests::{
    Fleet, bytes,
    region::{owners, peered},
};

use crate::figures::{Figures, Unit, millis, quantile};

/// Large enough to stream: its first byte does not wait for the check.
const SIZE: usize = 2 << 20;

/// What is sent of one whose rest does not come, and how long the rest of another may take.
const BEGINNING: usize = 200_000;
const REST: Duration = Duration::from_millis(200);

/// Viewers of one cold blob, and the nodes that they are spread over.
const VIEWERS: usize = 300;
const NODES: usize = 9;

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let fleet = peered(|topology| topology.max_body = 2 * SIZE).await;
        let first = first_bytes(&fleet, is_quick).await?;
        let all = vec![first, herd(&fleet, is_quick).await?];
        fleet.stop().await;
        Ok(all)
    })
}

/// The first byte of cold blobs, at their owner and at another node of the region. First of such whose
/// rest does not come: what is sent meanwhile takes the processors that it needs itself.
async fn first_bytes(fleet: &Fleet, is_quick: bool) -> anyhow::Result<Figures> {
    let title = "region: first byte of a cold blob of 2 MiB, at its owner and through it";
    let mut figures = Figures::new(title);
    fleet.fault_all(json!({ "stall_at": BEGINNING })).await;
    let [local, remote] = by_turns(fleet, 0, is_quick).await?;
    figures.note("at its owner, p50", local.p50, Unit::Millis);
    figures.note("through its owner, p50", remote.p50, Unit::Millis);
    figures.at_most("what reading through adds, p50", remote.p50 - local.p50, 1.0, Unit::Millis);
    fleet.fault_all(json!({})).await;
    let [local, remote] = by_turns(fleet, 5_000, is_quick).await?;
    figures.note("while all of it is sent: at its owner, p50", local.p50, Unit::Millis);
    figures.note("at its owner, p99", local.p99, Unit::Millis);
    figures.note("through its owner, p50", remote.p50, Unit::Millis);
    figures.note("through its owner, p99", remote.p99, Unit::Millis);
    Ok(figures)
}

struct Times {
    p50: f64,
    p99: f64,
}

/// Of cold blobs, at their owner and at another node by turns.
async fn by_turns(fleet: &Fleet, seeds: u64, is_quick: bool) -> anyhow::Result<[Times; 2]> {
    let rounds = if is_quick { 10 } else { 200 };
    let (mut at_owner, mut through) = (Vec::new(), Vec::new());
    for seed in seeds..seeds + 2 * rounds {
        let id = fleet.store(bytes(seed, SIZE)).await;
        let [owner, other, _] = owners(&id)[..] else { anyhow::bail!("three nodes") };
        let (edge, times, source) = match seed % 2 {
            0 => (owner, &mut at_owner, "walrus"),
            _ => (other, &mut through, "peer"),
        };
        times.push(first_byte(fleet, edge, &id, source).await?);
        // What the last one left to be checked does not slow down the next.
        while fleet.metric_of(owner, "wcdn_fills_in_flight", "").await > 0.0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok([at_owner, through]
        .map(|mut all| Times { p50: quantile(&mut all, 0.5), p99: quantile(&mut all, 0.99) }))
}

async fn first_byte(fleet: &Fleet, edge: usize, id: &BlobId, source: &str) -> anyhow::Result<f64> {
    let url = fleet.edge(edge, &format!("/cdn/{id}"));
    let began = Instant::now();
    let (_, headers, mut body) = fleet.client.request(Method::GET, &url).open().await?;
    body.frame().await.context("no first byte")??;
    let took = millis(began.elapsed());
    ensure!(headers["x-source"] == source, "{url} from {:?}", headers["x-source"]);
    // The rest, if there is any; who leaves has the fill given up.
    drop(timeout(REST, body.collect()).await);
    Ok(took)
}

/// Three hundred viewers at nine nodes in three regions ask at once for a blob that nobody has.
async fn herd(fleet: &Fleet, is_quick: bool) -> anyhow::Result<Figures> {
    let rounds = if is_quick { 1 } else { 5 };
    let (mut most, mut times) = (0, Vec::new());
    for seed in 10_000..10_000 + rounds {
        let id = fleet.store(bytes(seed, SIZE)).await;
        let began = Instant::now();
        let viewers = (0..VIEWERS).map(|viewer| async move {
            let url = fleet.edge(viewer % NODES, &format!("/cdn/{id}"));
            let (_, _, body) = fleet.client.request(Method::GET, &url).open().await?;
            let length = body.collect().await?.to_bytes().len();
            ensure!(length == SIZE, "{length} bytes");
            Ok(())
        });
        try_join_all(viewers).await?;
        times.push(began.elapsed().as_secs_f64());
        most = most.max(fleet.fetches(&id).await);
    }
    let title = format!(
        "region: {VIEWERS} viewers at once of a cold blob of 2 MiB, nine nodes in three regions"
    );
    let mut figures = Figures::new(title);
    figures.at_most("fetches of a blob", most as f64, 3.0, Unit::Count);
    figures.note("until all have it, p50", quantile(&mut times, 0.5), Unit::Seconds);
    Ok(figures)
}
