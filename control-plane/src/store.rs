//! What the control plane never forgets: one SQLite file.
//!
//! SQL is written so that PostgreSQL takes it too: `$1` placeholders, BIGINT, TEXT, upserts by
//! `ON CONFLICT`. One connection writes, in transactions that begin as writers (a reader that becomes
//! one fails at once if another wrote meanwhile); a few others read.

pub(crate) mod backup;
pub(crate) mod changes;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod nodes;
pub(crate) mod prune;
pub(crate) mod read;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another process, such as one that makes a key.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a caller waits for one of the connections.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that read.
const READERS: u32 = 4;

/// An open store. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// The right to serve from a store: no other process has it at the same time.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "held until it is dropped")] File);

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says no.
    #[error("the store failed")]
    Database(#[from] sqlx::Error),
    /// The file is of a later version, or damaged.
    #[error("{} is no store that this version can use", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: sqlx::migrate::MigrateError,
    },
    /// The system says no.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Another process serves from it.
    #[error("another process serves from {}; stop it first", path.display())]
    Claimed {
        /// The store.
        path: PathBuf,
    },
    /// What is stored makes no sense.
    #[error("the store holds a damaged {what}")]
    Damaged {
        /// What is damaged.
        what: &'static str,
    },
    /// It took too long.
    #[error("the store did not answer in time")]
    Overdue,
}

impl Store {
    /// Opens the file, or creates it, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        create_folder(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a loss of power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool =
            |most| SqlitePoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE_TIMEOUT);
        let writer = pool(1).connect_with(options.clone()).await?;
        let failed = |cause| StoreError::Migrate { path: path.to_owned(), cause };
        MIGRATIONS.run(&writer).await.map_err(failed)?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await?;
        let store = Self { writer, readers };
        store.begin_log().await?;
        Ok(store)
    }

    /// Gives a new store its epoch and its secrets.
    async fn begin_log(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO head (one, epoch, seq) VALUES (1, $1, 0) ON CONFLICT DO NOTHING")
            .bind(sql(now_ms()))
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO checkpoint (one, seq, floor_seq) VALUES (1, 0, 0) ON CONFLICT DO NOTHING",
        )
        .execute(&mut *tx)
        .await?;
        keys::begin(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Begins a transaction that writes.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Ends every connection; what was committed is in the file.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Claim {
    /// Takes the right to serve from a store.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        create_folder(path)?;
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock);
        let failed = |cause| StoreError::File { path: lock.clone(), cause };
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Claimed { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}

/// Creates the folder of a file, closed to others, since keys lie there too.
pub(crate) fn create_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder else { return Ok(()) };
    let failed = |cause| StoreError::File { path: folder.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)
}

/// A number as SQL has it; what is out of range is more than anything stored.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was stored by [`sql`].
fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
