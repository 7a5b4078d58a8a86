//! The certificate that viewers are shown.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;

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
}

impl Tls {
    pub(super) fn check(&self, listen: &Listen, problems: &mut Problems) {
        let given = [("tls.certificate", &self.certificate), ("tls.key", &self.key)];
        for (key, _) in given.iter().filter(|(_, path)| path.is_none()) {
            if listen.tls.is_some() {
                problems.push(key, "is missing; listen.tls needs it");
            }
        }
    }
}
