//! REDbot, an HTTP linter: what it notes about the responses of a server.

use std::{process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::tools::{script, tool};

/// A request that REDbot makes; it then makes some of its own to see whether the answers agree.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    name: &'static str,
    url: String,
    method: &'static str,
    headers: Vec<(&'static str, String)>,
}

/// Something that REDbot noted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Note {
    /// The name of the probe.
    pub probe: String,
    /// `good`, `info`, `warning` or `bad`.
    pub level: String,
    /// REDbot's name for it.
    pub note: String,
    /// The part of the message it is about.
    pub subject: String,
    /// It in words.
    pub summary: String,
}

/// How long REDbot may take for all its probes: it takes a fraction of a second for each.
const DEADLINE: Duration = Duration::from_secs(60);

impl Probe {
    /// GET.
    pub fn get(name: &'static str, url: String) -> Self {
        Self::new(name, "GET", url)
    }

    /// A request with this method.
    pub fn new(name: &'static str, method: &'static str, url: String) -> Self {
        Self { name, url, method, headers: Vec::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Makes the probes one after the other; everything that REDbot notes.
///
/// # Panics
/// When REDbot is not installed or does not come to an end.
pub async fn lint(probes: &[Probe]) -> Vec<Note> {
    let mut redbot = Command::new(tool("redbot/bin/python"))
        .arg(script("lint.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python runs");
    let asked = serde_json::to_vec(probes).expect("probes are JSON");
    let mut input = redbot.stdin.take().expect("it has an input");
    input.write_all(&asked).await.expect("it reads");
    drop(input);
    let output = timeout(DEADLINE, redbot.wait_with_output()).await;
    let output = output.expect("REDbot comes to an end").expect("its output can be read");
    assert!(output.status.success(), "REDbot failed: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("it prints notes")
}
