//! A program in another language, which knows of the control plane only what that tells by itself.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{process::Command, time::timeout};

use crate::tools::{script, tool};

/// What it found.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// The names of all services, in order.
    pub services: Vec<String>,
    /// The change that its purge became, a `wcdn.admin.v1.Change` in the JSON of Protocol Buffers.
    pub change: serde_json::Value,
    /// Its receipts, as they came.
    pub receipts: Vec<serde_json::Value>,
}

/// More than the script allows for its two calls.
const DEADLINE: Duration = Duration::from_secs(90);

/// Purges the id, and waits for the receipt.
///
/// # Panics
/// When gRPC for Python is not installed, or anything goes wrong there.
pub async fn purge(control_plane: SocketAddr, key: &str, id: &str) -> Found {
    let mut peer = Command::new(tool("grpc/bin/python"));
    peer.arg(script("grpc_peer.py")).args([&control_plane.to_string(), id]);
    peer.env("WCDN_API_KEY", key).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, peer.output()).await;
    let output = output.expect("it comes to an end").expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints what it found")
}
