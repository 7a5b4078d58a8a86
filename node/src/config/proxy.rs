//! Whose word is taken for a viewer's address.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;

/// The proxies in front of the edge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Networks of proxies, such as `10.0.0.0/8`: only from there `Forwarded` and
    /// `X-Forwarded-For` are believed.
    pub trusted: Vec<IpNet>,
    /// Whether connections from there begin with a PROXY header, version 1 or 2. Then they must.
    pub protocol: bool,
}

impl Proxy {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.protocol && self.trusted.is_empty() {
            problems.push("proxy.protocol", "is true; name those who send it in proxy.trusted");
        }
        for net in self.trusted.iter().filter(|net| net.prefix_len() == 0) {
            problems.push("proxy.trusted", format!("has {net}, which is everybody; name networks"));
        }
    }
}
