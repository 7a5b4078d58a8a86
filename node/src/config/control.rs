//! The control planes, and the gossip of the nodes.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_gossip::frame::{IssuerKey, IssuerKeys};
use wcdn_proto::Span;

use super::{Cluster, takes_time};

/// The control planes of the log that this node follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The gRPC addresses of all of them, such as `https://control.example.com:4501`: the node has a
    /// session with each. A name that has several addresses is that of several. None means that there
    /// is no control plane.
    pub endpoints: Vec<String>,
    /// The file with the authorities that sign its certificate; `https` needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate that this node shows, PEM, and its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// See `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How long a node that knows nothing yet waits for the control plane before it serves all the
    /// same.
    pub start_grace: Span,
}

/// Gossip: events as they happen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gossip {
    /// The UDP address; nowhere if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where others reach it, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// Some nodes or control planes to begin with, as `host:port`.
    pub seeds: Vec<String>,
    /// The control plane's public keys, 64 hexadecimal digits each; two while a key is changed.
    pub issuer_keys: Vec<String>,
}

/// Control planes that are listed.
const MAX_ENDPOINTS: usize = 16;

impl Default for Control {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca_file: None,
            certificate: None,
            key: None,
            start_grace: Span::secs(10),
        }
    }
}

impl Control {
    /// Whether there is a control plane.
    pub fn is_given(&self) -> bool {
        !self.endpoints.is_empty()
    }

    pub(super) fn check(&self, cluster: &Cluster, problems: &mut Problems) {
        if self.endpoints.len() > MAX_ENDPOINTS {
            let count = self.endpoints.len();
            let problem = format!("has {count} entries; the most is {MAX_ENDPOINTS}");
            problems.push("control.endpoints", problem);
        }
        let mut seen = BTreeSet::new();
        for endpoint in &self.endpoints {
            if !seen.insert(endpoint) {
                let problem = format!("has {endpoint} twice; list each control plane once");
                problems.push("control.endpoints", problem);
            }
            let uri = endpoint.parse::<http::Uri>();
            let scheme = uri.as_ref().ok().and_then(|uri| uri.scheme_str());
            let is_whole = uri.as_ref().is_ok_and(|uri| matches!(uri.path(), "" | "/"));
            if !is_whole || !matches!(scheme, Some("http" | "https")) {
                problems.push(
                    "control.endpoints",
                    format!("has {endpoint}; write it like https://control.example.com:4501"),
                );
            } else if scheme == Some("https") && self.ca_file.is_none() {
                problems.push("control.ca_file", format!("is missing, and {endpoint} needs it"));
            }
        }
        if self.is_given() && cluster.key_file.is_none() {
            problems.push(
                "cluster.key_file",
                "is missing, and control.endpoints needs it: the control plane knows its nodes by \
                 this key",
            );
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                problems.push("control.key", "is missing; control.certificate needs it")
            }
            (None, Some(_)) => {
                problems.push("control.certificate", "is missing; control.key needs it");
            }
            _ => {}
        }
        takes_time(problems, [("control.start_grace", self.start_grace)]);
    }
}

impl Gossip {
    /// The control plane's public keys; those that are none are left out; checking tells of them.
    pub fn keys(&self) -> IssuerKeys {
        let keys = self.issuer_keys.iter().filter_map(|key| key.parse::<IssuerKey>().ok());
        IssuerKeys::new(keys.collect())
    }

    pub(super) fn check(&self, control: &Control, cluster: &Cluster, problems: &mut Problems) {
        for key in self.issuer_keys.iter().filter(|key| key.parse::<IssuerKey>().is_err()) {
            problems.push(
                "gossip.issuer_keys",
                format!("has {key}; a public key is 64 hexadecimal digits"),
            );
        }
        for seed in self.seeds.iter().filter(|seed| !is_host_and_port(seed)) {
            problems.push("gossip.seeds", format!("has {seed}; write it like 10.0.0.5:4502"));
        }
        if cluster.strict && self.listen.is_none() {
            problems.push(
                "cluster.strict",
                "is true without gossip.listen: nothing would ever confirm the log, so that \
                 nothing would be served",
            );
        }
        let is_everywhere = |address: &SocketAddr| address.ip().is_unspecified();
        if let Some(listen) = self.listen.filter(is_everywhere)
            && self.advertise.is_none()
        {
            let problem =
                format!("is missing; gossip.listen is {listen}, and others need an address");
            problems.push("gossip.advertise", problem);
        }
        if let Some(advertise) = self.advertise.filter(is_everywhere) {
            let problem = format!("is {advertise}; it must be an address that others can send to");
            problems.push("gossip.advertise", problem);
        }
        if self.listen.is_none() {
            if control.is_given() {
                problems.push(
                    "gossip.listen",
                    "is missing, and control.endpoints needs it: events come by it",
                );
            }
            return;
        }
        if !control.is_given() {
            problems.push("control.endpoints", "is empty; gossip.listen needs a control plane");
        }
        if self.issuer_keys.is_empty() {
            problems.push(
                "gossip.issuer_keys",
                "is empty; without the control plane's public key no event is believed",
            );
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}
