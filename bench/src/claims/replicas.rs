//! How fast a purge is acknowledged by one of two control planes that write one log on PostgreSQL, which
//! syncs each commit to the disk, and how soon the other one can tell of it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep_until},
};
use wcdn_dev::{Cluster, Topology};
use wcdn_tests::{operator::Operator, storm::any_blob};

use crate::figures::{Figures, Unit, millis, quantile};

/// Purges a second, to both together.
const RATE: u32 = 200;

/// What was promised.
const P99: f64 = 10.0;

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(purges(if is_quick { 2 } else { 20 }))
}

async fn purges(seconds: u32) -> anyhow::Result<Vec<Figures>> {
    let topology = Topology { control_plane: true, control_planes: 2, ..Topology::for_tests() };
    let cluster = Box::pin(Cluster::start(&topology)).await?;
    let desks = cluster.desks();
    let operators: Vec<_> = desks.map(|desk| Operator::new(desk.grpc, &desk.key)).collect();
    // Each has connected, and made its connections to the store.
    for operator in operators.iter().cycle().take(20) {
        operator.begin_purge(&[any_blob()]).await;
    }
    let began = Instant::now();
    let calls = (0..seconds * RATE).zip(operators.iter().cycle()).map(|(n, operator)| async move {
        // From when it was due: one slow answer does not hide those that waited behind it.
        let due = began + Duration::from_secs(1) / RATE * n;
        sleep_until(due).await;
        operator.begin_purge(&[any_blob()]).await;
        due.elapsed()
    });
    let mut acknowledged: Vec<f64> = join_all(calls).await.into_iter().map(millis).collect();
    let took = began.elapsed().as_secs_f64();
    let mut figures =
        Figures::new("replicas: purges at two control planes on PostgreSQL, 200 a second");
    figures.note(
        "from the call to the acknowledgement, p50",
        quantile(&mut acknowledged, 0.5),
        Unit::Millis,
    );
    let p99 = quantile(&mut acknowledged, 0.99);
    figures.at_most("from the call to the acknowledgement, p99", p99, P99, Unit::Millis);
    figures.note("the longest", quantile(&mut acknowledged, 1.0), Unit::Millis);
    figures.note("purges", acknowledged.len() as f64 / took, Unit::PerSecond);
    let mut known = known(&operators, if seconds > 2 { 100 } else { 20 }).await;
    figures.note(
        "known to the other one, after the call, p50",
        quantile(&mut known, 0.5),
        Unit::Millis,
    );
    figures.note(
        "known to the other one, after the call, p99",
        quantile(&mut known, 0.99),
        Unit::Millis,
    );
    cluster.stop().await;
    Ok(vec![figures])
}

/// Purges at one, and asks the other one until its head has it.
async fn known(operators: &[Operator], count: usize) -> Vec<f64> {
    let mut known = Vec::new();
    for n in 0..count {
        let began = Instant::now();
        let (one, other) = (&operators[n % 2], &operators[(n + 1) % 2]);
        let last = one.begin_purge(&[any_blob()]).await.last.map(|last| last.seq);
        while Some(other.head().await.seq) < last {}
        known.push(millis(began.elapsed()));
    }
    known
}
