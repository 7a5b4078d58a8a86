//! The log of requests.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;

use crate::access_log;
pub use crate::access_log::Format as LogFormat;

/// The log of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `off`, `stdout`, or the path of a file.
    pub to: PathBuf,
    /// `json` or `clf`.
    pub format: LogFormat,
    /// Share of requests written, 0 to 1; answers of 500 and above always are.
    pub sample: f64,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: "off".into(), format: LogFormat::Json, sample: 1.0 }
    }
}

impl AccessLog {
    pub(super) fn check(&self, problems: &mut Problems) {
        if !(0.0..=1.0).contains(&self.sample) {
            let sample = self.sample;
            problems.push("access_log.sample", format!("is {sample}; it lies between 0 and 1"));
        }
    }

    /// The same, for the log itself.
    pub(crate) fn settings(&self) -> access_log::Settings {
        let target = match self.to.to_str() {
            Some("off") => access_log::Target::Off,
            Some("stdout") => access_log::Target::Stdout,
            _ => access_log::Target::File(self.to.clone()),
        };
        access_log::Settings { target, format: self.format, sample: self.sample }
    }
}
