//! An edge as its users run it, configured for a scenario.

use std::{fmt::Write as _, fs, process::Command};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, sibling, wait_until},
    viewer::Viewer,
};

/// A running edge.
#[derive(Debug)]
pub(crate) struct Edge {
    process: Process,
    pub(crate) port: u16,
    admin: u16,
    _home: TempDir,
}

/// What is to run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Setup<'a> {
    /// Ports of its origins.
    pub(crate) origins: Vec<u16>,
    /// Tables of the configuration, beyond those that every scenario has.
    pub(crate) tables: &'a str,
    /// Whether it is pinned to processor 0, with one thread.
    pub(crate) is_pinned: bool,
}

/// What would keep a single client from being many: those who measure are no abuse.
const NO_LIMITS: &str = "[limits]\nmisses_per_client = 0\nmisses_per_second = 0\n\
    max_connections_per_client = 4096\n\
    fills_per_client = 256\ndrain_delay = \"0s\"\n";

impl Edge {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let (port, admin) = (free_port()?, free_port()?);
        let mut text = format!(
            "[listen]\nedge = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             {NO_LIMITS}{}\n",
            setup.tables
        );
        for (n, origin) in setup.origins.iter().enumerate() {
            let name = format!("origin-{}", n + 1);
            write!(text, "[[origin]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{origin}\"\n")?;
        }
        let config = home.path().join("edge.toml");
        fs::write(&config, text)?;
        let node = sibling("wcdn-node")?;
        let mut command = if setup.is_pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(node).args(["--threads", "1"]);
            command
        } else {
            Command::new(node)
        };
        command.args(["--log", "error", "--config"]).arg(config);
        let edge = Self { process: Process::start(&mut command)?, port, admin, _home: home };
        wait_until("the edge is ready", || Viewer::text(admin, "/readyz").is_ok())?;
        Ok(edge)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The sum of all lines of a metric whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> anyhow::Result<f64> {
        let text = Viewer::text(self.admin, "/metrics")?;
        let lines = text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(labels));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}
