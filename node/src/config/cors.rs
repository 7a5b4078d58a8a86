//! The web pages that may read responses.

use serde::{Deserialize, Serialize};
use wcdn_daemon::{config::Problems, origins::Origins};

/// The origins whose pages may read responses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// All of them, or these; empty means no page but the edge's own.
    pub origins: Origins,
    /// Whether a browser may send what it knows of the viewer, such as cookies for a proxy in front.
    pub credentials: bool,
}

/// Each response may be compared with all of them.
const MAX_ORIGINS: usize = 256;

impl Default for Cors {
    fn default() -> Self {
        Self { origins: Origins::everybody(), credentials: false }
    }
}

impl Cors {
    pub(super) fn check(&self, problems: &mut Problems) {
        let (count, is_open) = (self.origins.len(), self.origins.is_everybody());
        if count > MAX_ORIGINS {
            let problem = format!("has {count} entries; the most is {MAX_ORIGINS}");
            problems.push("cors.origins", problem);
        }
        if is_open && count > 1 {
            problems.push("cors.origins", "has * beside others; leave it, or them, out");
        }
        if is_open && self.credentials {
            problems.push(
                "cors.credentials",
                "is true, and cors.origins has *, which browsers refuse together; list the origins",
            );
        }
    }
}

#[cfg(test)]
mod tests;
