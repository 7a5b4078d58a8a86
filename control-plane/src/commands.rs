//! What is done with a store besides serving it.

use std::path::{Path, PathBuf};

use crate::{
    api_key::ApiKey,
    store::{Store, StoreError, backup as copies},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// There is a key of this name.
    #[error("there is a key {name:?} already; choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// It is no name.
    #[error("{name:?} is no name for a key: use 1 to 100 visible characters")]
    Name {
        /// The name.
        name: String,
    },
}

/// Makes an API key; a control plane that runs on the same store takes it at once.
///
/// # Errors
/// [`CommandError`].
pub async fn create_key(store: &Path, name: &str) -> Result<ApiKey, CommandError> {
    let count = name.chars().count();
    if !(1..=100).contains(&count) || name.trim() != name || name.contains(char::is_control) {
        return Err(CommandError::Name { name: name.chars().take(100).collect() });
    }
    let store = Store::open(store).await?;
    let key = ApiKey::generate();
    let added = store.add_key(name, &key).await;
    store.close().await;
    match added? {
        true => Ok(key),
        false => Err(CommandError::NameTaken { name: name.to_owned() }),
    }
}

/// Copies a store to a file, also while a control plane runs on it.
///
/// # Errors
/// [`CommandError`].
pub async fn backup(store: &Path, to: &Path) -> Result<(), CommandError> {
    Ok(copies::backup(store, to).await?)
}

/// Replaces a store that is not in use by a copy, under a new epoch. Returns where the replaced one is.
///
/// # Errors
/// [`CommandError`].
pub async fn restore(from: &Path, store: &Path) -> Result<Option<PathBuf>, CommandError> {
    Ok(copies::restore(from, store).await?)
}
