//! The certificate that viewers are shown.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::Span;

use super::Listen;

/// Files of the certificate; they are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate and those that lead to its root, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Whether browsers are told to come by TLS only, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

/// HTTP Strict Transport Security (RFC 6797): said over TLS, and never without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hsts {
    /// How long browsers remember it; zero makes them forget.
    pub max_age: Span,
    /// Whether it holds for every name below this one.
    pub include_subdomains: bool,
    /// Whether makers of browsers may ship it with them. It cannot be taken back for months.
    pub preload: bool,
}

impl Default for Hsts {
    fn default() -> Self {
        Self { max_age: YEAR, include_subdomains: false, preload: false }
    }
}

/// What lists that browsers ship with ask for (hstspreload.org).
const YEAR: Span = Span::secs(365 * 24 * 60 * 60);

impl Tls {
    pub(super) fn check(&self, listen: &Listen, problems: &mut Problems) {
        let given = [("tls.certificate", &self.certificate), ("tls.key", &self.key)];
        for (key, _) in given.iter().filter(|(_, path)| path.is_none()) {
            if listen.tls.is_some() {
                problems.push(key, "is missing; listen.tls needs it");
            }
        }
        if let Some(hsts) = &self.hsts {
            hsts.check(listen, problems);
        }
    }
}

impl Hsts {
    /// `Strict-Transport-Security`.
    pub fn header(&self) -> String {
        let mut header = format!("max-age={}", self.max_age.duration().as_secs());
        if self.include_subdomains {
            header.push_str("; includeSubDomains");
        }
        if self.preload {
            header.push_str("; preload");
        }
        header
    }

    fn check(&self, listen: &Listen, problems: &mut Problems) {
        if listen.tls.is_none() {
            problems.push("tls.hsts", "is given, and is said over TLS only; give listen.tls, too");
        }
        if self.preload && !(self.include_subdomains && self.max_age >= YEAR) {
            problems.push(
                "tls.hsts.preload",
                "is true; lists take names only with include_subdomains and a max_age of 365d",
            );
        }
    }
}
