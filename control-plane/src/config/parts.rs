//! Where a control plane listens, what it keeps, and by which keys it is known.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use wcdn_daemon::{config::Problems, origins::Origins};
use wcdn_gossip::frame::IssuerKey;
use wcdn_proto::{NodeId, Region, Span};

use super::{not_zero, takes_time};
use crate::tracker::Windows;

/// Where a control plane listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// gRPC, for operators and edges.
    pub grpc: SocketAddr,
    /// REST, and the pages that describe it.
    pub http: SocketAddr,
    /// For the operator: `/livez`, `/readyz`, `/metrics`. Keep it off the internet.
    pub admin: SocketAddr,
    /// UDP, for events to edges; nowhere if not given. `[gossip]` says who it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gossip: Option<SocketAddr>,
}

/// Who a control plane is among the nodes that gossip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gossip {
    /// Its name, unique in the cluster.
    pub node: NodeId,
    /// The region it stands in.
    pub region: Region,
    /// Where others reach `listen.gossip`, if that is another address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// Some nodes or control planes to begin with, as `host:port`.
    pub seeds: Vec<String>,
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
    /// The file with another one that is believed as well while keys are changed: first the one to
    /// come, then the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_key_file: Option<PathBuf>,
    /// The file with the secret that signs events.
    pub signing_key_file: PathBuf,
    /// Public keys of the other control planes that write the same log, if they sign with keys of their
    /// own.
    pub issuer_keys: Vec<String>,
    /// Whether the two are made if their files do not exist.
    pub create_keys: bool,
}

/// API keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A file with an API key of the operator's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_key_file: Option<PathBuf>,
    /// How long the text before is good after a key is rotated, unless whoever rotates it says.
    pub grace: Span,
}

impl Default for Keys {
    fn default() -> Self {
        Self { fixed_key_file: None, grace: Span::secs(86_400) }
    }
}

/// Which pages of other origins may call the REST API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// `https://app.example`, `https://*.example.org`, or `*` for everybody.
    pub origins: Origins,
    /// Whether they may send what the browser keeps for this origin, such as client certificates.
    pub credentials: bool,
}

impl Cors {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.credentials && self.origins.is_everybody() {
            problems
                .push("cors.credentials", "is true; name the origins in cors.origins, not \"*\"");
        }
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How long entries are kept.
    pub retention: Span,
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention: Span::secs(400 * 86_400) }
    }
}

impl Audit {
    pub(super) fn check(&self, problems: &mut Problems) {
        let least = Span::secs(86_400);
        if self.retention < least {
            let problem = format!("is {}; the least is {least}", self.retention);
            problems.push("audit.retention", problem);
        }
    }
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
            http: ([127, 0, 0, 1], 4500).into(),
            admin: ([127, 0, 0, 1], 4600).into(),
            gossip: None,
        }
    }
}

impl Default for Gossip {
    fn default() -> Self {
        Self {
            node: "control-plane-1".parse().expect("a name"),
            region: "local".parse().expect("a name"),
            advertise: None,
            seeds: Vec::new(),
        }
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
            issuer_keys: Vec::new(),
            create_keys: true,
        }
    }
}

impl Default for Receipts {
    fn default() -> Self {
        Self { lease: Span::secs(5), lost_after: Span::secs(15) }
    }
}

impl Listen {
    pub(super) fn check(&self, problems: &mut Problems) {
        for (key, address, other, taken) in [
            ("listen.admin", self.admin, "listen.grpc", self.grpc),
            ("listen.admin", self.admin, "listen.http", self.http),
            ("listen.http", self.http, "listen.grpc", self.grpc),
        ] {
            if address == taken && address.port() != 0 {
                let problem =
                    format!("is {address}, as {other} is; each needs an address of its own");
                problems.push(key, problem);
            }
        }
    }
}

impl Gossip {
    pub(super) fn check(&self, listen: &Listen, problems: &mut Problems) {
        let reached = self.advertise.or(listen.gossip);
        if let Some(address) = reached.filter(|address| address.ip().is_unspecified()) {
            problems.push(
                "gossip.advertise",
                format!(
                    "is missing; others cannot reach {address} (listen.gossip): name an address"
                ),
            );
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
        if self.previous_key_file.as_ref() == Some(&self.key_file) {
            let path = self.key_file.display();
            problems.push(
                "cluster.previous_key_file",
                format!("is {path}, as cluster.key_file is; leave it out unless keys are changed"),
            );
        }
        if self.key_file == self.signing_key_file {
            let path = self.key_file.display();
            problems.push(
                "cluster.signing_key_file",
                format!(
                    "is {path}, as cluster.key_file is; edges know that one, and must not sign"
                ),
            );
        }
        for text in self.issuer_keys.iter().filter(|text| text.parse::<IssuerKey>().is_err()) {
            let problem = format!("has {text:?}; a public key is 64 hexadecimal digits");
            problems.push("cluster.issuer_keys", problem);
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
