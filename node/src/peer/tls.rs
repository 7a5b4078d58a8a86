//! TLS between the nodes of a cluster: each side proves that it holds the cluster's key.
//!
//! From the cluster's key follows one Ed25519 key, the same on every node. Both sides show its public
//! half as a raw public key (RFC 7250) and sign the handshake with it; there is nothing to issue, to
//! renew, or to name. What passes is authentic, whole, and of this connection alone, so that nothing of
//! it can be played again.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs, aws_lc_rs::sign::any_eddsa_type,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

/// What both sides speak.
const ALPN: &[u8] = b"h2";

/// Who is asked: every node has the same key, so that the name means nothing, and it is not sent.
pub(super) const NAME: &str = "peer.invalid";

/// Who holds a key of the cluster.
#[derive(Debug)]
struct OfCluster {
    /// The public key that follows from the cluster's, and from another while keys change.
    keys: Vec<SubjectPublicKeyInfoDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The two sides of a connection, by the current key of the cluster; who shows another that is believed
/// is let in as well.
///
/// # Errors
/// When the library refuses the keys.
pub(crate) fn configs(
    current: &[u8; 32],
    also: Option<&[u8; 32]>,
) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let shown = Arc::new(certified(current)?);
    let mut keys = vec![public(&shown)?];
    if let Some(also) = also {
        keys.push(public(&certified(also)?)?);
    }
    let algorithms = provider.signature_verification_algorithms;
    let of_cluster = Arc::new(OfCluster { keys, algorithms });
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&of_cluster) as _)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown.clone())));
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.enable_sni = false;
    client.resumption = Resumption::disabled();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(of_cluster)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves anew that both hold the key.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((Arc::new(client), Arc::new(server)))
}

/// PKCS #8 of an Ed25519 key, up to its 32 bytes (RFC 8410 §7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

fn certified(cluster_key: &[u8; 32]) -> Result<CertifiedKey, Error> {
    let seed = blake3::derive_key("wcdn 2026-11 ed25519 key of tls between nodes", cluster_key);
    let private = PrivatePkcs8KeyDer::from([&PKCS8[..], &seed].concat());
    let key = any_eddsa_type(&private)?;
    let public = key.public_key().ok_or(Error::General("the key has no public half".into()))?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(public.as_ref().to_vec())], key))
}

fn public(shown: &CertifiedKey) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let key = shown.cert.first().ok_or(Error::NoCertificatesPresented)?;
    Ok(SubjectPublicKeyInfoDer::from(key.as_ref().to_vec()))
}

impl OfCluster {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        match self.keys.iter().any(|key| key.as_ref() == shown.as_ref()) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for OfCluster {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for OfCluster {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    type Keys = (u8, Option<u8>);

    /// Whether a client with these keys can say something to a server with those.
    async fn converse(client: Keys, server: Keys) -> bool {
        let of = |(current, also): Keys| {
            configs(&[current; 32], also.map(|also| [also; 32]).as_ref()).unwrap()
        };
        let (ours, theirs) = duplex(16 << 10);
        let accepting = async {
            let mut stream = TlsAcceptor::from(of(server).1).accept(theirs).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN));
            stream.read_u8().await
        };
        let connecting = async {
            let name = ServerName::try_from(NAME).unwrap();
            let mut stream = TlsConnector::from(of(client).0).connect(name, ours).await?;
            stream.write_u8(7).await?;
            stream.flush().await?;
            std::io::Result::Ok(stream)
        };
        let (accepted, _connected) = tokio::join!(accepting, connecting);
        accepted.is_ok_and(|byte| byte == 7)
    }

    #[tokio::test]
    async fn only_those_who_hold_the_key_of_the_cluster_speak_to_each_other() {
        assert!(converse((1, None), (1, None)).await);
        assert!(!converse((2, None), (1, None)).await);
        assert!(converse((2, Some(1)), (1, Some(2))).await, "a key is being changed");
        assert!(!converse((2, Some(1)), (1, None)).await, "not everybody has the new one yet");
    }

    #[tokio::test]
    async fn who_shows_no_key_is_not_let_in() {
        let (client, server) = configs(&[1; 32], None).unwrap();
        let anonymous =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(OfCluster {
                    keys: vec![public(&certified(&[1; 32]).unwrap()).unwrap()],
                    algorithms: client.crypto_provider().signature_verification_algorithms,
                }))
                .with_no_client_auth();
        let (ours, theirs) = duplex(16 << 10);
        let name = ServerName::try_from(NAME).unwrap();
        let connecting = TlsConnector::from(Arc::new(anonymous)).connect(name, ours);
        let acceptor = TlsAcceptor::from(server);
        let (accepted, _connected) = tokio::join!(acceptor.accept(theirs), connecting);
        assert!(accepted.is_err());
    }
}
