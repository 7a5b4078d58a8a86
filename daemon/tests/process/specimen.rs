//! A program that has manners and nothing else.

use std::{io, process::ExitCode};

use clap::{Parser, ValueEnum};
use serde::Deserialize;
use wcdn_daemon::{
    Signals,
    args::{Common, HasCommon},
    config::{self, Problems},
};

/// Shows how a process of ours behaves.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// What to do once started.
    #[arg(long, value_name = "WHAT", default_value = "drain")]
    then: Then,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Then {
    /// Wait for a signal and end well.
    Drain,
    /// Wait for a signal and never end.
    Hang,
    /// Tell of each reload, and end well.
    Reload,
    /// Do something that is traced, and end.
    Trace,
    /// Fail with a cause.
    Fail,
    /// Panic.
    Panic,
    /// Tell how many files may be open, and how many might be.
    Files,
}

impl HasCommon for Args {
    fn common(&self) -> &Common {
        &self.common
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    hall: Hall,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hall {
    seats: u32,
    doors: u32,
}

impl Default for Config {
    fn default() -> Self {
        let hall = Hall::default();
        Self { hall }
    }
}

impl Default for Hall {
    fn default() -> Self {
        Self { seats: 1, doors: 1 }
    }
}

impl Config {
    fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let values = [("hall.seats", self.hall.seats), ("hall.doors", self.hall.doors)];
        for (key, value) in values {
            if value == 0 {
                problems.push(key, "is 0; the least is 1");
            }
        }
        problems.into_result()
    }
}

fn main() -> ExitCode {
    wcdn_daemon::run("daemon-specimen", |args: Args, signals: Signals| async move {
        let Signals { shutdown, reload } = signals;
        // Before it says that it started: from then on tests send signals.
        let reload = matches!(args.then, Then::Reload).then_some(reload);
        let config: Config = config::load(args.common.config.as_deref(), config::variables())?;
        config.check()?;
        if args.common.check_config {
            return Ok(());
        }
        tracing::info!(seats = config.hall.seats, "started");
        println!("started");
        match args.then {
            Then::Drain => shutdown.cancelled().await,
            Then::Reload => {
                let mut reload = reload.expect("it was kept for this");
                while shutdown.run_until_cancelled(reload.requested()).await.is_some() {
                    println!("reloading");
                }
            }
            Then::Hang => {
                shutdown.cancelled().await;
                println!("draining");
                std::future::pending::<()>().await;
            }
            Then::Trace => {
                tracing::info_span!(target: "wcdn_specimen", "edge_request").in_scope(|| ());
                tracing::debug_span!(target: "wcdn_specimen", "detail").in_scope(|| ());
                tracing::info_span!("of_a_library").in_scope(|| ());
            }
            Then::Fail => {
                let cause = io::Error::other("no such luck");
                return Err(anyhow::Error::from(cause).context("cannot go on").into());
            }
            Then::Panic => panic!("seat 13"),
            Then::Files => {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
                println!("{:?} {:?}", limit.current, limit.maximum);
            }
        }
        Ok(())
    })
}
