//! slowhttptest: viewers who hold connections as long as they can.

use std::process::Stdio;

use tokio::process::{Child, Command};

/// A way to be slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// A head that never ends: slowloris.
    Head,
    /// A response that is hardly read.
    Read,
}

/// Slow viewers at once.
pub const VIEWERS: u32 = 50;

/// Has [`VIEWERS`] ask for a URL, who go on for a minute if they are let; they end when this is
/// dropped.
///
/// # Panics
/// When slowhttptest is not installed.
pub fn begin(slow: Slow, url: &str) -> Child {
    let way: &[&str] = match slow {
        Slow::Head => &["-H", "-i", "1"],
        Slow::Read => &["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32"],
    };
    let mut command = Command::new("slowhttptest");
    command.args(way).args(["-c", &VIEWERS.to_string(), "-r", "200", "-l", "60", "-u", url]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("slowhttptest is installed; scripts/install test does it")
}
