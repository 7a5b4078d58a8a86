//! Where a store is, and how it is connected to.

mod server;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, Connection as _, Executor as _, SqlSafeStr as _,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{Migration, MigrationType, Migrator},
};
use wcdn_daemon::secret::Secret;

pub(crate) use self::server::Server;
use super::{Claim, StoreError, claim::create_folder};
use crate::config;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What the migrations and statements need of PostgreSQL so that they are the same for both: a type, and
/// the function that SQLite has for the time, by the server's clock.
const PRELUDE: &str = "CREATE DOMAIN blob AS bytea; \
    CREATE FUNCTION unixepoch(TEXT) RETURNS DOUBLE PRECISION VOLATILE LANGUAGE sql \
    AS 'SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)'";

/// How long a caller waits for a connection to a file.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a transaction with a file may take; a disk that hangs is not helped by giving up early.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that read a file.
const READERS: u32 = 4;

/// What was acknowledged survives a loss of power; readers do not wait for the writer.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA busy_timeout = 5000";

/// Where a store is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(Arc<Server>),
}

/// Connections that write, and connections that read.
pub(super) struct Pools {
    pub(super) writer: AnyPool,
    pub(super) readers: AnyPool,
}

impl Place {
    /// Where the configuration says.
    ///
    /// # Errors
    /// If the file with the password cannot be read.
    pub(crate) fn of(config: &config::Store) -> Result<Self, StoreError> {
        let Some(url) = config.url.clone() else { return Ok(Self::File(config.path.clone())) };
        let password = config.password_file.as_deref().map(Secret::read).transpose()?;
        Ok(Self::Server(Arc::new(Server::new(config, url, password))))
    }

    /// The right to serve from it, where only one process may.
    pub(crate) fn claim(&self) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::File(path) => Claim::take(path).map(Some),
            Self::Server(_) => Ok(None),
        }
    }

    /// Whether others may serve from it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// How long a transaction may take, until what became of it is not known.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::File(_) => PATIENCE,
            Self::Server(server) => server.patience(),
        }
    }

    /// Its file.
    ///
    /// # Errors
    /// If it has none, since there are other programs for that.
    pub(crate) fn file(&self) -> Result<&Path, StoreError> {
        match self {
            Self::File(path) => Ok(path),
            Self::Server(_) => Err(StoreError::NoFile { place: self.to_string() }),
        }
    }

    /// Connects, and brings the tables up to date.
    pub(super) async fn open(&self) -> Result<Pools, StoreError> {
        sqlx::any::install_default_drivers();
        let opened = async {
            match self {
                Self::File(path) => {
                    let pools = open_file(path).await?;
                    Ok((self.migrate(&mut *pools.writer.acquire().await?).await, pools))
                }
                Self::Server(server) => {
                    let mut connection = server.seek().await?;
                    let migrated = self.migrate(&mut connection).await;
                    connection.close().await?;
                    Ok((migrated, server.pools()?))
                }
            }
        };
        let (migrated, pools) =
            opened.await.map_err(|cause| StoreError::Open { place: self.to_string(), cause })?;
        migrated.map(|()| pools)
    }

    async fn migrate(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let kind = MigrationType::Simple;
        let first = Migration::new(0, "postgres".into(), kind, PRELUDE.into_sql_str(), false);
        let first = self.is_shared().then_some(first);
        let all = first.into_iter().chain(MIGRATIONS.iter().cloned()).collect();
        let mut all = Migrator::with_migrations(all);
        // A later version may have added to the tables what this one does not need.
        all.set_ignore_missing(true);
        let failed = |cause| StoreError::Migrate { place: self.to_string(), cause };
        all.run_direct(None, connection, false).await.map_err(failed)
    }
}

async fn open_file(path: &Path) -> Result<Pools, sqlx::Error> {
    create_folder(path).map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
    let pool = |most| AnyPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE_TIMEOUT);
    let writer = pool(1).after_connect(|connection, _| {
        Box::pin(async move { connection.execute(SQLITE).await.map(drop) })
    });
    let writer = writer.connect_with(file_options(path, "rwc")?).await?;
    let readers = pool(READERS).connect_lazy_with(file_options(path, "ro")?);
    Ok(Pools { writer, readers })
}

/// A path has characters that mean something in URLs, and dots that they would resolve.
fn file_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    let encoded = config::url_encode(path.as_os_str().as_encoded_bytes());
    format!("sqlite:{encoded}?mode={mode}").parse()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}
