//! The arguments that every program takes.

use std::{path::PathBuf, sync::LazyLock};

use clap::{Args, ValueEnum};

/// Arguments to flatten into a program's own.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Read the configuration from this TOML file; without it, defaults apply.
    #[arg(long, value_name = "FILE", env = "WCDN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// What to log: a level, or levels by module, such as info,wcdn_node=debug.
    #[arg(long, value_name = "FILTER", env = "WCDN_LOG", default_value = "info")]
    pub log: String,
    /// How to log: text, json, or auto (text on a terminal).
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// Threads that serve; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Traces.
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub otlp: crate::traces::Otlp,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// A program's arguments, with the common ones among them.
pub trait HasCommon: clap::Parser {
    /// The common ones.
    fn common(&self) -> &Common;
}

/// What `--version` and a panic tell: the version, and the commit if `WCDN_COMMIT` was set when the
/// program was built. All our crates have one version.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("WCDN_COMMIT") {
        None | Some("") => version.to_owned(),
        Some(commit) => format!("{version} ({commit})"),
    }
});
