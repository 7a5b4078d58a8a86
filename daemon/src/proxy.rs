//! Whose word is taken for the address of whoever asks: proxies in front of a program.

mod client;
mod customer;
pub mod protocol;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

pub use self::{client::Proxies, customer::Customer};
use crate::config::Problems;

/// The proxies in front of a program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Networks of proxies, such as `10.0.0.0/8`: only from there `header` is believed.
    pub trusted: Vec<IpNet>,
    /// The header by which they say for whom they ask; the other one is not read.
    pub header: ClientHeader,
    /// Whether connections from there begin with a PROXY header, version 1 or 2. Then they must.
    pub protocol: bool,
}

/// A header that names the client of a request.
///
/// One is chosen, since proxies add to one of them and pass the other on as the client wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientHeader {
    /// What most proxies add to.
    #[default]
    XForwardedFor,
    /// That of RFC 7239.
    Forwarded,
}

impl Proxy {
    /// What makes no sense.
    pub fn check(&self, problems: &mut Problems) {
        if self.protocol && self.trusted.is_empty() {
            problems.push("proxy.protocol", "is true; name those who send it in proxy.trusted");
        }
        for net in &self.trusted {
            if net.prefix_len() == 0 {
                let problem = format!("has {net}, which is everybody; name networks");
                problems.push("proxy.trusted", problem);
            }
            if let Some(plain) = in_other_notation(net) {
                problems.push("proxy.trusted", format!("has {net}; write it as {plain}"));
            }
        }
    }
}

/// The IPv4 network that `::ffff:10.0.0.0/104` means: peers have their plain address here, so that
/// no peer would be in it.
fn in_other_notation(net: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(net) = net else { return None };
    let address = net.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok()
}
