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

pub(crate) mod backup;
pub(crate) mod changes;
mod claim;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod nodes;
mod place;
pub(crate) mod prune;
pub(crate) mod read;
mod statement;

use std::{
    io,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use sqlx::{Any, AnyPool, Transaction};
use wcdn_daemon::secret::SecretError;
use wcdn_proto::Position;

pub(crate) use self::{
    claim::{Claim, create_folder},
    place::Place,
};

/// A transaction on either database.
pub(crate) type Tx = Transaction<'static, Any>;

/// Rows of one statement; SQLite takes 32,766 values, PostgreSQL 65,535.
const ROWS: usize = 1_000;

/// An open store. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    place: Place,
    writer: AnyPool,
    readers: AnyPool,
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
    /// It took too long.
    #[error("the store did not answer in time")]
    Overdue,
}

impl Store {
    /// Connects to a store, or creates it, and brings its tables up to date.
    pub(crate) async fn open(place: &Place) -> Result<Self, StoreError> {
        let pools = place.open().await?;
        let store = Self { place: place.clone(), writer: pools.writer, readers: pools.readers };
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

    /// Begins a transaction that writes anything but the log.
    async fn write(&self) -> Result<Tx, sqlx::Error> {
        self.writer
            .begin_with(match self.place {
                Place::File(_) => "BEGIN IMMEDIATE",
                Place::Server(_) => "BEGIN",
            })
            .await
    }

    /// Begins a transaction that writes the log; until it ends nobody else does. Says where the log
    /// ends.
    async fn write_log(&self) -> Result<(Tx, Position), StoreError> {
        let mut tx = self.write().await?;
        // A lock on the row, in words that both know.
        let (epoch, seq): (i64, i64) =
            sqlx::query_as("UPDATE head SET seq = seq WHERE one = 1 RETURNING epoch, seq")
                .fetch_one(&mut *tx)
                .await?;
        Ok((tx, Position { epoch: number(epoch), seq: number(seq) }))
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

    /// Ends every connection; what was committed is there.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
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
