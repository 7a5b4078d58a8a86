//! When a certificate expires, as the verifier sees it.
//!
//! webpki reads the validity of a certificate but does not show it; what it says of one that has
//! expired tells. So the certificate is verified at the end of time, which saves an X.509 parser.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// The end of validity, or `None` if it has none that could be read.
pub(super) fn not_after(
    certificate: &CertificateDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Option<SystemTime> {
    // A verifier needs a root; validity is looked at before who signed what.
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let provider = Arc::clone(provider);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
    let verifier = verifier.build().ok()?;
    let anyone = ServerName::try_from("expiry.invalid").ok()?;
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match verifier.verify_server_cert(certificate, &[], &anyone, &[], end_of_time) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}
