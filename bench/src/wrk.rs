//! The load generator wrk, and what it says.

use std::process::Command;

use anyhow::{Context, ensure};
use serde::Serialize;

/// What one run of wrk measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Runs wrk on processor 1 against a URL.
pub(crate) fn run(url: &str, connections: u32, seconds: u32) -> anyhow::Result<Load> {
    run_on(1, url, connections, seconds)
}

/// The same on another processor.
pub(crate) fn run_on(
    processor: usize,
    url: &str,
    connections: u32,
    seconds: u32,
) -> anyhow::Result<Load> {
    let output = Command::new("taskset")
        .args(["-c", &processor.to_string(), "wrk", "--latency", "-t1"])
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .arg(url)
        .output()
        .context("cannot run wrk; `make bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx"), "{url} answered with errors:\n{text}");
    parse(&text).with_context(|| format!("cannot read what wrk said:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let after =
        |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    Some(Load {
        requests: requests.parse().ok()?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_ms: millis(after("50%")?)?,
        p99_ms: millis(after("99%")?)?,
    })
}

fn millis(text: &str) -> Option<f64> {
    let (number, factor) = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_wrk_is_understood() {
        let text = "Running 3s test @ http://127.0.0.1:1/x\n  1 threads and 64 connections\n\
            Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   600.00us  1ms 20ms 95%\n\
            Latency Distribution\n     50%  523.00us\n     75%  600.00us\n     90%  700.00us\n\
                 99%    1.19ms\n  316605 requests in 3.00s, 400.00MB read\n\
            Requests/sec: 105535.12\nTransfer/sec:    133.33MB\n";
        let expected =
            Load { requests: 316_605, per_second: 105_535.12, p50_ms: 0.523, p99_ms: 1.19 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("unable to connect"), None);
    }
}
