//! Buf, a linter of `.proto` files.

use std::{path::Path, process::Command};

use crate::tools::tool;

/// What it finds wrong in the folder with the `buf.yaml`; nothing if all is well.
///
/// # Panics
/// When it is not installed or does not run.
pub fn lint(folder: &Path) -> String {
    let mut buf = Command::new(tool("buf/node_modules/.bin/buf"));
    let output = buf.arg("lint").current_dir(folder).output().expect("node runs it");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let found = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.success(), found.is_empty(), "it failed: {found}");
    found
}
