//! How long a byte that has come from an origin stays in the edge.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wcdn_walrus::Encoding;

use crate::{
    body::{self, Body},
    edge::{Edge, Setup},
    figures::{Figures, Unit, millis, quantile},
    origin::{self, Origin},
    process::pause,
    viewer::Viewer,
};

/// Too large to be held until it is checked, so it streams.
const SIZE: usize = 8 << 20;

/// What the origin sends at a time, and how long it rests between: an edge that waited for more
/// would be seen.
const PIECE: usize = 512 << 10;
const REST: Duration = Duration::from_millis(30);

/// When each piece was begun to be written.
type Written = Arc<Mutex<Vec<Instant>>>;

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let rounds = if is_quick { 3 } else { 20 };
    let bodies: Vec<Body> =
        (0..rounds).map(|n| body::numbered(Encoding::PUBLIC, SIZE, n)).collect();
    let written = Written::default();
    let origin = pausing(&bodies, &written)?;
    let edge = Edge::start(&Setup { origins: vec![origin.port], ..Setup::default() })?;
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for body in &bodies {
        let lags = lags(&edge, body, &written)?;
        first.push(lags[0]);
        // The last one waits until the whole blob has been checked.
        later.extend(&lags[1..lags.len() - 1]);
    }
    let title = "first-byte: a cold blob of 8 MiB, from the origin's write to the viewer's read";
    let mut figures = Figures::new(title);
    figures.at_most("first byte, p50", quantile(&mut first, 0.5), 5.0, Unit::Millis);
    figures.at_most("first byte, worst", quantile(&mut first, 1.0), 5.0, Unit::Millis);
    figures.note("first byte of later pieces, p50", quantile(&mut later, 0.5), Unit::Millis);
    figures.note("first byte of later pieces, p99", quantile(&mut later, 0.99), Unit::Millis);
    Ok(vec![figures])
}

fn pausing(bodies: &[Body], written: &Written) -> std::io::Result<Origin> {
    let held: HashMap<_, _> =
        bodies.iter().map(|body| (body.id.to_string(), body.bytes.clone())).collect();
    let written = Arc::clone(written);
    Origin::start(move |_, id, stream| {
        let Some(body) = held.get(id) else { return origin::send(stream, None) };
        origin::head(stream, body.len())?;
        for piece in body.chunks(PIECE) {
            pause(REST);
            written.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            stream.write_all(piece)?;
        }
        Ok(())
    })
}

/// Milliseconds from the write of each piece to the read of its first byte.
fn lags(edge: &Edge, body: &Body, written: &Written) -> anyhow::Result<Vec<f64>> {
    written.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let mut read = Vec::new();
    Viewer::connect(edge.port)?.watch(&format!("/cdn/{}", body.id), |here, now| {
        while read.len() * PIECE < usize::try_from(here).unwrap_or(usize::MAX) {
            read.push(now);
        }
    })?;
    let written = written.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(written.iter().zip(&read).map(|(from, to)| millis(to.duration_since(*from))).collect())
}
