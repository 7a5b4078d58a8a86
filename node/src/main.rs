//! `wcdn-node`: the edge as a program.

use std::process::ExitCode;

use clap::Parser;
use wcdn_daemon::{
    Failure, Reload, Signals,
    args::{Common, HasCommon},
    config::{self, ConfigError},
    probe,
};
use wcdn_node::{Config, Doors, Node, Reloaded, Secrets, start};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The WCDN edge: serves Walrus blobs to viewers, from memory or from the best aggregator, and
/// checks every byte against the blob id.
///
/// Without --config it runs on defaults and serves the public mainnet. Every key can be set by a
/// variable too: cache.memory by WCDN_CACHE__MEMORY.
#[derive(Debug, Parser)]
#[command(name = "wcdn-node")]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Ask the edge that runs with this configuration whether it is ready; exit with 0 if it is.
    #[arg(long, conflicts_with = "check_config")]
    probe: bool,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    wcdn_daemon::run("wcdn-node", |args: Args, signals| async move {
        let config = read(&args)?;
        config.check()?;
        if args.probe {
            return probe::ready(config.listen.admin).await.map_err(Failure::other);
        }
        Secrets::read(&config)?;
        if args.common.check_config {
            return Ok(());
        }
        let Signals { shutdown, reload } = signals;
        let doors = Doors::bind(&config).map_err(Failure::other)?;
        let node = start(config, doors, shutdown.clone()).map_err(Failure::other)?;
        let reloading = reload_when_asked(&node, &args, reload);
        shutdown.run_until_cancelled(reloading).await;
        node.join().await;
        Ok(())
    })
}

fn read(args: &Args) -> Result<Config, ConfigError> {
    config::load(args.common.config.as_deref(), config::variables())
}

/// Reads the configuration again at each request; one that cannot be used changes nothing.
async fn reload_when_asked(node: &Node, args: &Args, mut reload: Reload) {
    loop {
        reload.requested().await;
        let reloaded =
            read(args).map_err(Failure::from).and_then(|config| Ok(node.reload(&config)?));
        match reloaded {
            Ok(Reloaded { needs_restart }) if needs_restart.is_empty() => {
                tracing::info!("configuration reloaded");
            }
            Ok(Reloaded { needs_restart }) => {
                tracing::warn!(
                    ?needs_restart,
                    "configuration reloaded; some of it needs a restart"
                );
            }
            Err(failure) => {
                let error: &dyn std::error::Error = &failure;
                tracing::warn!(error, "configuration not reloaded; the old one stays");
            }
        }
    }
}
