//! Programs that run while something is measured.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

/// A program that runs, and is asked to stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, without a voice.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        Ok(Self(started.with_context(|| format!("cannot run {:?}", command.get_program()))?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Takes the memory that it has now for the most that it ever had.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let file = format!("/proc/{}/clear_refs", self.pid());
        fs::write(&file, "5").with_context(|| format!("cannot write {file}"))
    }

    /// Its memory in MiB: `VmRSS:` now, `VmHWM:` the most there ever was.
    pub(crate) fn resident(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("no {field} of process {}", self.pid()))? / 1_024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that a parent takes its workers with it.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _gone = self.0.kill().is_err();
        }
        let _reaped = self.0.wait().is_ok();
    }
}

/// Returns once somebody listens at a port.
pub(crate) fn wait_until_it_listens(port: u16, name: &str) -> anyhow::Result<()> {
    wait_until(&format!("{name} listens"), || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

/// Returns once something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    for _ in 0..400 {
        if holds() {
            return Ok(());
        }
        pause(Duration::from_millis(50));
    }
    bail!("not within 20 s: {what}")
}

#[allow(clippy::disallowed_methods, reason = "this program has no executor to block")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program of this project, built beside this one.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing; run `make build`", path.display());
    Ok(path)
}

pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is missing; `make bench` installs it"))
}
