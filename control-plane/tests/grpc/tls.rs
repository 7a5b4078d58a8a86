//! Encrypted, and edges by certificate.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use wcdn_proto::pb::{
    admin::v1::{GetStatusRequest, admin_service_client::AdminServiceClient},
    edge::v1::{GetSnapshotRequest, edge_service_client::EdgeServiceClient},
};

use crate::stage::Stage;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn connect(stage: &Stage, tls: ClientTlsConfig) -> Channel {
    let url = format!("https://{}", stage.plane.grpc_addr());
    let endpoint = Channel::from_shared(url).unwrap().tls_config(tls.domain_name("localhost"));
    endpoint.unwrap().connect_lazy()
}

#[tokio::test]
async fn edges_come_by_certificate_and_operators_by_key_over_the_same_port() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.issue("localhost");
    let stage = Stage::with(|config| {
        config.tls.certificate = Some(write(files.path(), "tls.crt", &certificate));
        config.tls.key = Some(write(files.path(), "tls.key", &key));
        config.tls.client_ca = Some(write(files.path(), "ca.pem", &authority.pem()));
    })
    .await;
    // Whoever begins no handshake holds up nobody.
    let _silent = TcpStream::connect(stage.plane.grpc_addr()).await.unwrap();
    let trusting = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let plain = connect(&stage, trusting());
    let status = stage.keyed(GetStatusRequest {});
    AdminServiceClient::new(plain.clone()).get_status(status).await.unwrap();
    let refused = EdgeServiceClient::new(plain).get_snapshot(GetSnapshotRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let (certificate, key) = authority.issue("edge-1");
    let known = connect(&stage, trusting().identity(Identity::from_pem(certificate, key)));
    let snapshot = EdgeServiceClient::new(known.clone()).get_snapshot(GetSnapshotRequest {}).await;
    assert!(snapshot.unwrap().into_inner().next().await.unwrap().is_ok());
    let refused = AdminServiceClient::new(known).get_status(GetStatusRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "it is no operator");
    let (certificate, key) = Authority::new().issue("edge-1");
    let foreign = trusting().identity(Identity::from_pem(certificate, key));
    let foreign = connect(&stage, foreign);
    let refused = EdgeServiceClient::new(foreign).get_snapshot(GetSnapshotRequest {}).await;
    // The connection ends before the client takes it for open, or after.
    let code = refused.unwrap_err().code();
    assert!(matches!(code, Code::Unavailable | Code::Unknown), "it is not even heard: {code}");
}
