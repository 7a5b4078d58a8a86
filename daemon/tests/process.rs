//! How a process of ours behaves, seen from outside.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

const SPECIMEN: &str = env!("CARGO_BIN_EXE_daemon-specimen");

/// For anything that should take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// A process under observation.
struct Specimen {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

/// How a process ended.
struct End {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn specimen(args: &[&str]) -> Command {
    let mut command = Command::new(SPECIMEN);
    command.args(args).env_clear();
    command
}

impl Specimen {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    async fn says(&mut self, line: &str) {
        let said = timeout(DEADLINE, self.stdout.next_line()).await;
        let said = said.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {line}"));
        assert_eq!(said.unwrap().as_deref(), Some(line));
    }

    /// Waits for a line of the log; those before it are not told by `end`.
    async fn logs(&mut self, message: &str) {
        let seek = async {
            while let Some(line) = self.stderr.next_line().await.unwrap() {
                if line.contains(message) {
                    return;
                }
            }
            panic!("the log ended without: {message}");
        };
        let sought = timeout(DEADLINE, seek).await;
        sought.unwrap_or_else(|_| panic!("not logged within {DEADLINE:?}: {message}"));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    async fn end(mut self) -> End {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let (mut errors, mut rest) = (self.stderr.into_inner(), self.stdout.into_inner());
        let all = async {
            let (out, err, status) = tokio::join!(
                rest.read_to_string(&mut stdout),
                errors.read_to_string(&mut stderr),
                self.child.wait()
            );
            out.unwrap();
            err.unwrap();
            status.unwrap()
        };
        let status = timeout(DEADLINE, all).await.expect("the process ends");
        End { status, stdout, stderr }
    }
}

async fn end_of(args: &[&str]) -> End {
    Specimen::start(&mut specimen(args)).end().await
}

#[tokio::test]
async fn one_signal_drains_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Specimen::start(&mut specimen(&[]));
        process.says("started").await;
        process.signal(signal);
        let end = process.end().await;
        assert_eq!(end.status.code(), Some(0), "{signal:?}: {}", end.stderr);
    }
}

#[tokio::test]
async fn a_second_signal_ends_what_hangs() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut process = Specimen::start(&mut specimen(&["--then", "hang", "--threads", "1"]));
        process.says("started").await;
        process.signal(Signal::TERM);
        process.says("draining").await;
        process.signal(signal);
        assert_eq!(process.end().await.status.code(), Some(code), "{signal:?}");
    }
}

#[tokio::test]
async fn a_hangup_asks_for_a_reload_and_ends_nothing() {
    let mut process = Specimen::start(&mut specimen(&["--then", "reload"]));
    process.says("started").await;
    for _ in 0..3 {
        process.signal(Signal::HUP);
        process.says("reloading").await;
    }
    process.signal(Signal::TERM);
    assert_eq!(process.end().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_hangup_is_logged_by_what_has_nothing_to_reload() {
    let mut process = Specimen::start(&mut specimen(&[]));
    process.says("started").await;
    process.signal(Signal::HUP);
    process.logs("nothing to reload").await;
    process.signal(Signal::TERM);
    assert_eq!(process.end().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_failure_is_told_with_its_cause() {
    let end = end_of(&["--then", "fail", "--log", "off"]).await;
    assert_eq!(end.status.code(), Some(1));
    assert_eq!(end.stderr, "daemon-specimen: cannot go on: no such luck\n");
}

#[tokio::test]
async fn a_panic_is_reported_and_aborts_even_with_the_log_off() {
    let end = end_of(&["--then", "panic", "--log", "off"]).await;
    assert_eq!(end.status.signal(), Some(Signal::ABORT.as_raw()));
    let version = concat!("daemon-specimen ", env!("CARGO_PKG_VERSION"));
    for part in [version, "thread \"main\"", "specimen.rs:", "seat 13", "report"] {
        assert!(end.stderr.contains(part), "{part}: {}", end.stderr);
    }
}

#[tokio::test]
async fn usage_that_makes_no_sense_exits_with_2() {
    for args in [
        &["--no-such-flag"][..],
        &["--threads", "0"],
        &["--log", "a=b=c"],
        &["--config", "/no/such.toml"],
    ] {
        let end = end_of(args).await;
        assert_eq!(end.status.code(), Some(2), "{args:?}: {}", end.stderr);
        assert!(!end.stderr.is_empty() && end.stdout.is_empty(), "{args:?}");
    }
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn traces_are_no_option_of_a_program_built_without_them() {
    let end = end_of(&["--otlp-sample", "1"]).await;
    assert_eq!(end.status.code(), Some(2));
    assert!(end.stderr.contains("unexpected argument"), "{}", end.stderr);
}

#[tokio::test]
async fn check_config_tells_every_problem_with_its_sources() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[hall]\nseats = 0\n").unwrap();
    let path = file.path().to_str().unwrap();
    let mut command = specimen(&["--check-config", "--config", path]);
    let end = Specimen::start(command.env("WCDN_HALL__DOORS", "0")).end().await;
    assert_eq!(end.status.code(), Some(2));
    let prefix = format!("daemon-specimen: {path}, WCDN_HALL__DOORS: ");
    assert_eq!(
        end.stderr,
        format!(
            "{prefix}hall.seats is 0; the least is 1\n{prefix}hall.doors is 0; the least is 1\n"
        )
    );
}

#[tokio::test]
async fn a_configuration_that_can_be_used_is_passed_over_in_silence() {
    let end = end_of(&["--check-config"]).await;
    assert_eq!(end.status.code(), Some(0));
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("", ""));
}

#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_no_reason_to_die() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let mut command = specimen(&["--check-config"]);
    let end = Specimen::start(command.env("NOISE", OsStr::from_bytes(b"\xff"))).end();
    assert_eq!(end.await.status.code(), Some(0));
}

#[tokio::test]
async fn away_from_a_terminal_the_log_is_json_lines_on_standard_error() {
    let mut process = Specimen::start(&mut specimen(&[]));
    process.says("started").await;
    process.signal(Signal::TERM);
    let end = process.end().await;
    let lines = end.stderr.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
    assert_eq!(lines[0]["message"], "started");
    assert_eq!((&lines[0]["level"], &lines[0]["seats"]), (&"INFO".into(), &1.into()));
    assert_eq!(end.stdout, "", "standard output is the program's own");
}

#[tokio::test]
async fn the_log_is_text_when_asked_and_as_loud_as_asked() {
    let loud = end_of(&["--then", "files", "--log-format", "text"]).await;
    assert!(loud.stderr.contains("INFO") && loud.stderr.contains("seats=1"));
    assert!(!loud.stderr.contains('\u{1b}'), "colours are for terminals");
    let mut quiet = specimen(&["--then", "files"]);
    let quiet = Specimen::start(quiet.env("WCDN_LOG", "warn")).end().await;
    assert_eq!(quiet.stderr, "");
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_system_grants() {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -S -n 64 && exec \"$0\" --then files", SPECIMEN]);
    let end = Specimen::start(shell.env_clear()).end().await;
    let limits = end.stdout.lines().last().unwrap();
    let (current, maximum) = limits.split_once(' ').unwrap();
    assert_eq!(current, maximum);
    assert_ne!(current, "Some(64)");
}

#[tokio::test]
async fn the_version_is_told() {
    let end = end_of(&["--version"]).await;
    let version = concat!("daemon-specimen ", env!("CARGO_PKG_VERSION"));
    assert!(end.stdout.starts_with(version), "{}", end.stdout);
    assert_eq!(end.status.code(), Some(0));
}
