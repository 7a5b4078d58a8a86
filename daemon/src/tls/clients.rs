//! Whose certificates clients may show.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    TlsError,
    pair::{Contents, chain},
};

/// Authorities that sign the certificates of clients, read once.
#[derive(Clone)]
pub struct ClientAuthorities(Arc<dyn ClientCertVerifier>);

const OF_NO_USE: &str = "holds a certificate that is no authority's; it must be PEM of those that \
    sign the certificates of clients";

impl ClientAuthorities {
    /// Reads their certificates: PEM.
    ///
    /// # Errors
    /// [`TlsError`] names the file and the remedy.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let file = Contents::read(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in chain(&file)? {
            roots.add(certificate).map_err(|_| file.unusable(OF_NO_USE))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.allow_unauthenticated().build();
        Ok(Self(verifier.map_err(|_| file.unusable(OF_NO_USE))?))
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAuthorities(…)")
    }
}
