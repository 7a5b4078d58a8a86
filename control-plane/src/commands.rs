//! What is done with a store besides serving it.

use std::path::{Path, PathBuf};

use wcdn_proto::{Position, Scopes};

use crate::{
    api_key::ApiKey,
    auth::Author,
    config,
    store::{Place, Store, StoreError, backup as copies},
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
pub async fn create_key(
    store: &config::Store,
    name: &str,
    scopes: Scopes,
) -> Result<ApiKey, CommandError> {
    let count = name.chars().count();
    if !(1..=100).contains(&count) || name.trim() != name || name.contains(char::is_control) {
        return Err(CommandError::Name { name: name.chars().take(100).collect() });
    }
    let store = Store::open(&Place::of(store)?).await?;
    let key = ApiKey::generate();
    let added = store.add_key(name, &key, scopes, &Author::program("command line")).await;
    store.close().await;
    match added? {
        true => Ok(key),
        false => Err(CommandError::NameTaken { name: name.to_owned() }),
    }
}

/// Copies a store that is a file to another, also while a control plane runs on it.
///
/// # Errors
/// [`CommandError`].
pub async fn backup(store: &config::Store, to: &Path) -> Result<(), CommandError> {
    Ok(copies::backup(Place::of(store)?.file()?, to).await?)
}

/// Replaces a store that is a file and not in use by a copy, under a new epoch. Returns where the replaced one is.
///
/// # Errors
/// [`CommandError`].
pub async fn restore(from: &Path, store: &config::Store) -> Result<Option<PathBuf>, CommandError> {
    Ok(copies::restore(from, Place::of(store)?.file()?).await?)
}

/// Begins a new log in a store that is an older one, since it was copied back by other means than
/// [`restore`]. Returns where it begins.
///
/// # Errors
/// [`CommandError`].
pub async fn raise_epoch(store: &config::Store, least: u64) -> Result<Position, CommandError> {
    let place = Place::of(store)?;
    let _claim = place.claim()?;
    let store = Store::open(&place).await?;
    let raised = store.raise_epoch(least).await;
    store.close().await;
    Ok(raised?)
}
