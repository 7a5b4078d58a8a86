//! Programs that run while something is measured.

use std::{
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
