//! The program's own log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::args::LogFormat;

/// Starts logging for the whole process. What the log leaves out `beside` may still see.
pub(crate) fn start(
    filter: &str,
    format: LogFormat,
    beside: Option<impl Layer<Registry> + Send + Sync>,
) -> anyhow::Result<()> {
    let filter: EnvFilter = filter.parse()?;
    let is_terminal = std::io::stderr().is_terminal();
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => is_terminal,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if text {
        lines.with_ansi(is_terminal).with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry().with(beside).with(lines.with_filter(filter)).try_init()?;
    Ok(())
}
