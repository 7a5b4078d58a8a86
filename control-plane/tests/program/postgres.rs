//! The program on PostgreSQL: as the runbook says, and with passwords and certificates.

use std::{ffi::OsStr, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use wcdn_postgres::Postgres;

use super::{program, said_by};

/// What a command says on the database at this URL.
async fn said(home: &TempDir, url: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = program(home.path());
    command.env("WCDN_STORE__URL", url).args(args);
    said_by(command).await
}

#[tokio::test]
async fn a_dump_that_was_brought_back_begins_a_higher_epoch() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Postgres::temporary().await.unwrap();
    server.start(&[("fsync", "off")]).await.unwrap();
    server.create_database("wcdn").await.unwrap();
    let url = server.url("wcdn");
    assert_eq!(said(&home, &url, &["create-key", "ci"]).await.0, 0);
    let (code, _, told) = said(&home, &url, &["backup", "copy.db"]).await;
    assert!(code == 1 && told.contains("copy it with pg_dump"), "{code} {told}");
    let dump = server.write("dump", b"").unwrap();
    let file = dump.as_os_str();
    let [format, to, database] = ["--format=custom", "--file", "wcdn"].map(OsStr::new);
    server.program("pg_dump", &[format, to, file, database]).await.unwrap();

    // What comes after the dump is lost, and edges know of it.
    assert_eq!(said(&home, &url, &["create-key", "later"]).await.0, 0);
    let head = "SELECT epoch FROM head";
    let before: u64 = server.execute("wcdn", head).await.unwrap().parse().unwrap();
    let [clean, exists, into] = ["--clean", "--if-exists", "--dbname"].map(OsStr::new);
    server.program("pg_restore", &[clean, exists, into, database, file]).await.unwrap();
    let least = (before + 1_000_000_000).to_string();
    let (code, told, _) = said(&home, &url, &["raise-epoch", "--least", &least]).await;
    assert!(code == 0 && told.contains(&least), "{code} {told}");
    assert_eq!(server.execute("wcdn", head).await.unwrap(), least);
    let keys = server.execute("wcdn", "SELECT name FROM api_keys").await.unwrap();
    assert_eq!(keys, "ci");
    assert_eq!(server.execute("wcdn", "SELECT COUNT(*) FROM frames").await.unwrap(), "0");
}

#[tokio::test]
async fn a_password_lies_in_a_file_or_the_url_and_is_never_told() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Postgres::temporary_with_password("se@cret/42").await.unwrap();
    server.listen(&[("fsync", "off")]).await.unwrap();
    let port = server.port();
    let (code, _, told) = said(
        &home,
        &format!("postgres://wcdn:wrong-42@127.0.0.1:{port}/postgres"),
        &["create-key", "a"],
    )
    .await;
    let named = format!("cannot open postgres://wcdn@127.0.0.1:{port}/postgres");
    assert!(code == 1 && told.contains(&named) && !told.contains("wrong-42"), "{code} {told}");
    let inline = format!("postgres://wcdn:se%40cret%2F42@127.0.0.1:{port}/postgres");
    assert_eq!(said(&home, &inline, &["create-key", "a"]).await.0, 0);

    let file = secret(home.path(), "se@cret/42");
    let mut command = program(home.path());
    command.env("WCDN_STORE__URL", server.url("postgres"));
    command.env("WCDN_STORE__PASSWORD_FILE", &file).args(["create-key", "b"]);
    assert_eq!(said_by(command).await.0, 0);
    server.kill();
    let (code, _, told) = said(&home, &inline, &["create-key", "c"]).await;
    assert!(code == 1 && told.contains(&named) && !told.contains("cret"), "{code} {told}");
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let home = tempfile::tempdir().unwrap();
    let (ours, others) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    let mut server = Postgres::temporary().await.unwrap();
    let certificate = server.write("server.crt", certificate.pem().as_bytes()).unwrap();
    let key = server.write("server.key", key.serialize_pem().as_bytes()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = [("ssl", "on"), ("ssl_cert_file", certificate), ("ssl_key_file", key)];
    server.listen(&tls).await.unwrap();
    for (name, authority, expected) in [("ours", &ours, 0), ("others", &others, 1)] {
        let ca = home.path().join(format!("{name}.crt"));
        std::fs::write(&ca, authority.pem()).unwrap();
        let query = format!("sslmode=verify-full&sslrootcert={}", ca.display());
        let url = format!("{}?{query}", server.url("postgres"));
        let (code, _, told) = said(&home, &url, &["create-key", "a"]).await;
        assert_eq!(code, expected, "{name}: {told}");
    }
    let encrypted = "SELECT COUNT(*) FROM api_keys WHERE name = 'a'";
    assert_eq!(server.execute("postgres", encrypted).await.unwrap(), "1");
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn secret(home: &Path, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = home.join("db.password");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}
