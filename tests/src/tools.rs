//! Programs of others, which `make test` puts among what is built.

use std::path::{Path, PathBuf};

/// Where this file of `target/tools` is.
///
/// # Panics
/// When it is not installed.
pub(crate) fn tool(file: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a test is a program");
    let place = |folder: &Path| folder.join("tools").join(file);
    let found = program.ancestors().map(place).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("{file} is not installed; `make test` does it, or scripts/install test")
    })
}

/// Where this script of ours is.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name)
}
