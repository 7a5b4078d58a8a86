//! Hits in the region's Redis, and hits in memory while it is dead.

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, process::Command};

use anyhow::ensure;
use tempfile::TempDir;
use wcdn_walrus::Encoding;

use crate::{
    body::{self, Body},
    cpu,
    edge::{Edge, Setup},
    figures::{Figures, Unit, quantile},
    origin::{self, Origin},
    paced::{self, Read},
    process::{Process, free_port, pause, program, wait_until_it_listens},
    wrk,
};

/// Shards of the network that the blobs are named on: few, so that naming thousands takes seconds.
const SHARDS: u16 = 100;

/// Viewers that read at once.
const VIEWERS: usize = 8;

/// A region: one Redis, and what its edges are told.
struct Region {
    redis: Option<Process>,
    port: u16,
    tables: String,
    _home: TempDir,
}

pub(crate) fn measure(is_quick: bool) -> anyhow::Result<Vec<Figures>> {
    // The edge that is measured has processor 0, everything else the other.
    cpu::pinned_to(1, || {
        let mut region = Region::start()?;
        let mut all = Vec::new();
        for (size, count) in [(10_240, 6_000), (102_400, 3_000)] {
            let count = if is_quick { count / 10 } else { count };
            all.push(regional(&region, size, count)?);
        }
        all.push(hot(&mut region, is_quick)?);
        Ok(all)
    })
}

impl Region {
    fn start() -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let (key, port) = (home.path().join("cluster.key"), free_port()?);
        fs::write(&key, "5a".repeat(32))?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        let tables = format!(
            "[walrus]\nn_shards = {SHARDS}\n[fetch]\norigin_rate = 1000000\n\
             [redis]\nurls = [\"redis://127.0.0.1:{port}\"]\n\
             [verify]\nrecheck = 0.0\n[cluster]\nkey_file = \"{}\"\n",
            key.display()
        );
        let mut region = Self { redis: None, port, tables, _home: home };
        region.revive()?;
        Ok(region)
    }

    /// Starts it, empty.
    fn revive(&mut self) -> anyhow::Result<()> {
        self.kill();
        let mut command = Command::new(program("redis-server")?);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--maxmemory", "2gb"]);
        command.args(["--maxmemory-policy", "allkeys-lfu", "--dir"]).arg(self._home.path());
        self.redis = Some(Process::start(&mut command)?);
        wait_until_it_listens(self.port, "redis-server")
    }

    fn kill(&mut self) {
        self.redis = None;
    }

    fn edge(&self, origin: &Origin, is_pinned: bool) -> anyhow::Result<Edge> {
        Edge::start(&Setup { origins: vec![origin.port], tables: &self.tables, is_pinned })
    }
}

fn serving(bodies: &[Body]) -> std::io::Result<Origin> {
    let held: HashMap<_, _> =
        bodies.iter().map(|body| (body.id.to_string(), body.bytes.clone())).collect();
    Origin::start(move |_, id, stream| origin::send(stream, held.get(id)))
}

/// Blobs that one node of the region fetched, read from another, each once: at full load to learn
/// what that is, then at half of it.
fn regional(region: &Region, size: usize, count: u64) -> anyhow::Result<Figures> {
    let encoding = Encoding::new(SHARDS)?;
    let bodies: Vec<Body> = (0..count).map(|n| body::numbered(encoding, size, n)).collect();
    let origin = serving(&bodies)?;
    let paths: Vec<String> = bodies.iter().map(|body| format!("/cdn/{}", body.id)).collect();
    let writer = region.edge(&origin, false)?;
    paced::read(writer.port, &paths, VIEWERS, None)?;
    wait_until_written(&writer)?;
    let reader = region.edge(&origin, true)?;
    let (first, rest) = paths.split_at(paths.len() / 3);
    let full = paced::read(reader.port, first, VIEWERS, None)?;
    let half = paced::read(reader.port, rest, VIEWERS, Some(full.per_second / 2.0))?;
    let (mut times, others) = from_redis(&half.reads)?;
    let kib = size / 1_024;
    let mut figures = Figures::new(format!("redis: hits of {kib} KiB in the region's Redis"));
    figures.note("full load", full.per_second, Unit::PerSecond);
    figures.note("half load, as it was", half.per_second, Unit::PerSecond);
    figures.at_most("p50 at half load", quantile(&mut times, 0.5), 1.0, Unit::Millis);
    figures.at_most("p99 at half load", quantile(&mut times, 0.99), 2.0, Unit::Millis);
    figures.note("answers that were no hits in Redis", others as f64, Unit::Count);
    Ok(figures)
}

/// What an edge writes to Redis it writes behind the answer.
fn wait_until_written(edge: &Edge) -> anyhow::Result<()> {
    let mut written = -1.0;
    loop {
        let now = edge.metric("wcdn_redis_operations_total", "result=\"stored\"")?;
        if now == written {
            return Ok(());
        }
        written = now;
        pause(std::time::Duration::from_millis(500));
    }
}

/// Milliseconds of the reads that Redis answered, and how many it did not.
fn from_redis(reads: &[Read]) -> anyhow::Result<(Vec<f64>, usize)> {
    let times: Vec<f64> =
        reads.iter().filter(|read| read.source == "redis").map(|read| read.millis).collect();
    ensure!(times.len() * 10 > reads.len() * 9, "{} of {} from Redis", times.len(), reads.len());
    let others = reads.len() - times.len();
    Ok((times, others))
}

/// A blob that is in memory, with Redis alive and dead by turns.
fn hot(region: &mut Region, is_quick: bool) -> anyhow::Result<Figures> {
    let (rounds, seconds) = if is_quick { (1, 1) } else { (5, 2) };
    let bodies = [body::numbered(Encoding::new(SHARDS)?, 10_240, u64::MAX)];
    let origin = serving(&bodies)?;
    let edge = region.edge(&origin, true)?;
    let path = format!("/cdn/{}", bodies[0].id);
    let url = format!("http://127.0.0.1:{}{path}", edge.port);
    paced::read(edge.port, &[path.clone(), path], 1, None)?;
    let (mut alive, mut dead) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        region.revive()?;
        alive.push(wrk::run(&url, 64, seconds)?);
        region.kill();
        dead.push(wrk::run(&url, 64, seconds)?);
    }
    let middle = |loads: &[wrk::Load], of: fn(&wrk::Load) -> f64| {
        quantile(&mut loads.iter().map(of).collect::<Vec<_>>(), 0.5)
    };
    let mut figures =
        Figures::new("redis: hot hits of 10 KiB in memory, with Redis alive and dead");
    let ratio = middle(&alive, |load| load.per_second) / middle(&dead, |load| load.per_second);
    figures.note("req/s alive", middle(&alive, |load| load.per_second), Unit::PerSecond);
    figures.note("req/s dead", middle(&dead, |load| load.per_second), Unit::PerSecond);
    figures.at_most("time for a request, dead to alive", ratio, 1.1, Unit::Times);
    let ratio = middle(&dead, |load| load.p50_ms) / middle(&alive, |load| load.p50_ms);
    figures.at_most("p50, dead to alive", ratio, 1.1, Unit::Times);
    let ratio = middle(&dead, |load| load.p99_ms) / middle(&alive, |load| load.p99_ms);
    figures.at_most("p99, dead to alive", ratio, 1.1, Unit::Times);
    Ok(figures)
}
