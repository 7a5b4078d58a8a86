//! `wcdn-control-plane`: the control plane as a program.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use wcdn_control_plane::{ApiKey, Config, Doors, Secrets, StartError, commands, start};
use wcdn_daemon::{
    Failure, Signals,
    args::{Common, HasCommon},
    config, probe,
};
use wcdn_proto::{Scope, Scopes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The WCDN control plane: keeps the log of what must become true on every edge, and knows where it
/// has.
///
/// Without a command it serves. Without --config it runs on defaults. Every key can be set by a variable
/// too: log.retention by WCDN_LOG__RETENTION.
#[derive(Debug, Parser)]
#[command(name = "wcdn-control-plane")]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Ask the control plane that runs with this configuration whether it is ready; exit with 0 if it is.
    #[arg(long, conflicts_with = "check_config")]
    probe: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an API key, and print it once. A control plane that runs takes it at once.
    CreateKey {
        /// For people: shows in changes, lists and the audit log.
        name: String,
        /// What it may do, such as cache:purge; can be given several times. Without it, everything.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
    },
    /// Copy the SQLite file to one that does not exist, also while a control plane runs on it.
    Backup {
        /// The file.
        file: PathBuf,
    },
    /// Replace the SQLite file by a copy, while no control plane runs on it. A new epoch begins: edges take all
    /// they hold as unproven. A copy that is put into place by hand does not begin one, and is noticed
    /// only once an edge reports more than it holds: always use this command.
    Restore {
        /// The copy.
        file: PathBuf,
    },
    /// Begin a new epoch, once a PostgreSQL database was brought back with pg_restore, or a standby
    /// that lagged was promoted: edges take all they hold as unproven. Control planes that run on it follow.
    RaiseEpoch {
        /// The least that it may be: more than the epoch of the log that was lost, should the clock of
        /// this machine be behind.
        #[arg(long, default_value_t = 0)]
        least: u64,
    },
    /// Print the public key of cluster.signing_key_file: what edges need in gossip.issuer_keys.
    IssuerKey,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

fn main() -> ExitCode {
    wcdn_daemon::run("wcdn-control-plane", |args: Args, signals| async move {
        let config: Config = config::load(args.common.config.as_deref(), config::variables())?;
        config.check()?;
        match args.command {
            _ if args.common.check_config => Ok(Secrets::check(&config)?),
            _ if args.probe => probe::ready(config.listen.admin).await.map_err(Failure::other),
            Some(command) => perform(command, &config).await,
            None => serve(config, signals).await,
        }
    })
}

async fn serve(config: Config, signals: Signals) -> Result<(), Failure> {
    let Signals { shutdown, .. } = signals;
    let doors = Doors::bind(&config.listen).map_err(Failure::other)?;
    let plane = start(config, doors, shutdown).await.map_err(|error| match error {
        StartError::Config(problems) => Failure::Problems(problems),
        other => Failure::other(other),
    })?;
    if let Some(key) = plane.first_key() {
        show_first(key);
    }
    plane.join().await;
    Ok(())
}

async fn perform(command: Command, config: &Config) -> Result<(), Failure> {
    let store = &config.store;
    match command {
        Command::CreateKey { name, scopes } => {
            let scopes = if scopes.is_empty() { Scopes::ALL } else { scopes.into_iter().collect() };
            let key = commands::create_key(store, &name, scopes).await.map_err(Failure::other)?;
            println!("{}", key.expose());
        }
        Command::IssuerKey => println!("{}", Secrets::issuer_key(config)?),
        Command::Backup { file } => {
            commands::backup(store, &file).await.map_err(Failure::other)?;
            println!("copied {} to {}", store.path.display(), file.display());
        }
        Command::Restore { file } => {
            let replaced = commands::restore(&file, store).await.map_err(Failure::other)?;
            println!("restored {} from {}", store.path.display(), file.display());
            if let Some(replaced) = replaced {
                println!("what was there is in {}", replaced.display());
            }
        }
        Command::RaiseEpoch { least } => {
            let head = commands::raise_epoch(store, least).await.map_err(Failure::other)?;
            println!("a new log begins, of epoch {}", head.epoch);
        }
    }
    Ok(())
}

fn show_first(key: &ApiKey) {
    println!(
        "\n\
         =====================================================================================\n\
         The first API key. It is shown this once, and stored only as a hash:\n\n  \
         {}\n\n\
         export WCDN_API_KEY with it for the wcdn command line.\n\
         =====================================================================================\n",
        key.expose()
    );
}
