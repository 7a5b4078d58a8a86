//! Copies of a store, and stores made of copies.

use std::path::{Path, PathBuf};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Claim, Place, Store, StoreError, create_folder};

/// Writes a copy of a store that may be in use to a file that does not exist.
pub(crate) async fn backup(store: &Path, to: &Path) -> Result<(), StoreError> {
    if !store.exists() {
        return Err(missing(store));
    }
    create_folder(to)?;
    copy(store, to).await
}

/// Replaces a store that is not in use by a copy, under a higher epoch than either has. What was there
/// is kept beside it, under a name that is returned. It may be damaged, which is why one restores: then
/// epochs are told apart by the clock alone.
pub(crate) async fn restore(from: &Path, store: &Path) -> Result<Option<PathBuf>, StoreError> {
    if !from.exists() {
        return Err(missing(from));
    }
    let _claim = Claim::take(store)?;
    let is_present = store.exists();
    let least = if is_present { next_epoch(store).await } else { 0 };
    let fresh = beside(store, ".restoring");
    remove(&fresh)?;
    copy(from, &fresh).await?;
    let restored = Store::open(&Place::File(fresh.clone())).await?;
    restored.raise_epoch(least).await?;
    restored.close().await;
    let replaced = is_present.then(|| beside(store, ".replaced"));
    if let Some(replaced) = &replaced {
        remove(replaced)?;
        rename(store, replaced)?;
    }
    rename(&fresh, store)?;
    sync_folder(store)?;
    Ok(replaced)
}

/// Names are on the disk only once their folder is.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| StoreError::File { path: folder.to_owned(), cause })
}

/// A higher epoch than that of a store, as far as it can be read.
async fn next_epoch(store: &Path) -> u64 {
    match epoch(store).await {
        Ok(epoch) => epoch.saturating_add(1),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store that is replaced cannot be read; the clock must not have been set back"
            );
            0
        }
    }
}

/// A copy of the whole, consistent whoever writes meanwhile.
async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    if to.exists() {
        return Err(StoreError::File { path: to.to_owned(), cause: exists });
    }
    let options = SqliteConnectOptions::new().filename(from);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let done = sqlx::query("VACUUM INTO $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await;
    connection.close().await?;
    done?;
    // The copy is there for the day that the machine is not: it must be on the disk.
    let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|cause| StoreError::File { path: to.to_owned(), cause })?;
    sync_folder(to)
}

async fn epoch(path: &Path) -> Result<u64, StoreError> {
    let store = Store::open(&Place::File(path.to_owned())).await?;
    let head = store.head().await?;
    // The last connection to close folds the write-ahead log into the file.
    store.close().await;
    Ok(head.epoch)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a store, if it is there, with what SQLite keeps beside it.
fn remove(path: &Path) -> Result<(), StoreError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(&file) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { path: file, cause });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Renames a store with what SQLite keeps beside it.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    for suffix in ["-wal", "-shm", ""] {
        let file = beside(from, suffix);
        if file.exists() {
            let renamed = std::fs::rename(&file, beside(to, suffix));
            renamed.map_err(|cause| StoreError::File { path: file, cause })?;
        }
    }
    Ok(())
}

fn missing(path: &Path) -> StoreError {
    let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
    StoreError::File { path: path.to_owned(), cause }
}
