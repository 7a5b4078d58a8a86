//! Misses while one of three origins takes two seconds longer for one request in ten.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::ensure;
use bytes::Bytes;
use tokio::time::Instant;
use wcdn_walrus::Encoding;

use crate::{
    body,
    edge::{Edge, Setup},
    figures::{Figures, Unit, millis, quantile},
    origin::{self, Origin},
    process::pause,
    viewer::Viewer,
};

/// What the slow origin adds, to one request of how many.
const SLOW: Duration = Duration::from_secs(2);
const ONE_IN: u64 = 10;

const VIEWERS: usize = 8;

/// Misses before those that count: the edge learns from them what is usual.
const WARM_UP: usize = 400;

type Bodies = Arc<HashMap<String, Bytes>>;

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let misses = if is_quick { 500 } else { 4_000 };
    let encoding = Encoding::new(100)?;
    let bodies: Bodies = Arc::new(
        (0..(WARM_UP + 2 * misses) as u64)
            .map(|n| body::numbered(encoding, 10_240, n))
            .map(|body| (body.id.to_string(), body.bytes))
            .collect(),
    );
    let (is_ill, waits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let origins: io::Result<Vec<Origin>> = (0..3)
        .map(|n| origin(&bodies, n, (n == 0).then(|| (is_ill.clone(), waits.clone()))))
        .collect();
    let origins: Vec<u16> = origins?.iter().map(|origin| origin.port).collect();
    let tables = "[walrus]\nn_shards = 100\n[fetch]\norigin_rate = 100000\n";
    let edge = Edge::start(&Setup { origins, tables, is_pinned: false })?;
    let paths: Vec<String> = bodies.keys().map(|id| format!("/cdn/{id}")).collect();
    let (first, rest) = paths.split_at(WARM_UP);
    let (second, third) = rest.split_at(misses);
    self::misses(edge.port, first)?;
    let mut well = self::misses(edge.port, second)?;
    let before = hedges(&edge)?;
    is_ill.store(true, Relaxed);
    let mut ill = self::misses(edge.port, third)?;
    let hedges = hedges(&edge)? - before;

    let title = "hedge: misses, three origins of 20 to 50 ms; one begins to add 2 s to a tenth";
    let mut figures = Figures::new(title);
    let (usual, p99) = (quantile(&mut well, 0.99), quantile(&mut ill, 0.99));
    figures.note("p50, all well", quantile(&mut well, 0.5), Unit::Millis);
    figures.note("p50, one ill", quantile(&mut ill, 0.5), Unit::Millis);
    figures.note("p99, all well", usual, Unit::Millis);
    figures.note("p99, one ill", p99, Unit::Millis);
    figures.at_most("p99, one ill to all well", p99 / usual, 1.3, Unit::Times);
    figures.note("worst, one ill", quantile(&mut ill, 1.0), Unit::Millis);
    figures.note("requests that the ill one let wait", waits.load(Relaxed) as f64, Unit::Count);
    figures.at_most("hedges to misses, one ill", hedges / misses as f64, 0.1, Unit::Times);
    Ok(vec![figures])
}

fn hedges(edge: &Edge) -> anyhow::Result<f64> {
    let name = "wcdn_origin_hedges_total";
    Ok(edge.metric(name, "result=\"won\"")? + edge.metric(name, "result=\"lost\"")?)
}

/// Whether an origin is ill, and how many it let wait since.
type Illness = (Arc<AtomicBool>, Arc<AtomicU64>);

fn origin(bodies: &Bodies, which: u64, illness: Option<Illness>) -> io::Result<Origin> {
    let bodies = Arc::clone(bodies);
    Origin::start(move |number, id, stream| {
        pause(usual(number ^ (which << 32)));
        if let Some((is_ill, waits)) = &illness
            && is_ill.load(Relaxed)
            && number % ONE_IN == 0
        {
            waits.fetch_add(1, Relaxed);
            pause(SLOW);
        }
        origin::send(stream, bodies.get(id))
    })
}

/// 20 to 50 ms, most of them near 20.
fn usual(number: u64) -> Duration {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    let share = spread as f64 / 1_024.0;
    Duration::from_secs_f64(0.020 + 0.030 * share.powi(4))
}

/// Milliseconds that each miss took, by as many viewers as there are.
fn misses(port: u16, paths: &[String]) -> anyhow::Result<Vec<f64>> {
    thread::scope(|scope| {
        let viewers: Vec<_> = paths
            .chunks(paths.len().div_ceil(VIEWERS))
            .map(|paths| scope.spawn(move || one_by_one(port, paths)))
            .collect();
        let mut times = Vec::new();
        for viewer in viewers {
            times.extend(viewer.join().expect("a viewer does not panic")?);
        }
        Ok(times)
    })
}

fn one_by_one(port: u16, paths: &[String]) -> anyhow::Result<Vec<f64>> {
    let mut viewer = Viewer::connect(port)?;
    let mut times = Vec::new();
    for path in paths {
        let began = Instant::now();
        let answer = viewer.get(path)?;
        times.push(millis(began.elapsed()));
        ensure!(answer.header("x-source") == "walrus", "{path} was no miss");
    }
    Ok(times)
}
