//! `wcdn-node`: the edge as a program.

use std::process::ExitCode;

use clap::Parser;
use wcdn_daemon::{
    Failure, Signals,
    args::{Common, HasCommon},
    config,
};
use wcdn_node::{Config, Doors, Secrets, start};

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
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    wcdn_daemon::run("wcdn-node", |args: Args, Signals { shutdown, .. }| async move {
        let config: Config = config::load(args.common.config.as_deref(), config::variables())?;
        config.check()?;
        Secrets::read(&config)?;
        if args.common.check_config {
            return Ok(());
        }
        let doors = Doors::bind(&config.listen).await.map_err(Failure::other)?;
        start(config, doors, shutdown).map_err(Failure::other)?.join().await;
        Ok(())
    })
}
