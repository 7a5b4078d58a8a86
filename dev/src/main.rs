//! `wcdn-dev`: the whole system, in one process or in many.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use wcdn_daemon::{
    Signals,
    args::{Common, HasCommon},
};
use wcdn_dev::{Apart, Cluster, Topology, WalrusNetwork, banner::Banner, reach, seed, walrus};
use wcdn_proto::Span;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs all of WCDN: three regions, a control plane, and a stand-in Walrus unless a public network is
/// asked for.
#[derive(Debug, Parser)]
#[command(name = "wcdn-dev")]
struct Args {
    #[command(flatten)]
    common: Common,
    /// The Walrus behind the edges: local, testnet or mainnet.
    #[arg(long, env = "WCDN_NETWORK", default_value = "local")]
    network: WalrusNetwork,
    /// Edges in each region.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    edges_per_region: u16,
    /// Control planes; several share a PostgreSQL database, which must be installed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    control_planes: u16,
    /// Run each edge and each control plane in a process of its own, so that one can be killed and
    /// started again. Their configurations and logs lie in the folder `processes` of --data. What you
    /// start again is yours to stop.
    #[arg(long, requires = "data")]
    processes: bool,
    /// Keep blobs, the control plane's store and all keys in this folder; without it they are gone at
    /// the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long the stand-in answers 404 for a blob just stored, as real aggregators may.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    visible_after: Span,
    /// The API key of the control plane; one is made if there is none.
    #[arg(env = "WCDN_DEV_KEY", hide_env_values = true, long = "dev-key", hide = true)]
    dev_key: Option<String>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What is run if not all.
#[derive(Debug, Subcommand)]
enum Part {
    /// Run the stand-in Walrus alone: for edges elsewhere to fill from.
    Walrus {
        /// Listen here: the publisher on port 4590, aggregators on those above.
        #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
        address: IpAddr,
    },
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    wcdn_daemon::run("wcdn-dev", |args: Args, Signals { shutdown, .. }| async move {
        let mut edge: wcdn_node::Config = wcdn_daemon::config::load(
            args.common.config.as_deref(),
            wcdn_daemon::config::variables(),
        )?;
        if edge.access_log == wcdn_node::Config::default().access_log {
            edge.access_log.to = "stdout".into();
            edge.access_log.format = wcdn_node::config::LogFormat::Clf;
        }
        let mut topology = Topology {
            network: args.network,
            edges_per_region: args.edges_per_region,
            control_planes: args.control_planes,
            data: args.data,
            api_key: args.dev_key,
            visible_after: args.visible_after.duration(),
            edge,
            ..Topology::default()
        };
        topology.edge.check()?;
        if topology.network == WalrusNetwork::Local {
            topology.control.health.known_blob = Some(seed::demo_blob(topology.encoding)?);
        }
        if args.common.check_config {
            return Ok(());
        }
        if let Some(Part::Walrus { address }) = args.part {
            let standin = walrus::start(&topology, address, shutdown).await?;
            tracing::info!(publisher = %standin.publisher_url, "stand-in Walrus serves");
            standin.join().await;
            return Ok(());
        }
        if let WalrusNetwork::Public(network) = topology.network {
            reach::any_aggregator(network).await?;
        }
        if args.processes {
            let apart = Apart::start(&topology).await?;
            welcome(&Banner::of_apart(&apart), apart.ground()).await?;
            shutdown.cancelled().await;
            apart.stop().await;
        } else {
            let cluster = Cluster::start(&topology).await?;
            welcome(&Banner::of(&cluster), &cluster).await?;
            shutdown.cancelled().await;
            cluster.stop().await;
        }
        Ok(())
    })
}

/// Stores something to look at, if it can be, and says what there is.
async fn welcome(banner: &Banner<'_>, ground: &Cluster) -> anyhow::Result<()> {
    let seeded = match ground.standin() {
        Some(standin) => Some(seed::through_publisher(&standin.publisher_url).await?),
        None => None,
    };
    println!("{}", banner.text(seeded.as_ref()));
    Ok(())
}
