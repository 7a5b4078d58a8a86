//! The lab of `deploy/lab`: the system as processes in network namespaces, whose regions are far from
//! each other and can be cut off.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use wcdn_proto::BlobId;

use crate::{client::Client, operator::Operator, program::program};

/// A running lab; it is stopped when this is dropped.
#[derive(Debug)]
pub struct Lab {
    home: TempDir,
    /// How it was when it came up.
    began: Value,
}

/// The exit code of a lab where the kernel has none for us.
const IMPOSSIBLE: i32 = 3;

/// Why there can be no lab on this machine, if so: its kernel, or a rule of whoever runs it.
///
/// # Panics
/// When that cannot be told.
pub fn impossible() -> Option<String> {
    let output = lab(Path::new("/nowhere"), &["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => None,
        Some(IMPOSSIBLE) => Some(told),
        other => panic!("{other:?}: {told}"),
    }
}

impl Lab {
    /// Starts one on free ports, all of whose programs are ready then.
    ///
    /// # Panics
    /// When it does not start.
    pub fn up(options: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut lab = Self { home, began: Value::Null };
        lab.up_again(options);
        lab
    }

    /// Starts it with what it kept, once it has ended.
    ///
    /// # Panics
    /// When it does not start.
    pub fn up_again(&mut self, options: &[&str]) {
        let programs = program("wcdn-node");
        let programs = programs.parent().expect("it lies in a folder").to_str().expect("text");
        let up = ["up", "--any-ports", "--programs", programs];
        self.run(&[&up, options].concat());
        self.began = self.status();
    }

    /// A word to the lab, and what it said.
    ///
    /// # Panics
    /// When it refuses.
    pub fn run(&self, words: &[&str]) -> String {
        let output = lab(self.home.path(), words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lab {words:?}: {told}\n{}", self.logs());
        String::from_utf8(output.stdout).expect("it says text")
    }

    /// How everything is.
    ///
    /// # Panics
    /// When it does not run.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"])).expect("its status is JSON")
    }

    /// The processes of all programs that run, and of the lab itself.
    ///
    /// # Panics
    /// When it does not run.
    pub fn processes(&self) -> Vec<u32> {
        let status = self.status();
        let machines = status["machines"].as_object().expect("machines have names").values();
        let processes = machines.chain([&status]).filter_map(|one| one["pid"].as_u64());
        processes.map(|pid| u32::try_from(pid).expect("processes have small numbers")).collect()
    }

    /// Where a port of a machine can be reached from here.
    ///
    /// # Panics
    /// When there is none.
    pub fn door(&self, machine: &str, door: &str) -> SocketAddr {
        let address = self.began["machines"][machine]["doors"][door].as_str();
        let address = address.unwrap_or_else(|| panic!("{machine} has no door {door}"));
        address.parse().expect("an address")
    }

    /// An operator, at the door of a control plane.
    ///
    /// # Panics
    /// When the lab has no key.
    pub fn operator(&self, control_plane: &str) -> Operator {
        let key = std::fs::read_to_string(self.home.path().join("secrets/api.key"));
        Operator::new(self.door(control_plane, "grpc"), key.expect("a key").trim())
    }

    /// Stores a blob through the publisher.
    ///
    /// # Panics
    /// When the publisher refuses.
    pub async fn store(&self, body: bytes::Bytes) -> BlobId {
        let url = format!("http://{}/v1/blobs", self.door("walrus", "publisher"));
        let reply = Client::default().request(Method::PUT, &url).body(body).send().await;
        let id = reply.json()["newlyCreated"]["blobObject"]["blobId"].clone();
        id.as_str().expect("it is new").parse().expect("a blob id")
    }

    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.home.path().join("logs")).into_iter().flatten();
        let files = files.flatten().map(|file| file.path());
        let last = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(5).collect();
            format!("{}: {lines:#?}\n", file.display())
        };
        files.map(last).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = lab(self.home.path(), &["down"]);
        if !output.status.success() && !std::thread::panicking() {
            panic!("it does not stop: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn lab(home: &Path, words: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/lab");
    let mut command = Command::new(program);
    command.arg("--home").arg(home).args(words).output().expect("python3 runs it")
}
