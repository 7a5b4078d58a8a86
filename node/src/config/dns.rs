//! How the names of origins and control planes are looked up.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::Span;
use wcdn_walrus::DnsOptions;

use super::takes_time;

/// How the names of origins and control planes are looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers, with ports; empty means those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one look-up may take in all.
    pub timeout: Span,
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Span::secs(2) }
    }
}

impl Dns {
    pub(super) fn check(&self, problems: &mut Problems) {
        takes_time(problems, [("dns.timeout", self.timeout)]);
    }

    /// The same for whoever looks them up.
    pub fn options(&self) -> DnsOptions {
        DnsOptions { servers: self.servers.clone(), timeout: self.timeout.duration() }
    }
}
