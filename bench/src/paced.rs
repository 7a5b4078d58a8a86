//! Reads by several viewers, as fast as they can or at a rate.

use std::{thread, time::Duration};

use tokio::time::Instant;

use crate::{figures::millis, process::pause, viewer::Viewer};

/// One read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) millis: f64,
    /// Where the edge says that it had the bytes.
    pub(crate) source: String,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) reads: Vec<Read>,
    pub(crate) per_second: f64,
}

/// Reads each path once: each viewer takes every `viewers`th of them.
///
/// At a rate, a read is timed from when it was due if its viewer was still busy then: otherwise one
/// slow answer would hide those that had to wait behind it.
pub(crate) fn read(
    port: u16,
    paths: &[String],
    viewers: usize,
    per_second: Option<f64>,
) -> anyhow::Result<Reads> {
    let connections: anyhow::Result<Vec<Viewer>> =
        (0..viewers).map(|_| Viewer::connect(port)).collect();
    let began = Instant::now();
    let due = |n: usize| per_second.map(|rate| began + Duration::from_secs_f64(n as f64 / rate));
    let reads = thread::scope(|scope| {
        let reading: Vec<_> = (0..)
            .zip(connections?)
            .map(|(first, mut viewer)| {
                let mine = (first..paths.len()).step_by(viewers);
                scope.spawn(move || {
                    mine.map(|n| one(&mut viewer, &paths[n], due(n)))
                        .collect::<anyhow::Result<Vec<Read>>>()
                })
            })
            .collect();
        let mut reads = Vec::with_capacity(paths.len());
        for viewer in reading {
            reads.extend(viewer.join().expect("a viewer does not panic")?);
        }
        anyhow::Ok(reads)
    })?;
    let per_second = reads.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Reads { reads, per_second })
}

fn one(viewer: &mut Viewer, path: &str, due: Option<Instant>) -> anyhow::Result<Read> {
    let now = Instant::now();
    let from = match due {
        Some(due) if due > now => {
            pause(due - now);
            // Waking up late is no fault of the edge.
            Instant::now()
        }
        Some(due) => due,
        None => now,
    };
    let answer = viewer.get(path)?;
    let source = answer.header("x-source").to_owned();
    Ok(Read { millis: millis(from.elapsed()), source })
}
