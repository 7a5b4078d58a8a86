//! `wcdn`: the operator's command line, a client of `wcdn.admin.v1` and nothing more.

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Args, commands::Outcome, failure::Failure, output::Output};

mod args;
mod client;
mod commands;
mod config;
mod failure;
mod ids;
mod output;
mod progress;
mod receipt;
mod table;
mod text;

fn main() -> ExitCode {
    let args = Args::parse_from(args::shielded(std::env::args_os()));
    match run(args) {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => {
            // A reader that has gone away, such as `head`, has what it wanted.
            if !failure.is_closed_pipe() {
                output::complain(&failure.line());
            }
            failure.exit_code()
        }
    }
}

/// One thread is plenty: there is one call at a time.
fn run(args: Args) -> Result<Outcome, Failure> {
    let output = Output::new(args.output);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(commands::run(args.connection, args.command, output));
    // Looking up a name cannot be called off, and nobody waits for it.
    runtime.shutdown_background();
    outcome
}
