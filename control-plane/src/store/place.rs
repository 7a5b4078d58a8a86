//! Where a store is, and how it is connected to.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AnyPool, Executor as _, SqlSafeStr as _,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{Migration, MigrationType, Migrator},
};
use wcdn_daemon::secret::Secret;

use super::{Claim, StoreError, claim::create_folder};
use crate::config;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What the migrations need of PostgreSQL so that they are the same for both.
const DOMAIN: &str = "CREATE DOMAIN blob AS bytea";

/// How long a caller waits for a connection to a file.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that read a file.
const READERS: u32 = 4;

/// What was acknowledged survives a loss of power; readers do not wait for the writer.
const SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA busy_timeout = 5000";

/// The same, whatever the server's default is; what is stricter stays.
const POSTGRES: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// Where a store is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(Arc<Server>),
}

/// A PostgreSQL database.
pub(crate) struct Server {
    url: config::StoreUrl,
    password: Option<Secret>,
    max_connections: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
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
        Ok(Self::Server(Arc::new(Server {
            url,
            password,
            max_connections: config.max_connections,
            acquire_timeout: config.acquire_timeout.duration(),
            statement_timeout: config.statement_timeout.duration(),
        })))
    }

    /// The right to serve from it, where only one process may.
    pub(crate) fn claim(&self) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::File(path) => Claim::take(path).map(Some),
            Self::Server(_) => Ok(None),
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
        let connecting = async {
            match self {
                Self::File(path) => open_file(path).await,
                Self::Server(server) => server.open().await,
            }
        };
        let pools = connecting.await.map_err(|error| match error {
            StoreError::Database(cause) => StoreError::Open { place: self.to_string(), cause },
            other => other,
        })?;
        let migrated = self.migrations().run(&pools.writer).await;
        migrated.map_err(|cause| StoreError::Migrate { place: self.to_string(), cause })?;
        Ok(pools)
    }

    fn migrations(&self) -> Migrator {
        let kind = MigrationType::Simple;
        let first = Migration::new(0, "blob".into(), kind, DOMAIN.into_sql_str(), false);
        let first = matches!(self, Self::Server(_)).then_some(first);
        let mut all = Migrator::with_migrations(
            first.into_iter().chain(MIGRATIONS.iter().cloned()).collect(),
        );
        // A later version may have added to the tables what this one does not need.
        all.set_ignore_missing(true);
        all
    }
}

async fn open_file(path: &Path) -> Result<Pools, StoreError> {
    create_folder(path)?;
    let pool = |most| AnyPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE_TIMEOUT);
    let writer = pool(1).after_connect(|connection, _| {
        Box::pin(async move { connection.execute(SQLITE).await.map(drop) })
    });
    let writer = writer.connect_with(file_options(path, "rwc")?).await?;
    let readers = pool(READERS).connect_lazy_with(file_options(path, "ro")?);
    Ok(Pools { writer, readers })
}

/// A path has characters that mean something in URLs, and dots that they would resolve.
fn file_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, StoreError> {
    let encoded = config::url_encode(path.as_os_str().as_encoded_bytes());
    Ok(format!("sqlite:{encoded}?mode={mode}").parse()?)
}

impl Server {
    async fn open(&self) -> Result<Pools, StoreError> {
        let writers = (self.max_connections / 4).max(2);
        let options = self.options()?;
        let pool = |most| {
            let pool = AnyPoolOptions::new().max_connections(most);
            pool.acquire_timeout(self.acquire_timeout).after_connect(|connection, _| {
                Box::pin(async move { connection.execute(POSTGRES).await.map(drop) })
            })
        };
        let writer = pool(writers).connect_with(options.clone()).await?;
        let readers = pool(self.max_connections - writers).connect_lazy_with(options);
        Ok(Pools { writer, readers })
    }

    /// Whoever holds the log's lock and hangs, or is cut off, is ended by the server, so that others
    /// can go on.
    fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        let ms = self.statement_timeout.as_millis().to_string();
        let settings = [
            ("statement_timeout", ms.clone()),
            ("lock_timeout", ms.clone()),
            ("idle_in_transaction_session_timeout", ms),
        ];
        let password = self.password.as_ref().map(Secret::expose);
        Ok(self.url.reveal(password, &settings).parse()?)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.url.fmt(f),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}
