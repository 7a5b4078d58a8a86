//! Who a node is and where it listens.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{NodeId, Region};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the node, unique in its cluster; shows in `Cache-Status`.
    pub id: NodeId,
    /// The region it stands in.
    pub region: Region,
    /// The folder where it keeps what it must still know after a restart: what was removed and what is
    /// withheld. It is this node's alone. None means that it asks the control plane each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For viewers.
    pub edge: SocketAddr,
    /// For viewers, over TLS; nowhere if not given. `[tls]` names the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SocketAddr>,
    /// Whether another process may listen on the same addresses, so that a new version takes over
    /// before the old one stops. Then the admin port closes as soon as a drain begins: probes are
    /// to meet the new one.
    pub reuse_port: bool,
    /// For other nodes of the region, which read blobs through this one; nowhere if not given, and
    /// then this one does not read through them either. Keep it off the internet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// For the operator: `/livez`, `/readyz`, `/metrics`. Keep it off the internet.
    pub admin: SocketAddr,
}

impl Listen {
    pub(super) fn check(&self, problems: &mut Problems) {
        let ports = [
            ("listen.edge", Some(self.edge)),
            ("listen.tls", self.tls),
            ("listen.admin", Some(self.admin)),
            ("listen.peer", self.peer),
        ];
        for (n, (key, address)) in ports.iter().enumerate() {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            for (other, _) in ports.iter().take(n).filter(|(_, one)| *one == Some(address)) {
                let problem =
                    format!("is {address}, as {other} is; each needs an address of its own");
                problems.push(key, problem);
            }
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            id: "edge-1".parse().expect("a name"),
            region: "local".parse().expect("a name"),
            state_dir: None,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            edge: ([127, 0, 0, 1], 4510).into(),
            tls: None,
            reuse_port: false,
            peer: None,
            admin: ([127, 0, 0, 1], 4511).into(),
        }
    }
}
