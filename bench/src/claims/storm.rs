//! Blobs that nobody has, as fast as they come, before little memory.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use tokio::time::Instant;
use wcdn_proto::BlobId;

use crate::{
    body,
    edge::{Edge, Setup},
    figures::{Figures, Unit},
    origin::{self, Origin},
    process::pause,
    viewer::Viewer,
};

const VIEWERS: u64 = 64;

const MIB: f64 = 1_048_576.0;

/// The memory that the edge is given, and the most it may hold.
const BUDGET: f64 = 64.0;
const MOST: f64 = BUDGET * 1.05;

/// Not checked, so that nothing holds them up: they need not be the blobs they are asked for as.
const TABLES: &str = "[cache]\nmemory = \"64 MiB\"\n[fetch]\norigin_rate = 1000000\n\
    max_per_origin = 1024\nslice = \"1 MiB\"\n[verify]\nmode = \"off\"\n";

/// Sizes of blobs, in turn.
const SIZES: [usize; 5] = [1_024, 20_480, 102_400, 400_000, 2_097_152];

/// What the storm did.
#[derive(Debug, Default)]
struct Storm {
    is_over: AtomicBool,
    blobs: AtomicU64,
    refused: AtomicU64,
}

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    let time = Duration::from_secs(if is_quick { 3 } else { 20 });
    let bodies = SIZES.map(|size| body::bytes(size, 0));
    let origin = Origin::start(move |_, id, stream| {
        let id: Option<BlobId> = id.parse().ok();
        let size = id.map(|id| usize::from(id.as_bytes()[0]) % SIZES.len());
        origin::send(stream, size.map(|size| &bodies[size]))
    })?;
    let edge =
        Edge::start(&Setup { origins: vec![origin.port], tables: TABLES, is_pinned: false })?;
    let (storm, start) = (Storm::default(), edge.process().resident("VmRSS:")?);
    let began = Instant::now();
    let held = thread::scope(|scope| {
        for viewer in 0..VIEWERS {
            let (storm, port) = (&storm, edge.port);
            scope.spawn(move || rage(storm, port, viewer));
        }
        let mut most = 0.0_f64;
        while began.elapsed() < time {
            most = most.max(edge.metric("wcdn_cache_bytes", "")?);
            pause(Duration::from_millis(5));
        }
        storm.is_over.store(true, Relaxed);
        anyhow::Ok(most / MIB)
    });
    storm.is_over.store(true, Relaxed);
    let grown = edge.process().resident("VmHWM:")? - start;
    let (blobs, refused) = (storm.blobs.load(Relaxed), storm.refused.load(Relaxed));
    let mut figures = Figures::new("storm: unique blobs of 1 KiB to 2 MiB, 64 viewers, 64 MiB");
    figures.at_most("wcdn_cache_bytes, the most", held?, MOST, Unit::MiB);
    figures.note("resident beyond its start, the most", grown, Unit::MiB);
    figures.note("resident at the start", start, Unit::MiB);
    figures.note("blobs served", blobs as f64 / time.as_secs_f64(), Unit::PerSecond);
    figures.note("refused for lack of room", refused as f64 / time.as_secs_f64(), Unit::PerSecond);
    Ok(vec![figures])
}

/// Asks for one blob after the other until the storm is over. A response that breaks off, or a
/// connection that is closed, is replaced by another: it is memory that is looked at.
fn rage(storm: &Storm, port: u16, viewer: u64) {
    let mut number = 0;
    while !storm.is_over.load(Relaxed) {
        let Ok(mut connection) = Viewer::connect(port) else { continue };
        while !storm.is_over.load(Relaxed) {
            number += 1;
            let path = format!("/cdn/{}", name(viewer, number));
            let Ok(answer) = connection.try_get(&path, |_, _| ()) else { break };
            let counter = if answer.status == 200 { &storm.blobs } else { &storm.refused };
            counter.fetch_add(1, Relaxed);
        }
    }
}

fn name(viewer: u64, number: u64) -> BlobId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..16].copy_from_slice(&viewer.to_le_bytes());
    BlobId::from_bytes(bytes)
}
