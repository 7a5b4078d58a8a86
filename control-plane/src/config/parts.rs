//! Where a control plane listens, what it keeps, and by which keys it is known.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{NodeId, Span};

use super::{not_zero, takes_time};
use crate::tracker::Windows;

/// Where a control plane listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// gRPC, for operators and edges.
    pub grpc: SocketAddr,
    /// For the operator: `/livez`, `/readyz`, `/metrics`. Keep it off the internet.
    pub admin: SocketAddr,
    /// UDP, for events to edges; nowhere if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gossip: Option<SocketAddr>,
}

/// The certificate that is shown to operators and edges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate and those that lead to its root, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Authorities whose client certificates admit edges, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file.
    pub path: PathBuf,
}

/// How much of the past can be replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// For how long.
    pub retention: Span,
    /// And how many frames, of 1,100 bytes at most.
    pub max_frames: u64,
    /// Changes that may wait to be written.
    pub max_waiting: usize,
}

/// The keys of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The file with the key that control planes and edges share.
    pub key_file: PathBuf,
    /// The file with the one before, while keys are changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_key_file: Option<PathBuf>,
    /// The file with the secret that signs events.
    pub signing_key_file: PathBuf,
    /// Whether the two are made if their files do not exist.
    pub create_keys: bool,
}

/// How edges are told of events at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gossip {
    /// The name of this control plane among the members.
    pub name: NodeId,
    /// Where edges reach `listen.gossip`, if not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// Members to ask first, as `host:port`.
    pub seeds: Vec<String>,
}

/// API keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A file with an API key of the operator's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_key_file: Option<PathBuf>,
}

/// When a node counts as what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receipts {
    /// Unconfirmed or fenced, when it has not confirmed the head for so long.
    pub lease: Span,
    /// Lost, when it has had no session for so long.
    pub lost_after: Span,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            grpc: ([127, 0, 0, 1], 4501).into(),
            admin: ([127, 0, 0, 1], 4500).into(),
            gossip: None,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { path: "wcdn-data/control-plane.db".into() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { retention: Span::secs(7 * 86_400), max_frames: 262_144, max_waiting: 4_096 }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            key_file: "wcdn-data/cluster.key".into(),
            previous_key_file: None,
            signing_key_file: "wcdn-data/signing.key".into(),
            create_keys: true,
        }
    }
}

impl Default for Gossip {
    fn default() -> Self {
        let name = "control-plane".parse().expect("it is a name");
        Self { name, advertise: None, seeds: Vec::new() }
    }
}

impl Default for Receipts {
    fn default() -> Self {
        Self { lease: Span::secs(5), lost_after: Span::secs(15) }
    }
}

impl Listen {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.admin == self.grpc && self.admin.port() != 0 {
            let problem =
                format!("is {}, as listen.grpc is; each needs an address of its own", self.admin);
            problems.push("listen.admin", problem);
        }
    }
}

impl Tls {
    pub(super) fn check(&self, problems: &mut Problems) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => problems.push("tls.key", "is missing; tls.certificate needs it"),
            (None, Some(_)) => problems.push("tls.certificate", "is missing; tls.key needs it"),
            (None, None) if self.client_ca.is_some() => {
                problems.push("tls.certificate", "is missing; tls.client_ca needs it");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

impl Log {
    pub(super) fn check(&self, problems: &mut Problems) {
        let least = Span::secs(60);
        if self.retention < least {
            problems.push("log.retention", format!("is {}; the least is {least}", self.retention));
        }
        if self.max_frames < 1_024 {
            problems.push("log.max_frames", format!("is {}; the least is 1024", self.max_frames));
        }
        not_zero(problems, [("log.max_waiting", self.max_waiting)]);
    }
}

impl Cluster {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.key_file == self.signing_key_file {
            let path = self.key_file.display();
            problems.push(
                "cluster.signing_key_file",
                format!(
                    "is {path}, as cluster.key_file is; edges know that one, and must not sign"
                ),
            );
        }
    }
}

impl Gossip {
    pub(super) fn check(&self, listen: &Listen, problems: &mut Problems) {
        if let Some(listening) = listen.gossip
            && listening.ip().is_unspecified()
            && self.advertise.is_none()
        {
            problems.push(
                "gossip.advertise",
                format!(
                    "is missing; listen.gossip is {listening}, and edges need an address to send to"
                ),
            );
        }
        if let Some(advertise) = self.advertise.filter(|address| address.ip().is_unspecified()) {
            problems.push(
                "gossip.advertise",
                format!("is {advertise}; it must be an address that edges can send to"),
            );
        }
        let is_address = |seed: &str| {
            seed.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        for seed in self.seeds.iter().filter(|seed| !is_address(seed)) {
            problems.push("gossip.seeds", format!("has {seed:?}; each must be host:port"));
        }
    }
}

impl Receipts {
    pub(crate) fn windows(&self) -> Windows {
        Windows { lease: self.lease.duration(), lost: self.lost_after.duration() }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.lost_after < self.lease {
            let (lost, lease) = (self.lost_after, self.lease);
            problems.push(
                "receipts.lost_after",
                format!("is {lost}; the least is receipts.lease ({lease})"),
            );
        }
        takes_time(problems, [("receipts.lease", self.lease)]);
    }
}
