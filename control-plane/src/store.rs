//! What the control plane never forgets: a SQLite file, or a PostgreSQL database that several control
//! planes share.
//!
//! One set of statements serves both, and so do the tests: `$1` placeholders (`statement` writes bare ones
//! for SQLite); BIGINT, TEXT and BLOB (a name for `bytea` that is given on PostgreSQL before the
//! migrations run) and no other types; upserts by `ON CONFLICT`; columns by name and never `*`, which a
//! later version may widen. Of SQLite one connection writes, in transactions that begin as writers (a
//! reader that becomes one fails at once if another wrote meanwhile); a few others read. Of PostgreSQL
//! several write, and whoever writes the log locks its head first, so that positions are in the order of
//! commits.

pub(crate) mod audit;
pub(crate) mod backup;
mod blocks;
pub(crate) mod changes;
mod claim;
pub(crate) mod follow;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod jobs;
pub(crate) mod keys;
mod listen;
pub(crate) mod log;
pub(crate) mod nodes;
pub(crate) mod pins;
mod place;
pub(crate) mod prune;
mod quota;
pub(crate) mod read;
mod statement;
mod told;

use std::{
    io,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::time::timeout;
use wcdn_daemon::secret::SecretError;
use wcdn_proto::Position;

use self::place::Pools;
pub(crate) use self::{
    claim::{Claim, create_folder},
    place::Place,
};

/// A transaction on either database.
pub(crate) type Tx = Transaction<'static, Any>;

/// Takes the lock of the log's head, and says where the log ends, the time by the database's clock, and
/// which history of the database the log belongs to, and which one this is.
const LOCK_FILE: &str = "UPDATE head SET seq = seq WHERE one = 1 RETURNING epoch, seq, \
    CAST(unixepoch('subsec') * 1000 AS BIGINT), COALESCE(lineage, ''), ''";
const LOCK_SERVER: &str = "UPDATE head SET seq = seq WHERE one = 1 RETURNING epoch, seq, \
    CAST(unixepoch('subsec') * 1000 AS BIGINT), COALESCE(lineage, ''), \
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' || \
    CAST(CAST(CAST('head' AS regclass) AS oid) AS TEXT) || ' ' || \
    (SELECT CAST(system_identifier AS TEXT) FROM pg_control_system())";

/// The same without the lock.
const LOOK_FILE: &str = "SELECT epoch, seq, CAST(unixepoch('subsec') * 1000 AS BIGINT), \
    COALESCE(lineage, ''), '' FROM head";
const LOOK_SERVER: &str = "SELECT epoch, seq, CAST(unixepoch('subsec') * 1000 AS BIGINT), \
    COALESCE(lineage, ''), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' || \
    CAST(CAST(CAST('head' AS regclass) AS oid) AS TEXT) || ' ' || \
    (SELECT CAST(system_identifier AS TEXT) FROM pg_control_system()) FROM head";

/// Rows of one statement; SQLite takes 32,766 values, PostgreSQL 65,535.
const ROWS: usize = 1_000;

/// An open store. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    place: Place,
    /// By which others know whose commit it was.
    teller: u64,
    writer: AnyPool,
    readers: AnyPool,
}

/// The end of the log, and what is known of it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    head: Position,
    /// By the database's clock: Unix time in milliseconds.
    now_ms: u64,
    /// The history of the database that the log belongs to; empty if it was never noted.
    lineage: String,
    /// The one that this is.
    present: String,
}

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says no.
    #[error("the store failed")]
    Database(#[from] sqlx::Error),
    /// It cannot be connected to.
    #[error("cannot open {place}; is it there, and may this user write to it?")]
    Open {
        /// The file, or the URL without its password.
        place: String,
        /// What the database said.
        #[source]
        cause: sqlx::Error,
    },
    /// The password cannot be read.
    #[error("cannot read the store's password")]
    Password(#[from] SecretError),
    /// It is of a later version, or damaged.
    #[error("{place} is no store that this version can use")]
    Migrate {
        /// The file, or the URL without its password.
        place: String,
        /// What is wrong.
        #[source]
        cause: sqlx::migrate::MigrateError,
    },
    /// Copies are made of files.
    #[error("{place} is no file; copy it with pg_dump (docs/runbooks/backup.md)")]
    NoFile {
        /// The URL without its password.
        place: String,
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
    #[error(
        "another process serves from {}; stop it first, or let both use PostgreSQL (store.url)",
        path.display()
    )]
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
    /// The database was brought back, or another server was promoted: it may lack what was acknowledged.
    #[error("the database is another one than before; a new log must begin")]
    Replaced,
    /// Another control plane has taken over what only one may do.
    #[error("another control plane does {job} by now")]
    Superseded {
        /// What.
        job: &'static str,
    },
    /// It took too long.
    #[error("the store did not answer in time")]
    Overdue,
}

impl Store {
    /// Connects to a store, or creates it, and brings its tables up to date.
    pub(crate) async fn open(place: &Place) -> Result<Self, StoreError> {
        let Pools { writer, readers } = place.open().await?;
        let store = Self { place: place.clone(), teller: rand::random(), writer, readers };
        store.begin_log().await?;
        Ok(store)
    }

    /// Gives a new store its epoch and its secrets, and one that was brought back a new epoch.
    async fn begin_log(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO head (one, epoch, seq) \
             VALUES (1, CAST(unixepoch('subsec') * 1000 AS BIGINT), 0) ON CONFLICT DO NOTHING",
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO checkpoint (one, seq, floor_seq) VALUES (1, 0, 0) ON CONFLICT DO NOTHING",
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO origin_notes (one, revision) VALUES (1, 0) ON CONFLICT DO NOTHING",
        )
        .execute(&mut *tx)
        .await?;
        keys::begin(&mut tx).await?;
        audit::begin(&mut tx).await?;
        hooks::begin(&mut tx).await?;
        tx.commit().await?;
        match self.write_log().await {
            Err(StoreError::Replaced) => {
                let head = self.raise_if_replaced(Position::ORIGIN).await?;
                tracing::warn!(epoch = head.epoch, "the store was brought back: a new log begins");
                Ok(())
            }
            Err(error) => Err(error),
            Ok((mut tx, end)) => {
                sqlx::query("UPDATE head SET lineage = $1")
                    .bind(end.present)
                    .execute(&mut *tx)
                    .await?;
                Ok(tx.commit().await?)
            }
        }
    }

    /// Begins a transaction that writes anything but the log.
    pub(crate) async fn write(&self) -> Result<Tx, sqlx::Error> {
        self.writer
            .begin_with(match self.place {
                Place::File(_) => "BEGIN IMMEDIATE",
                // Whatever the server's default is: transactions wait for each other, and go on.
                Place::Server(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            })
            .await
    }

    /// Begins a transaction that writes the log; until it ends nobody else does. Says where the log
    /// ends.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], if the log belongs to another history of the database.
    async fn write_log(&self) -> Result<(Tx, End), StoreError> {
        let (tx, end) = self.lock_log().await?;
        end.check()?;
        Ok((tx, end))
    }

    /// The same, whichever history this is.
    pub(crate) async fn lock_log(&self) -> Result<(Tx, End), StoreError> {
        let mut tx = self.write().await?;
        let lock = if self.place.is_shared() { LOCK_SERVER } else { LOCK_FILE };
        let end = sqlx::query_as(lock).fetch_one(&mut *tx).await?;
        Ok((tx, End::of(end)))
    }

    /// Where the log ends.
    async fn look_at_end(&self, connection: &mut AnyConnection) -> Result<End, StoreError> {
        let look = if self.place.is_shared() { LOOK_SERVER } else { LOOK_FILE };
        let end = End::of(sqlx::query_as(look).fetch_one(connection).await?);
        end.check()?;
        Ok(end)
    }

    /// Begins a transaction whose reads all see the store as it is at one moment.
    async fn read_at_once(&self) -> Result<Tx, sqlx::Error> {
        self.readers
            .begin_with(match self.place {
                Place::File(_) => "BEGIN",
                Place::Server(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            })
            .await
    }

    /// Whether others may write it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.place.is_shared()
    }

    /// Does this, unless it takes longer than a transaction may.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(self.place.patience(), work).await.unwrap_or(Err(StoreError::Overdue))
    }

    /// Looks for the primary, if it may be one of several servers.
    pub(crate) async fn look_for_primary(&self) {
        let Place::Server(server) = &self.place else { return };
        if let Err(error) = server.look([&self.writer, &self.readers]).await {
            tracing::warn!(store = %self.place, %error, "no server of the store can be written");
        }
    }

    /// Ends every connection; what was committed is there.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl End {
    fn of((epoch, seq, now_ms, lineage, present): (i64, i64, i64, String, String)) -> Self {
        let head = Position { epoch: number(epoch), seq: number(seq) };
        Self { head, now_ms: number(now_ms), lineage, present }
    }

    fn check(&self) -> Result<(), StoreError> {
        let is_same = self.lineage.is_empty() || self.lineage == self.present;
        if is_same { Ok(()) } else { Err(StoreError::Replaced) }
    }
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
pub(crate) mod stores;
#[cfg(test)]
mod tests;
