//! `wcdn-bench`: the edge beside other caches, and beside what was promised of it.

mod body;
mod claims;
mod cpu;
mod edge;
mod figures;
mod hits;
mod machine;
mod origin;
mod paced;
mod process;
mod server;
mod table;
mod target;
mod viewer;
mod wrk;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{claims::Claim, hits::Plan, target::Target};

/// Times the edge: hot hits beside nginx, Varnish, HAProxy and a bare HTTP server as the ceiling,
/// and what was promised of its speed, each figure beside its target.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// What to measure, instead of all.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Rounds of hits; each goes over all cells once, and the median over rounds is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load for each cell and round.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Connections of the client.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Sizes of bodies in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [1_024, 10_240, 102_400])]
    sizes: Vec<usize>,
    /// Who takes part.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Target::ALL)]
    targets: Vec<Target>,
    /// One short round of everything, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Write every single result of hits to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Hot hits, beside other caches.
    Hits,
    /// Hits in the region's Redis, and in memory while it is dead.
    Redis,
    /// Five hundred viewers of one cold blob.
    Herd,
    /// How long a byte of a streamed blob stays in the edge.
    FirstByte,
    /// Misses while one of three origins is slow at times.
    Hedge,
    /// Memory while blobs come as fast as they can.
    Storm,
    /// Reading through the owner of a region, and three hundred viewers of one cold blob at nine nodes.
    Region,
    /// How fast a purge is everywhere, and known to be.
    Propagation,
    /// Ten thousand purges a second, and hits beside them.
    Flood,
    /// How fast a purge is acknowledged by two control planes on PostgreSQL.
    Replicas,
}

impl Scenario {
    /// What measures it, if it has targets.
    fn claim(self) -> Option<Claim> {
        Some(match self {
            Self::Hits => return None,
            Self::Redis => claims::redis::measure,
            Self::Herd => claims::herd::measure,
            Self::FirstByte => claims::first_byte::measure,
            Self::Hedge => claims::hedge::measure,
            Self::Storm => claims::storm::measure,
            Self::Region => claims::region::measure,
            Self::Propagation => claims::propagation::measure,
            Self::Flood => claims::flood::measure,
            Self::Replicas => claims::replicas::measure,
        })
    }
}

/// What else this program is while a bench runs.
#[derive(Debug, Subcommand)]
enum Role {
    /// The origin behind all caches.
    #[command(hide = true)]
    Origin { port: u16, sizes: Vec<usize> },
    /// A server that does nothing but send.
    #[command(hide = true)]
    Ceiling { port: u16, sizes: Vec<usize> },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.role {
        Some(Role::Origin { port, sizes }) => server::origin(*port, sizes),
        Some(Role::Ceiling { port, sizes }) => server::ceiling(*port, sizes),
        None => measure(&args),
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let all = Scenario::value_variants();
    let scenarios = if args.scenarios.is_empty() { all } else { &args.scenarios };
    println!("{}\n", machine::description());
    for scenario in scenarios {
        match scenario.claim() {
            None => hits(args)?,
            Some(measure) => {
                for figures in measure(args.quick)? {
                    println!("{figures}");
                }
            }
        }
    }
    Ok(())
}

fn hits(args: &Args) -> anyhow::Result<()> {
    let (rounds, seconds) = if args.quick { (1, 1) } else { (args.rounds, args.seconds) };
    let (sizes, targets) = (args.sizes.clone(), args.targets.clone());
    let plan = Plan { rounds, seconds, connections: args.connections, sizes, targets };
    let results = hits::run(&plan)?;
    println!("{}", table::text(&plan, &results));
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&results)?)?;
    }
    Ok(())
}
