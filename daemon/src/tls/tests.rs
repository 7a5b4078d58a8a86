use std::{fs, io, net::SocketAddr, os::unix::fs::symlink, sync::LazyLock, time::UNIX_EPOCH};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::task::TaskTracker;

use super::*;

mod profile;

const NAME: &str = "edge.test";

/// For anything that should take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// A certificate that signed itself, and its key.
struct Issued {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

static FIRST: LazyLock<Issued> = LazyLock::new(Issued::new);
static SECOND: LazyLock<Issued> = LazyLock::new(Issued::new);

impl Issued {
    fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
        Self { certificate, key, der: issued.cert.der().clone() }
    }
}

/// The two files, as an operator deploys them.
struct Deployed {
    folder: TempDir,
}

impl Deployed {
    fn new(issued: &Issued) -> Self {
        let deployed = Self { folder: TempDir::new().unwrap() };
        deployed.write(&issued.certificate, &issued.key);
        deployed
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(self.certificate(), certificate).unwrap();
        fs::write(self.key(), key).unwrap();
    }

    fn load(&self) -> Result<Certificates, TlsError> {
        Certificates::load(&self.certificate(), &self.key())
    }
}

/// Where somebody sends back what it gets, while the test runs.
async fn echo(certificates: &Certificates) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = TlsAcceptor::from(certificates.server_config(&[b"h2", b"http/1.1"], None));
    let (address, tasks) = (listener.local_addr().unwrap(), TaskTracker::new());
    let serve = move |stream| {
        let handshake = acceptor.accept(stream);
        async move {
            let (mut reader, mut writer) = tokio::io::split(handshake.await?);
            tokio::io::copy(&mut reader, &mut writer).await?;
            Ok::<_, io::Error>(())
        }
    };
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn(serve(stream));
        }
    });
    address
}

fn client(trusted: &[&Issued], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for issued in trusted {
        roots.add(issued.der.clone()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(ServerName::try_from(NAME).unwrap(), stream).await
}

fn shown(stream: &TlsStream<TcpStream>) -> &CertificateDer<'static> {
    &stream.get_ref().1.peer_certificates().unwrap()[0]
}

async fn is_echoed(stream: &mut TlsStream<TcpStream>, word: &[u8]) {
    stream.write_all(word).await.unwrap();
    let mut back = vec![0; word.len()];
    timeout(DEADLINE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, word);
}

fn any_version() -> ClientConfig {
    client(&[&FIRST, &SECOND], &[&TLS13, &TLS12])
}

#[tokio::test]
async fn new_handshakes_see_a_new_certificate_and_running_connections_go_on() {
    let deployed = Deployed::new(&FIRST);
    let certificates = deployed.load().unwrap();
    let address = echo(&certificates).await;
    let config = Arc::new(any_version());
    let mut early = connect(address, &config).await.unwrap();
    assert_eq!(shown(&early), &FIRST.der);
    is_echoed(&mut early, b"before").await;

    deployed.write(&SECOND.certificate, &SECOND.key);
    assert_eq!(certificates.reload().unwrap(), Reloaded::Changed);
    assert_eq!(certificates.reload().unwrap(), Reloaded::Unchanged);
    let mut late = connect(address, &config).await.unwrap();
    assert_eq!(shown(&late), &SECOND.der);
    is_echoed(&mut late, b"after").await;
    is_echoed(&mut early, b"still here").await;
}

#[tokio::test]
async fn both_versions_of_tls_are_served_with_the_protocol_agreed() {
    let certificates = Deployed::new(&FIRST).load().unwrap();
    let address = echo(&certificates).await;
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client(&[&FIRST], &[version]));
        let stream = connect(address, &config).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(version.version));
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[tokio::test]
async fn a_viewer_that_returns_resumes_its_session_at_whichever_port() {
    let certificates = Deployed::new(&FIRST).load().unwrap();
    for version in [&TLS12, &TLS13] {
        let (one, other) = (echo(&certificates).await, echo(&certificates).await);
        let mut config = client(&[&FIRST], &[version]);
        config.resumption = Resumption::in_memory_sessions(1);
        let config = Arc::new(config);
        let mut first = connect(one, &config).await.unwrap();
        // In TLS 1.3 tickets come after the handshake, with the first bytes read.
        is_echoed(&mut first, b"hello").await;
        let second = connect(other, &config).await.unwrap();
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

/// What is wrong with the files, with its cause.
fn problem(error: &TlsError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_file_and_the_old_certificate_stays() {
    let deployed = Deployed::new(&FIRST);
    let certificates = deployed.load().unwrap();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let useless_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cut = |pem: &'static str| pem.trim_end().trim_end_matches('-');
    for (certificate, key, file, words) in [
        (
            &*FIRST.certificate,
            &*SECOND.key,
            "tls.key is not that of the first certificate",
            "tls.crt",
        ),
        ("no PEM", &FIRST.key, "tls.crt holds no certificate", "PEM"),
        (cut(&FIRST.certificate), &FIRST.key, "tls.crt is damaged", "anew"),
        (garbage, &FIRST.key, "not X.509", "openssl x509"),
        (&FIRST.certificate, "no PEM", "tls.key holds no private key", "openssl pkey"),
        (&FIRST.certificate, cut(&FIRST.key), "tls.key is damaged", "anew"),
        (&FIRST.certificate, useless_key, "tls.key holds a key that TLS has no use for", "P-256"),
    ] {
        deployed.write(certificate, key);
        let told = problem(&certificates.reload().unwrap_err());
        // The paths are quoted up to the file's name.
        let told = told.replace(&format!("{}/", deployed.folder.path().display()), "");
        assert!(told.contains(file) && told.contains(words), "{told}");
        assert!(problem(&deployed.load().unwrap_err()).contains(words));
        let current = certificates.shared.current.load();
        assert_eq!(current.certified.cert.first(), Some(&FIRST.der));
    }
}

#[test]
fn a_missing_file_is_named_with_what_the_system_said() {
    for lost in [Deployed::certificate, Deployed::key] {
        let deployed = Deployed::new(&FIRST);
        let certificates = deployed.load().unwrap();
        fs::remove_file(lost(&deployed)).unwrap();
        let told = problem(&certificates.reload().unwrap_err());
        let name = lost(&deployed).display().to_string();
        assert!(told.contains(&name) && told.contains("No such file"), "{told}");
    }
}

#[test]
fn a_file_without_an_end_is_not_read_to_its_end() {
    let error = Certificates::load(Path::new("/dev/zero"), Path::new("/dev/zero")).unwrap_err();
    assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
}

#[test]
fn one_file_may_hold_both_in_any_order() {
    let both = Deployed::new(&FIRST);
    let text = format!("{}{}{}", FIRST.key, FIRST.certificate, SECOND.certificate);
    fs::write(both.certificate(), text).unwrap();
    let certificates = Certificates::load(&both.certificate(), &both.certificate()).unwrap();
    let chain = certificates.shared.current.load().certified.cert.clone();
    assert_eq!(chain, [FIRST.der.clone(), SECOND.der.clone()]);
}

#[test]
fn the_expiry_is_that_of_the_certificate() {
    // What rcgen writes unless told otherwise: the year 4096.
    let certificates = Deployed::new(&FIRST).load().unwrap();
    let expected = UNIX_EPOCH + Duration::from_secs(67_090_118_400);
    assert_eq!(certificates.not_after(), expected);
}

#[test]
fn an_expired_certificate_is_served_and_its_expiry_told() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let deployed = Deployed::new(&FIRST);
    deployed.write(&certificate.pem(), &key.serialize_pem());
    let expected = UNIX_EPOCH + Duration::from_secs(978_307_200);
    assert_eq!(deployed.load().unwrap().not_after(), expected);
}

#[tokio::test]
async fn an_exchanged_link_is_noticed_by_itself() {
    // As Kubernetes mounts a secret: the files are links through a link that is replaced.
    let (old, new) = (Deployed::new(&FIRST), Deployed::new(&SECOND));
    let mount = TempDir::new().unwrap();
    let (data, next) = (mount.path().join("data"), mount.path().join("next"));
    symlink(old.folder.path(), &data).unwrap();
    let certificates = Certificates::load(&data.join("tls.crt"), &data.join("tls.key")).unwrap();
    let (address, config) = (echo(&certificates).await, Arc::new(any_version()));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let watching = certificates.clone().keep_fresh(Duration::from_millis(5), stop.clone());
    tasks.spawn(watching);
    assert_eq!(shown(&connect(address, &config).await.unwrap()), &FIRST.der);

    symlink(new.folder.path(), &next).unwrap();
    fs::rename(&next, &data).unwrap();
    let seen = async { while shown(&connect(address, &config).await.unwrap()) != &SECOND.der {} };
    timeout(DEADLINE, seen).await.expect("the new certificate is shown");
    stop.cancel();
    tasks.close();
    timeout(DEADLINE, tasks.wait()).await.expect("the watch ends with the process");
}

#[test]
fn a_failure_that_lasts_is_told_once() {
    let gone = |name: &str| {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        Err(TlsError::Read { path: name.into(), cause })
    };
    let mut told = Told::default();
    let rounds = [
        (Ok(Reloaded::Unchanged), false),
        (gone("tls.crt"), true),
        (gone("tls.crt"), false),
        (gone("tls.key"), true),
        (Ok(Reloaded::Unchanged), false),
        (gone("tls.key"), true),
        (Ok(Reloaded::Changed), true),
        (Ok(Reloaded::Changed), true),
    ];
    for (i, (outcome, expected)) in rounds.into_iter().enumerate() {
        assert_eq!(told.is_news(&outcome), expected, "round {i}");
    }
}
