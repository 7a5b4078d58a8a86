//! How fast an event is everywhere, and known to be: on a network like the world's, and without one.

mod cluster;

use std::{process, time::Duration};

use futures_util::future::try_join_all;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};
use wcdn_tests::wan::Weather;

use self::cluster::{Cluster, timer_overshoot};
use crate::{
    cpu,
    figures::{Figures, Unit, millis, quantile},
};

/// Between one event and the next.
const PAUSE: Duration = Duration::from_millis(70);

/// What was promised of a cell, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    complete_p99: Option<f64>,
    complete_max: Option<f64>,
    receipt_p99: Option<f64>,
}

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(all(is_quick))
}

async fn all(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let events = if is_quick { 20 } else { 150 };
    let sizes: &[usize] = if is_quick { &[10] } else { &[10, 30, 100] };
    let mut tables = Vec::new();
    let mut figures = Figures::new("propagation: three regions, 20 to 120 ms apart");
    for &nodes in sizes {
        for loss in [0.01, 0.05, 0.20] {
            let promise = match (nodes, loss) {
                (100, 0.01) => Promise {
                    complete_p99: Some(250.0),
                    receipt_p99: Some(450.0),
                    ..Promise::default()
                },
                _ => Promise::default(),
            };
            let what = format!("{nodes} nodes, {:.0} % loss", loss * 100.0);
            let weather = Some(Weather::three_regions(loss));
            cell(&mut figures, &what, nodes, weather, events, promise).await?;
        }
    }
    tables.push(figures);
    let mut figures = Figures::new("propagation: on loopback");
    let most = sizes.last().copied().unwrap_or(10);
    let promise =
        Promise { complete_p99: Some(5.0), receipt_p99: Some(12.0), ..Promise::default() };
    let what = format!("{most} nodes, no loss");
    cell(&mut figures, &what, most, None, events, promise).await?;
    let promise = Promise { complete_max: Some(260.0), ..Promise::default() };
    let what = format!("{most} nodes, 20 % loss");
    let weather = Weather { loss: 0.2, ..Weather::fine() };
    cell(&mut figures, &what, most, Some(weather), events, promise).await?;
    tables.push(figures);
    tables.push(partition(if is_quick { 6 } else { 30 }, if is_quick { 2 } else { 10 }).await?);
    tables.push(idle(most, if is_quick { 2 } else { 20 }).await?);
    Ok(tables)
}

async fn cell(
    figures: &mut Figures,
    what: &str,
    nodes: usize,
    weather: Option<Weather>,
    events: usize,
    promise: Promise,
) -> anyhow::Result<()> {
    let cluster = Cluster::start(nodes, weather).await?;
    let (mut complete, mut receipt) = (Vec::new(), Vec::new());
    let (sent, began) = (cluster.bytes_sent()?, Instant::now());
    let used = cpu::of_tree(process::id());
    let shared = &cluster;
    let purges = (0..events).map(|n| async move {
        sleep(PAUSE.mul_f64(n as f64)).await;
        shared.purge().await
    });
    for took in try_join_all(purges).await? {
        complete.push(millis(took.complete));
        receipt.push(millis(took.receipt));
    }
    let seconds = began.elapsed().as_secs_f64();
    let per_node = |sum: f64| sum / seconds / (nodes + 1) as f64;
    let late = quantile(&mut timer_overshoot().await, 0.99);
    let mut row = |label: &str, value, promised: Option<f64>| {
        let what = format!("{what}: {label}");
        match promised {
            Some(most) => figures.at_most(what, value, most, Unit::Millis),
            None => figures.note(what, value, Unit::Millis),
        }
    };
    row("complete p50", quantile(&mut complete, 0.5), None);
    row("complete p99", quantile(&mut complete, 0.99), promise.complete_p99);
    row("complete max", quantile(&mut complete, 1.0), promise.complete_max);
    row("receipt p50", quantile(&mut receipt, 0.5), None);
    row("receipt p99", quantile(&mut receipt, 0.99), promise.receipt_p99);
    row("timers late, p99", late, None);
    let bytes = per_node(cluster.bytes_sent()? - sent);
    figures.note(format!("{what}: sent by a node"), bytes / 1e3, Unit::KilobytesPerSecond);
    let cores = per_node(cpu::of_tree(process::id()) - used) * 100.0;
    figures.note(format!("{what}: of a core, network and all"), cores, Unit::Percent);
    cluster.stop().await;
    Ok(())
}

/// Half of the nodes are cut off while things happen.
async fn partition(nodes: usize, seconds: u64) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(nodes, Some(Weather::fine())).await?;
    let away: Vec<usize> = (nodes / 2 + 1..=nodes).collect();
    cluster.take_log_away(true);
    cluster.wan()?.isolate(&away);
    let mut last = cluster.commit();
    for _ in 0..seconds * 2 {
        sleep(Duration::from_millis(500)).await;
        last = cluster.commit();
    }
    // What was pushed last is not on its way any more when the network heals.
    sleep(Duration::from_millis(730)).await;
    cluster.take_log_away(false);
    cluster.wan()?.heal();
    let healed = Instant::now();
    let took = cluster.applied(last.0, healed).await?;
    let title = format!("propagation: half of {nodes} nodes cut off for {seconds} s");
    let mut figures = Figures::new(title);
    figures.at_most("from the healing to the same everywhere", millis(took), 150.0, Unit::Millis);
    cluster.stop().await;
    Ok(figures)
}

/// What it costs when nothing happens.
async fn idle(nodes: usize, seconds: u64) -> anyhow::Result<Figures> {
    let cluster = Cluster::start(nodes, None).await?;
    // What the nodes say while they find each other is over by then.
    sleep(Duration::from_secs(3)).await;
    let (sent, used) = (cluster.bytes_sent()?, cpu::of_tree(process::id()));
    let began = Instant::now();
    sleep(Duration::from_secs(seconds)).await;
    let per_node = |sum: f64| sum / began.elapsed().as_secs_f64() / (nodes + 1) as f64;
    let bytes = per_node(cluster.bytes_sent()? - sent);
    let cores = per_node(cpu::of_tree(process::id()) - used) * 100.0;
    let mut figures = Figures::new(format!("propagation: {nodes} nodes, and nothing happens"));
    figures.at_most("sent by a node", bytes / 1e3, 10.0, Unit::KilobytesPerSecond);
    figures.at_most("of a core, for a node", cores, 0.2, Unit::Percent);
    cluster.stop().await;
    Ok(figures)
}
