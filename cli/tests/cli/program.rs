//! The program, run as in a shell.

use std::{fs::File, path::PathBuf, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};
use wcdn_proto::BlobId;

use super::desk::{Desk, KEY};

/// Longer than any run here takes, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(60);

/// A home of its own, and what is set in its environment.
#[derive(Debug)]
pub(crate) struct Shell {
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that is not over.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) stderr: Lines<BufReader<ChildStderr>>,
}

impl Shell {
    /// Knows nothing.
    pub(crate) fn bare() -> Self {
        Self { home: tempfile::tempdir().expect("a folder"), variables: Vec::new() }
    }

    /// Knows the desk, and has its key.
    pub(crate) fn of(desk: &Desk) -> Self {
        Self::bare().set("WCDN_ENDPOINT", desk.url()).set("WCDN_API_KEY", KEY)
    }

    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Writes a file into the home.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The command, not yet run.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wcdn"));
        command.args(line.split_whitespace()).current_dir(self.home.path());
        command.env_clear().env("HOME", self.home.path()).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, line: &str) -> Ran {
        Self::finish(self.command(line)).await
    }

    /// Runs with this on standard input.
    pub(crate) async fn pipe(&self, input: &str, line: &str) -> Ran {
        let path = self.file("stdin", input);
        let mut command = self.command(line);
        command.stdin(File::open(path).expect("a file"));
        Self::finish(command).await
    }

    async fn finish(mut command: Command) -> Ran {
        let output = timeout(DEADLINE, command.output()).await;
        let output = output.expect("it comes to an end").expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts without waiting for the end.
    pub(crate) fn start(&self, line: &str) -> Running {
        let mut command = self.command(line);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Running { child, stdout, stderr }
    }
}

impl Ran {
    /// Standard output of a run in which all went well.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// The one line of a run that failed with this code and printed nothing else.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr.trim_end().strip_prefix("wcdn: ").expect("it says who speaks").to_owned()
    }

    /// Standard output as JSON of one line.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.done();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("it prints JSON")
    }
}

impl Running {
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(DEADLINE, self.stdout.next_line()).await;
        line.expect("a line comes").expect("it can be read").expect("there is one")
    }

    pub(crate) async fn error_line(&mut self) -> String {
        let line = timeout(DEADLINE, self.stderr.next_line()).await;
        line.expect("a line comes").expect("it can be read").expect("there is one")
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(rustix::process::Pid::from_raw).expect("it runs");
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be told");
    }

    /// What it prints until its end, beyond the lines that were read.
    pub(crate) async fn end(mut self) -> Ran {
        let rest = async {
            let (stdout, stderr) = tokio::join!(rest(&mut self.stdout), rest(&mut self.stderr));
            let status = self.child.wait().await.expect("it ends");
            Ran { code: status.code(), stdout, stderr }
        };
        timeout(DEADLINE, rest).await.expect("it comes to an end")
    }
}

async fn rest<R: tokio::io::AsyncBufRead + Unpin>(lines: &mut Lines<R>) -> String {
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.expect("it can be read") {
        text = text + &line + "\n";
    }
    text
}

/// An id made of this byte.
pub(crate) fn id(byte: u8) -> String {
    BlobId::from_bytes([byte; 32]).to_string()
}
