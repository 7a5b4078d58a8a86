//! `wcdn-bench`: the edge beside other caches, in the same run on the same machine.

mod body;
mod cpu;
mod machine;
mod scenario;
mod server;
mod table;
mod target;
mod wrk;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{scenario::Plan, target::Target};

/// Times hot hits of the edge beside nginx, Varnish and HAProxy, and beside a bare HTTP server as
/// the ceiling: the server pinned to one core, the client to the other.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; each goes over all cells once, and the median over rounds is shown.
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
    /// One short round, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Write every single result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
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
    match args.role {
        Some(Role::Origin { port, sizes }) => server::origin(port, &sizes),
        Some(Role::Ceiling { port, sizes }) => server::ceiling(port, &sizes),
        None => {
            let (rounds, seconds) = if args.quick { (1, 1) } else { (args.rounds, args.seconds) };
            let (sizes, targets, connections) = (args.sizes, args.targets, args.connections);
            let plan = Plan { rounds, seconds, connections, sizes, targets };
            let results = scenario::run(&plan)?;
            println!("{}\n\n{}", machine::description(), table::text(&plan, &results));
            if let Some(path) = args.json {
                std::fs::write(path, serde_json::to_vec_pretty(&results)?)?;
            }
            Ok(())
        }
    }
}
