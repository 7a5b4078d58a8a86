//! Hot hits: every target in turn, round by round, so that a drifting machine hurts all alike.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::{
    body::{self, Body},
    cpu, process,
    target::{self, Running, Target},
    wrk::{self, Load},
};

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    pub(crate) connections: u32,
    pub(crate) sizes: Vec<usize>,
    pub(crate) targets: Vec<Target>,
}

/// One target, one size, one round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) target: Target,
    pub(crate) size: usize,
    pub(crate) round: usize,
    pub(crate) load: Load,
    /// Milliseconds of the server's processor time for a thousand requests.
    pub(crate) cpu_ms_per_1k: f64,
    /// Cores that something else used of the server's processor meanwhile.
    pub(crate) foreign: f64,
    /// Whether the origin was asked meanwhile: then these were not all hits.
    pub(crate) fetched: bool,
}

/// Measures everything. A target that cannot be started is left out, and said so.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Vec<Cell>> {
    let bodies: Vec<Body> = plan.sizes.iter().map(|size| body::of(*size)).collect();
    let origin = target::start_origin(&plan.sizes)?;
    let mut running = Vec::new();
    for target in &plan.targets {
        match target.start(origin.port(), &plan.sizes) {
            Ok(started) => running.push((*target, started)),
            Err(error) => eprintln!("{} is left out: {error:#}", target.name()),
        }
    }
    for (target, started) in &running {
        for body in &bodies {
            started.warm(body).with_context(|| format!("{} cannot be warmed", target.name()))?;
        }
    }
    let mut cells = Vec::new();
    for round in 0..plan.rounds {
        for body in &bodies {
            for (target, started) in &running {
                let cell = measure(plan, round, *target, started, body, &origin)?;
                eprintln!(
                    "round {} {:>7} B {:<12} {:>9.0} req/s {:>7.2} CPU-ms/1k",
                    round + 1,
                    body.bytes.len(),
                    target.name(),
                    cell.load.per_second,
                    cell.cpu_ms_per_1k
                );
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

fn measure(
    plan: &Plan,
    round: usize,
    target: Target,
    started: &Running,
    body: &Body,
    origin: &Running,
) -> anyhow::Result<Cell> {
    let url = started.url(body);
    wrk::run(&url, plan.connections, 1)?;
    process::pause(Duration::from_millis(100));
    let fetches = origin.fetches()?;
    let (server, busy) = (cpu::of_tree(started.pid()), cpu::busy(0)?);
    let load = wrk::run(&url, plan.connections, plan.seconds)?;
    let server = cpu::of_tree(started.pid()) - server;
    let foreign = (cpu::busy(0)? - busy - server).max(0.0) / f64::from(plan.seconds);
    Ok(Cell {
        target,
        size: body.bytes.len(),
        round,
        load,
        cpu_ms_per_1k: server * 1e6 / load.requests.max(1) as f64,
        foreign,
        fetched: origin.fetches()? != fetches,
    })
}
