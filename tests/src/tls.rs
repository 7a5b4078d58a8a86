//! Certificates for edges under test.

use std::{fs, net::Ipv4Addr};

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use wcdn_dev::Topology;

/// A certificate that signed itself, for 127.0.0.1, and its key.
#[derive(Debug)]
pub struct Issued {
    certificate: String,
    key: String,
    /// What a client trusts.
    pub der: CertificateDer<'static>,
}

impl Issued {
    /// A new one, unlike any before.
    ///
    /// # Panics
    /// When the system has no random bytes.
    pub fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])
            .expect("a certificate can be made");
        let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        Self { certificate, key, der: issued.cert.der().clone() }
    }
}

impl Default for Issued {
    fn default() -> Self {
        Self::new()
    }
}

/// The two files of a certificate, as an operator deploys them.
#[derive(Debug)]
pub struct Deployed {
    folder: TempDir,
}

impl Deployed {
    /// Writes them to a folder of their own.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn new(issued: &Issued) -> Self {
        let deployed = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        deployed.write(issued);
        deployed
    }

    /// Writes others in their place.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write(&self, issued: &Issued) {
        for (name, text) in [("tls.crt", &issued.certificate), ("tls.key", &issued.key)] {
            fs::write(self.folder.path().join(name), text).expect("the folder can be written");
        }
    }

    /// Cuts the key off in its middle.
    ///
    /// # Panics
    /// When the folder is gone.
    pub fn spoil(&self) {
        let key = fs::File::options().write(true).open(self.folder.path().join("tls.key"));
        key.and_then(|key| key.set_len(80)).expect("the key can be cut");
    }

    /// Has the edges of a system serve TLS with them, on free ports.
    pub fn serve(&self, topology: &mut Topology) {
        topology.edge.listen.tls = Some((Ipv4Addr::LOCALHOST, 0).into());
        topology.edge.tls.certificate = Some(self.folder.path().join("tls.crt"));
        topology.edge.tls.key = Some(self.folder.path().join("tls.key"));
    }
}
