//! Five hundred viewers ask at once for a blob that nobody has.

use std::{collections::HashMap, sync::Barrier, thread, time::Duration};

use tokio::time::Instant;
use wcdn_walrus::Encoding;

use crate::{
    body::{self, Body},
    edge::{Edge, Setup},
    figures::{Figures, Unit, quantile},
    origin::{self, Origin},
    process::pause,
    viewer::Viewer,
};

const VIEWERS: usize = 500;

/// What the origin lets everybody wait.
const LATENCY: Duration = Duration::from_millis(500);

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let rounds = if is_quick { 1 } else { 5 };
    let title = format!("herd: {VIEWERS} viewers at once, a cold 1 MiB blob, an origin of 0.5 s");
    let mut figures = Figures::new(title);
    for (mode, target) in [("off", Some(0.7)), ("auto", None)] {
        let (mut times, fetches) = herds(mode, rounds)?;
        figures.at_most(format!("fetches of a blob, verify {mode}"), fetches, 1.0, Unit::Count);
        let (what, time) = (format!("until all have it, verify {mode}"), quantile(&mut times, 0.5));
        match target {
            Some(target) => figures.at_most(what, time, target, Unit::Seconds),
            None => figures.note(what, time, Unit::Seconds),
        }
    }
    Ok(vec![figures])
}

/// Seconds until the last viewer had its last byte, in each round; and the most fetches in one.
fn herds(mode: &str, rounds: u64) -> anyhow::Result<(Vec<f64>, f64)> {
    let bodies: Vec<Body> =
        (0..rounds).map(|n| body::numbered(Encoding::PUBLIC, 1 << 20, n)).collect();
    let held: HashMap<_, _> =
        bodies.iter().map(|body| (body.id.to_string(), body.bytes.clone())).collect();
    let origin = Origin::start(move |_, id, stream| {
        pause(LATENCY);
        origin::send(stream, held.get(id))
    })?;
    let tables = format!("[verify]\nmode = \"{mode}\"\n");
    let setup = Setup { origins: vec![origin.port], tables: &tables, ..Setup::default() };
    let edge = Edge::start(&setup)?;
    let (mut times, mut most) = (Vec::new(), 0);
    for body in &bodies {
        let before = origin.requests();
        times.push(herd(edge.port, &format!("/cdn/{}", body.id))?);
        most = most.max(origin.requests() - before);
    }
    Ok((times, most as f64))
}

fn herd(port: u16, path: &str) -> anyhow::Result<f64> {
    let viewers: anyhow::Result<Vec<Viewer>> =
        (0..VIEWERS).map(|_| Viewer::connect(port)).collect();
    let start = Barrier::new(VIEWERS + 1);
    thread::scope(|scope| {
        let asking: Vec<_> = viewers?
            .into_iter()
            .map(|mut viewer| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    viewer.get(path)
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        for viewer in asking {
            viewer.join().expect("a viewer does not panic")?;
        }
        Ok(began.elapsed().as_secs_f64())
    })
}
