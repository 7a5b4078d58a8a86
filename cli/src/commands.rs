//! The commands, and what each means for scripts.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::{Args, AuditArgs, AuditCommand, Command, ConnectionArgs},
    client::Client,
    config::Connection,
    failure::Failure,
    output::Output,
};

mod audit;
mod blocks;
mod change;
mod events;
mod explain;
mod hooks;
mod keys;
mod nodes;
mod origins;
mod pins;
mod preload;
mod status;

pub(crate) use audit::verify::VerifyError;
use change::Asked;
pub(crate) use origins::PoolError;

/// What became of a command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Some node has not applied the change, or does not hold what it should.
    Incomplete,
    /// Somebody had no patience.
    Interrupted,
}

impl Outcome {
    /// As `--help` documents it.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Incomplete => 5,
            Self::Interrupted => 130,
        })
    }
}

/// Carries out a command.
pub(crate) async fn run(
    connection: ConnectionArgs,
    command: Command,
    output: Output,
) -> Result<Outcome, Failure> {
    let connect = async || {
        Client::connect(Connection::read(connection, |name| std::env::var_os(name))?).await
    };
    let output = &output;
    match command {
        // What can be wrong with the arguments is told before there is a connection.
        Command::Purge(args) => {
            let asked = Asked::purge(&args)?;
            asked.make(&mut connect().await?, output, &args.wait).await
        }
        Command::Block(args) => {
            let asked = Asked::block(&args)?;
            asked.make(&mut connect().await?, output, &args.wait).await
        }
        Command::Unblock(args) => {
            let asked = Asked::unblock(&args)?;
            asked.make(&mut connect().await?, output, &args.wait).await
        }
        Command::Pin(args) => {
            let asked = pins::Pin::read(&args)?;
            asked.make(&mut connect().await?, output).await
        }
        Command::Unpin(args) => {
            let asked = Asked::unpin(&args)?;
            asked.make(&mut connect().await?, output, &args.wait).await
        }
        Command::Pins(args) => pins::list(&mut connect().await?, output, args.state).await,
        Command::Preload(args) => {
            let asked = preload::Preload::read(&args)?;
            asked.make(&mut connect().await?, output).await
        }
        Command::Barrier(wait) => Asked::Barrier.make(&mut connect().await?, output, &wait).await,
        Command::Receipt(args) => change::receipt(&mut connect().await?, output, &args).await,
        Command::Blocks => blocks::list(&mut connect().await?, output).await,
        Command::Nodes => nodes::list(&mut connect().await?, output).await,
        Command::Origins(args) => {
            let asked = origins::Asked::read(args)?;
            origins::run(&mut connect().await?, output, asked).await
        }
        Command::Events(args) => events::tail(&mut connect().await?, output, &args).await,
        Command::Explain(args) => explain::id(&mut connect().await?, output, args.id).await,
        Command::Keys(args) => keys::run(&mut connect().await?, output, args).await,
        Command::Hooks(args) => hooks::run(&mut connect().await?, output, args).await,
        Command::Audit(args) => audit_log(connect, output, *args).await,
        Command::Status => status::show(&mut connect().await?, output).await,
        Command::Completions { shell } => completions(output, shell),
    }
}

async fn audit_log(
    connect: impl AsyncFnOnce() -> Result<Client, Failure>,
    output: &Output,
    args: AuditArgs,
) -> Result<Outcome, Failure> {
    match args.command {
        None => audit::list(&mut connect().await?, output, args.filter, args.limit).await,
        Some(AuditCommand::Export { filter, format, to }) => {
            audit::export(&mut connect().await?, output, filter, format, to).await
        }
        // Nobody is asked.
        Some(AuditCommand::Verify { file, issuer_key, after }) => {
            audit::verify::run(output, &file, issuer_key.as_deref(), after)
        }
    }
}

fn completions(output: &Output, shell: Shell) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "wcdn", &mut script);
    output.write(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
