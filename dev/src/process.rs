//! A program of ours in a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A program that serves.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    /// What starts it again.
    command: String,
    /// What it said when it began to serve.
    began: Value,
}

/// From its start until it serves.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// From being asked to stop until it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl Process {
    /// Starts a program that lies beside this one, with a configuration. Its log goes to a file beside
    /// that one; when it says `serves` there, this returns.
    ///
    /// # Errors
    /// When it is not built, or ends before.
    pub async fn start(program: &str, config: &Path, serves: &str) -> anyhow::Result<Self> {
        let path = find(program)?;
        let log = config.with_extension("log");
        let from = fs::metadata(&log).map_or(0, |log| log.len());
        let file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&path);
        command.arg("--config").arg(config).args(["--log-format", "json"]);
        command.stdin(Stdio::null()).stderr(file).kill_on_drop(true);
        // Ctrl-C in a terminal reaches every process of its group; this one is stopped by us.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", path.display()))?;
        let pid = child.id().context("it has ended")?;
        let command = format!("{} --config {}", path.display(), config.display());
        let mut started = Self { child, pid, command, began: Value::Null };
        started.ready(&log, from, serves).await?;
        Ok(started)
    }

    async fn ready(&mut self, log: &Path, from: u64, serves: &str) -> anyhow::Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        loop {
            let text = fs::read(log).unwrap_or_default();
            let text = text.get(usize::try_from(from)?..).unwrap_or_default();
            let text = String::from_utf8_lossy(text);
            if let Some(said) = text.lines().find_map(|line| says(line, serves)) {
                self.began = said;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}):\n{}", self.command, text.trim());
            }
            if Instant::now() > end {
                bail!("{} did not serve within {READY_TIMEOUT:?}:\n{text}", self.command);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What starts it again, once it has ended.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// A word of what it said when it began to serve.
    pub fn said(&self, key: &str) -> Option<&str> {
        self.began[key].as_str()
    }

    /// Waits until it ends, whoever ended it.
    ///
    /// # Errors
    /// When the system does not say.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to drain and stop; kills it if it does not.
    pub async fn stop(mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let runs = matches!(self.child.try_wait(), Ok(None));
        if let Some(pid) = pid.filter(|_| runs)
            && kill_process(pid, Signal::TERM).is_ok()
            && timeout(STOP_TIMEOUT, self.child.wait()).await.is_err()
        {
            tracing::warn!(pid = self.pid, after = ?STOP_TIMEOUT, "a process does not stop; killed");
        }
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "it had ended already");
        }
    }
}

fn says(line: &str, words: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(|line: &Value| line["message"] == words)
}

/// Where a program of ours is: beside this one, or, for tests, one folder up.
///
/// # Errors
/// When it is not built.
pub fn find(program: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(program));
    let found = found.into_iter().find(|path| path.exists());
    found.with_context(|| {
        format!("{program} is not beside {}; cargo build --workspace --bins", this.display())
    })
}
