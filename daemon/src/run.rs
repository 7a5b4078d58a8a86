//! A program from its first argument to its exit code.

use std::{future::Future, io, process::ExitCode};

use tokio::runtime::{Builder, Runtime};
#[cfg(not(feature = "otlp"))]
use tracing_subscriber::layer::Identity;

#[cfg(feature = "otlp")]
use crate::traces::Traces;
use crate::{
    Failure,
    args::{Common, HasCommon, VERSION},
    config, logs, panics,
    signals::{self, Signals},
};

/// Runs a program: parses its arguments, sets up logs, panics, signals and a runtime, and turns
/// the outcome into an exit code: 0 fine, 2 usage or configuration, 1 anything else.
///
/// `main` gets the arguments and what it hears of signals: SIGTERM or SIGINT ask it to drain, the
/// second of them ends the process at once, SIGHUP asks it to reload.
pub fn run<A, F>(name: &'static str, main: impl FnOnce(A, Signals) -> F) -> ExitCode
where
    A: HasCommon,
    F: Future<Output = Result<(), Failure>>,
{
    let args: A = parse(name);
    let common = args.common().clone();
    let runtime = match runtime(common.threads) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: cannot start threads: {error}");
            return ExitCode::from(1);
        }
    };
    #[cfg(feature = "otlp")]
    let traces = match Traces::start(name, &common.otlp, &runtime) {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("{name}: cannot send traces: {error}");
            return ExitCode::from(2);
        }
    };
    #[cfg(feature = "otlp")]
    let logging = logs::start(&common.log, common.log_format, traces.layer());
    #[cfg(not(feature = "otlp"))]
    let logging = logs::start(&common.log, common.log_format, None::<Identity>);
    if let Err(error) = logging {
        eprintln!("{name}: --log {:?} makes no sense: {error}", common.log);
        return ExitCode::from(2);
    }
    panics::hook(name);
    raise_file_limit();
    let outcome = runtime.block_on(async {
        let signals = signals::listen().map_err(Failure::other)?;
        main(args, signals).await
    });
    #[cfg(feature = "otlp")]
    traces.flush();
    // Whatever still blocks a thread has been given its time to drain.
    runtime.shutdown_background();
    outcome.err().map_or(ExitCode::SUCCESS, |failure| tell(name, &common, &failure))
}

fn tell(name: &str, common: &Common, failure: &Failure) -> ExitCode {
    let sources = config::sources(common.config.as_deref(), config::variables());
    eprintln!("{}", failure.report(name, &sources));
    failure.exit_code()
}

/// Ends the process for `--help`, `--version` and arguments that make no sense.
fn parse<A: HasCommon>(name: &'static str) -> A {
    let mut command = A::command().name(name).version(VERSION.as_str());
    let matches = command.get_matches_mut();
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

fn runtime(threads: Option<u16>) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.into());
    }
    builder.enable_all().build()
}

/// Each connection takes a file descriptor, and the usual soft limit is 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}
