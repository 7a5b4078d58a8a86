//! Servers keep their promises.

use super::*;

#[tokio::test]
async fn a_server_keeps_what_it_was_given_and_goes_with_its_folder() {
    let mut server = Postgres::temporary().await.unwrap();
    server.start(&[]).await.unwrap();
    server.create_database("a").await.unwrap();
    server.create_database("a").await.unwrap();
    server.execute("a", "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)").await.unwrap();
    server.kill();
    assert!(server.execute("a", "SELECT 1").await.is_err());
    server.start(&[]).await.unwrap();
    assert_eq!(server.execute("a", "SELECT n FROM t").await.unwrap(), "7");
    let dir = server.dir.clone();
    drop(server);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_server_that_was_killed_has_what_was_committed() {
    let home = tempfile::tempdir().unwrap();
    open(home.path());
    let mut server = Postgres::create(&home.path().join("a")).await.unwrap();
    server.listen(&[]).await.unwrap();
    let (port, url) = (server.port(), server.url("postgres"));
    server
        .execute("postgres", "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)")
        .await
        .unwrap();
    server.kill();
    server.listen(&[]).await.unwrap();
    assert_eq!((server.port(), server.url("postgres")), (port, url));
    assert_eq!(server.execute("postgres", "SELECT n FROM t").await.unwrap(), "7");
}

#[tokio::test]
async fn a_standby_has_what_its_primary_has_and_takes_its_place() {
    let mut primary = Postgres::temporary().await.unwrap();
    primary.listen(&[]).await.unwrap();
    let mut standby = primary.temporary_standby().await.unwrap();
    standby.listen(&[]).await.unwrap();
    primary.execute("postgres", "CREATE TABLE t (n BIGINT)").await.unwrap();
    let end = Instant::now() + READY_TIMEOUT;
    while standby.execute("postgres", "SELECT n FROM t").await.is_err() {
        assert!(Instant::now() < end, "it does not follow");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(standby.execute("postgres", "INSERT INTO t VALUES (1)").await.is_err());
    primary.kill();
    standby.promote().await.unwrap();
    standby.execute("postgres", "INSERT INTO t VALUES (1)").await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let mut server = Postgres::temporary().await.unwrap();
    let refused = server.start(&[("shared_buffers", "nonsense")]).await.unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
}

/// Lets the user of the servers through a folder.
fn open(folder: &Path) {
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(folder, mode).unwrap();
}
