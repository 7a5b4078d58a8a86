//! Where PostgreSQL is installed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where Debian keeps each version; these programs are not in PATH there.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Whether there is a PostgreSQL to start.
pub fn is_installed() -> bool {
    folder().is_ok()
}

/// The folder of the latest version's programs.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|it| Some((it.file_name().to_str()?.parse().ok()?, it.path().join("bin"))))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path);
    let found = versions.into_iter().rev().map(|(_, bin)| bin).chain(others).find(|bin| has(bin));
    found.context(
        "PostgreSQL is not installed; on Debian: sudo apt-get install --no-install-recommends \
         postgresql",
    )
}

fn has(bin: &Path) -> bool {
    ["postgres", "initdb", "psql", "pg_basebackup"].iter().all(|name| bin.join(name).is_file())
}
