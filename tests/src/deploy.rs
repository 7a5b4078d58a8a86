//! What lies in the folder `deploy`, as the programs that use it read it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    program::program,
    tools::{script, tool},
};

/// Variables by their names.
pub type Variables = BTreeMap<String, String>;

/// A copy of the folder, with secrets of its own.
#[derive(Debug)]
pub struct Deployment {
    folder: TempDir,
}

/// This file of the folder.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// What a linter of Dockerfiles finds wrong with this one; nothing if all is well.
///
/// # Panics
/// When it is not installed.
pub fn hadolint(dockerfile: &Path) -> String {
    let mut linter = Command::new(tool("hadolint/bin/hadolint"));
    told(linter.arg(dockerfile).output().expect("it runs"))
}

/// What a linter of compose files finds wrong with this one, by the schema of the specification and
/// by rules; nothing if all is well.
///
/// # Panics
/// When it is not installed.
pub fn dclint(compose: &Path) -> String {
    let mut linter = Command::new(tool("compose/node_modules/.bin/dclint"));
    linter.arg("--config").arg(script("compose/dclint.yaml")).arg(compose);
    told(linter.output().expect("node runs it"))
}

/// What Docker itself says of a compose file: nothing if all is well, nor where it is not installed.
///
/// # Panics
/// Never.
pub fn docker(compose: &Path) -> Option<String> {
    let docker = |words: &[&str]| Command::new("docker").arg("compose").args(words).output();
    let is_here = docker(&["version"]).is_ok_and(|output| output.status.success());
    let compose = compose.to_str().expect("text");
    is_here.then(|| told(docker(&["--file", compose, "config", "--quiet"]).expect("it runs")))
}

/// What a command says if it fails.
pub fn told(output: Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    match output.status.success() {
        true => String::new(),
        false => format!("{}: {said}", output.status),
    }
}

impl Deployment {
    /// Makes one, and what it needs, as an operator would.
    ///
    /// # Panics
    /// When that fails.
    pub fn make() -> Self {
        let copy = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let from = file("");
        for name in ["compose.yaml", "keys", "config", "nodes"] {
            let mut command = Command::new("cp");
            let command = command.arg("-R").arg(from.join(name)).arg(copy.path(""));
            assert_eq!(told(command.output().expect("cp runs")), "");
        }
        copy.keys();
        copy
    }

    /// This file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes its secrets, where there are none.
    ///
    /// # Panics
    /// When that fails.
    pub fn keys(&self) {
        let mut keys = Command::new(self.path("keys"));
        let output = keys.arg(program("wcdn-control-plane")).output().expect("bash runs it");
        assert_eq!(told(output), "");
    }

    /// What `.env` says.
    ///
    /// # Panics
    /// When there is none.
    pub fn variables(&self) -> Variables {
        variables(&self.path(".env"))
    }

    /// What the compose file says, with variables in their places.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn compose(&self) -> Value {
        let mut node = Command::new("node");
        node.arg(script("compose/read.cjs")).arg(self.path("compose.yaml"));
        node.env("NODE_PATH", tool("compose/node_modules")).envs(self.variables());
        let output = node.output().expect("node runs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("it says JSON")
    }
}

/// What a file of variables says, as compose reads it.
///
/// # Panics
/// When there is none, or a line is none.
pub fn variables(file: &Path) -> Variables {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no variable: {line}"));
        (name.to_owned(), value.to_owned())
    };
    lines.map(pair).collect()
}
