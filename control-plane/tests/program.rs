//! The control plane as a process: its first key, its commands, its end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "program/postgres.rs"]
mod postgres;

use std::{path::Path, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

/// Longer than anything takes that is to happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wcdn-control-plane"));
    command
        .current_dir(home)
        .env("WCDN_LISTEN__GRPC", "127.0.0.1:0")
        .env("WCDN_LISTEN__HTTP", "127.0.0.1:0")
        .env("WCDN_LISTEN__ADMIN", "127.0.0.1:0")
        .env("WCDN_LIMITS__DRAIN_DELAY", "0s")
        .env("WCDN_WALRUS__NETWORK", "local")
        .arg("--log-format=json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What one logs.
struct Log(Lines<BufReader<ChildStderr>>);

impl Log {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stderr.take().unwrap()).lines())
    }

    /// All until a line with these words.
    async fn until(&mut self, words: &str) -> String {
        let said = async {
            let mut logged = String::new();
            while let Some(line) = self.0.next_line().await.unwrap() {
                logged.push_str(&line);
                if line.contains(words) {
                    return logged;
                }
            }
            panic!("it ended early: {logged}")
        };
        timeout(PATIENCE, said).await.expect(words)
    }
}

/// What it logs until it says that it serves.
async fn serving(child: &mut Child) -> String {
    Log::of(child).until("control plane serves").await
}

async fn stopped(child: Child) -> String {
    let id = child.id().unwrap().to_string();
    let asked = Command::new("kill").arg("-TERM").arg(id).status().await.unwrap();
    assert!(asked.success());
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it stops").unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

async fn said(home: &TempDir, args: &[&str]) -> (i32, String, String) {
    let mut command = program(home.path());
    command.args(args);
    said_by(command).await
}

async fn said_by(mut command: Command) -> (i32, String, String) {
    let output = command.output();
    let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_first_start_makes_keys_and_shows_the_api_key_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let mut first = program(home.path()).spawn().unwrap();
    let logged = serving(&mut first).await;
    assert!(logged.contains("issuer_key"), "edges need the public key: {logged}");
    let shown = stopped(first).await;
    let key = shown.lines().find_map(|line| line.trim().strip_prefix("wcdn_")).unwrap();
    assert_eq!(key.len(), 70);
    assert!(!logged.contains(key), "the key is in the log");
    for file in ["cluster.key", "signing.key"] {
        let mode =
            home.path().join("wcdn-data").join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mut second = program(home.path()).spawn().unwrap();
    serving(&mut second).await;
    assert!(!stopped(second).await.contains("wcdn_"));
}

#[tokio::test]
async fn a_copy_can_be_made_while_it_serves_and_brought_back_when_it_does_not() {
    let home = tempfile::tempdir().unwrap();
    let mut child = program(home.path()).spawn().unwrap();
    serving(&mut child).await;
    let (code, made, _) = said(&home, &["create-key", "ci"]).await;
    assert!(code == 0 && made.starts_with("wcdn_"), "{code} {made}");
    assert_eq!(said(&home, &["backup", "copy.db"]).await.0, 0);
    let (code, _, told) = said(&home, &["restore", "copy.db"]).await;
    assert!(code == 1 && told.contains("another process serves"), "{code} {told}");
    let (code, _, told) = said(&home, &[]).await;
    assert!(code == 1 && told.contains("another process serves"), "{code} {told}");
    stopped(child).await;
    let (code, told, _) = said(&home, &["restore", "copy.db"]).await;
    assert!(code == 0 && told.contains("control-plane.db.replaced"), "{code} {told}");
}

#[tokio::test]
async fn it_tells_its_public_key_and_whether_it_is_ready() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, told) = said(&home, &["issuer-key"]).await;
    assert!(code == 2 && told.contains("cluster.signing_key_file is of no use: "), "{told}");
    let mut child = program(home.path()).spawn().unwrap();
    let logged = serving(&mut child).await;
    let (code, key, _) = said(&home, &["issuer-key"]).await;
    assert!(code == 0 && key.trim().len() == 64 && logged.contains(key.trim()), "{key} {logged}");
    let admin = logged.split("\"admin\":\"").nth(1).unwrap().split('"').next().unwrap();
    let probe = || program(home.path()).env("WCDN_LISTEN__ADMIN", admin).arg("--probe").output();
    assert!(probe().await.unwrap().status.success());
    stopped(child).await;
    assert_eq!(probe().await.unwrap().status.code(), Some(1));
}

#[tokio::test]
async fn a_check_finds_what_is_wrong_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(said(&home, &["--check-config"]).await.0, 0);
    assert!(!home.path().join("wcdn-data").exists());
    std::fs::write(home.path().join("bad.key"), "short").unwrap();
    let checked = program(home.path())
        .env("WCDN_CLUSTER__KEY_FILE", "bad.key")
        .env("WCDN_LOG__MAX_WAITING", "1")
        .arg("--check-config")
        .output();
    let output = timeout(PATIENCE, checked).await.expect("it ends").unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("cluster.key_file is of no use: "), "{told}");
}

/// A certificate that signed itself, in the two files; its text.
fn certify(home: &TempDir) -> String {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = home.path().join("tls.key");
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    std::fs::write(home.path().join("tls.crt"), issued.cert.pem()).unwrap();
    issued.cert.pem()
}

/// Whether whoever trusts this certificate alone finds the control plane there.
async fn is_shown(certificate: &str, address: &str) -> bool {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate));
    let channel = Channel::from_shared(format!("https://{address}")).unwrap();
    channel.tls_config(tls.domain_name("localhost")).unwrap().connect().await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let first = certify(&home);
    let mut command = program(home.path());
    command.env("WCDN_TLS__CERTIFICATE", "tls.crt").env("WCDN_TLS__KEY", "tls.key");
    let mut child = command.spawn().unwrap();
    let mut log = Log::of(&mut child);
    let began = log.until("control plane serves").await;
    let address = began.rsplit_once("\"grpc\":\"").unwrap().1.split('"').next().unwrap();
    assert!(is_shown(&first, address).await);
    std::fs::write(home.path().join("tls.crt"), "a certificate that was cut off").unwrap();
    let told = log.until("certificate not reloaded; the old one stays").await;
    assert!(told.contains("WARN") && told.contains("tls.crt"), "{told}");
    assert!(is_shown(&first, address).await);
    let second = certify(&home);
    log.until("certificate reloaded").await;
    assert!(is_shown(&second, address).await && !is_shown(&first, address).await);
    stopped(child).await;
}
