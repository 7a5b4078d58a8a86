//! How origins are watched, and when they are ejected.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{BlobId, ByteSize, Span};

use super::{not_zero, takes_time};

/// How origins are watched, and when they are ejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Between two rounds, a tenth more or less.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// Origins that are asked at once.
    pub max_probes: usize,
    /// A blob that every aggregator should have; that of the public networks if not given, none in
    /// others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_blob: Option<BlobId>,
    /// Whether addresses are asked that are not in the public internet.
    pub allow_private: bool,
    /// Whether origins are ejected and returned for all edges.
    pub eject: bool,
    /// Rounds without a proper answer after which an origin is ejected.
    pub eject_after: u32,
    /// Rounds with nothing but proper answers after which an ejected one returns.
    pub return_after: u32,
    /// The largest blob that is fetched to see whether an origin lies.
    pub max_verify: ByteSize,
    /// How long that may take.
    pub verify_timeout: Span,
    /// The list of public operators: a file, or an `https` URL; none if empty.
    pub operators: String,
    /// How often it is read again.
    pub operators_interval: Span,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Span::secs(5 * 60),
            timeout: Span::secs(5),
            max_probes: 16,
            known_blob: None,
            allow_private: false,
            eject: true,
            eject_after: 3,
            return_after: 6,
            max_verify: ByteSize::mib(64),
            verify_timeout: Span::secs(30),
            operators: String::new(),
            operators_interval: Span::secs(86_400),
        }
    }
}

impl Health {
    pub(super) fn check(&self, problems: &mut Problems) {
        takes_time(
            problems,
            [
                ("health.interval", self.interval),
                ("health.timeout", self.timeout),
                ("health.verify_timeout", self.verify_timeout),
                ("health.operators_interval", self.operators_interval),
            ],
        );
        let count = |rounds: u32| usize::try_from(rounds).unwrap_or(usize::MAX);
        not_zero(
            problems,
            [
                ("health.max_probes", self.max_probes),
                ("health.eject_after", count(self.eject_after)),
                ("health.return_after", count(self.return_after)),
            ],
        );
        if self.operators.starts_with("http://") && !self.allow_private {
            let problem =
                format!("is {}; anybody could change it on its way: use https", self.operators);
            problems.push("health.operators", problem);
        }
    }
}
