//! The other nodes of the region, as sources of blobs.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::Span;

use super::{Gossip, Listen, not_zero, takes_time};

/// How the nodes of a region read through each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peer {
    /// Where the others reach `listen.peer`, if that is another address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// To open a connection to a peer, its handshake included; one that takes longer is left alone
    /// for a while.
    pub connect_timeout: Span,
    /// Requests to one peer under way; one more goes to the next one, or to origins. As many are
    /// answered to one.
    pub max_requests: usize,
}

impl Default for Peer {
    fn default() -> Self {
        Self { advertise: None, connect_timeout: Span::millis(250), max_requests: 256 }
    }
}

impl Peer {
    pub(super) fn check(&self, listen: &Listen, gossip: &Gossip, problems: &mut Problems) {
        let is_everywhere = |address: &SocketAddr| address.ip().is_unspecified();
        if let Some(listen) = listen.peer {
            if is_everywhere(&listen) && self.advertise.is_none() {
                let problem =
                    format!("is missing; listen.peer is {listen}, and others need an address");
                problems.push("peer.advertise", problem);
            }
            if gossip.listen.is_none() {
                problems.push(
                    "gossip.listen",
                    "is missing, and listen.peer needs it: by gossip peers know of each other",
                );
            }
        }
        if let Some(advertise) = self.advertise.filter(is_everywhere) {
            let problem = format!("is {advertise}; it must be an address that others can reach");
            problems.push("peer.advertise", problem);
        }
        not_zero(problems, [("peer.max_requests", self.max_requests)]);
        takes_time(problems, [("peer.connect_timeout", self.connect_timeout)]);
    }
}
