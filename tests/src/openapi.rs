//! What others find wrong with a REST API by its description, and what a browser makes of it.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::tools::{script, tool};

/// How long a program may take.
const DEADLINE: Duration = Duration::from_secs(240);

/// Requests that are made up for each call and kind of data.
const EXAMPLES: &str = "25";

/// What a browser saw.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// The title of the description.
    pub title: String,
    /// Calls that it shows.
    pub operations: usize,
    /// The status of the call that was tried.
    pub status: String,
    /// And its body.
    pub body: String,
    /// What went wrong in the page.
    pub errors: Vec<String>,
    /// Everything that was asked for.
    pub requests: Vec<String>,
}

/// What a validator of descriptions says of a file.
///
/// # Panics
/// When it is not installed, or does not come to an end.
pub async fn validate(file: &Path) -> Result<(), String> {
    let mut validator = Command::new(tool("openapi/bin/openapi-spec-validator"));
    ended(run(validator.arg(file)).await)
}

/// What a fuzzer finds that makes up requests from the description at this address: server errors, and
/// answers that are not described. Streams are left out: they do not end.
///
/// # Panics
/// When it is not installed, or does not come to an end.
pub async fn fuzz(http: &str, key: &str) -> Result<(), String> {
    let mut fuzzer = Command::new(tool("openapi/bin/schemathesis"));
    fuzzer.arg("--config-file").arg(script("schemathesis.toml")).arg("run");
    fuzzer.arg(format!("{http}/api/v1/openapi.json")).arg("-H").arg(format!("X-API-Key: {key}"));
    fuzzer.args(["--exclude-path", "/live", "--exclude-path", "/ws", "--no-color"]);
    fuzzer.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    ended(run(&mut fuzzer).await)
}

/// Opens the description in a browser, and makes a call there. The screenshot is kept.
///
/// # Panics
/// When the browser is not installed, or does not come to an end.
pub async fn browse(http: &str, key: &str, screenshot: &Path) -> Result<Seen, String> {
    let mut browser = Command::new("node");
    browser.arg(script("docs.mjs")).arg(tool("browser/node_modules"));
    browser.arg(format!("{http}/docs/")).arg(key).arg(screenshot);
    let output = run(&mut browser).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ended(output)?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

async fn run(command: &mut Command) -> Output {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(DEADLINE, running).await.expect("it comes to an end").expect("it runs")
}

fn ended(output: Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&told).into_owned())
}
