//! A store in a file is served by one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::StoreError;

/// The right to serve from a file: no other process has it at the same time.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "held until it is dropped")] File);

impl Claim {
    /// Takes the right to serve from a file.
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
