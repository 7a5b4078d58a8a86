//! Our programs as processes, which can be stopped and killed as the edges of one process cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::Value;
use wcdn_dev::Topology;
use wcdn_node::Config;
use wcdn_proto::Span;

use crate::{Fleet, client::Client, signal::Signal};

/// Where this program of ours is.
///
/// # Panics
/// When it is not built.
pub fn program(name: &str) -> PathBuf {
    wcdn_dev::process::find(name).expect("it is built")
}

/// The most memory that a process ever had. Bytes.
///
/// # Panics
/// When there is none, or the system does not say.
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map(|count: u64| count * 1024).expect("Linux says so")
}

/// A program that serves; it is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// What it said when it began to serve.
    pub began: Value,
}

impl Program {
    /// Starts it with a configuration, and waits until it says `serves`.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn start(name: &str, config: &Path, serves: &str) -> Self {
        let log = config.with_extension("log");
        let file = fs::File::create(&log).expect("a log");
        let mut command = Command::new(program(name));
        command.arg("--config").arg(config).args(["--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().expect("it can be started");
        let mut started = Self { child, began: Value::Null };
        crate::eventually("the program serves", || {
            let said = said(&log, serves);
            let ended = started.child.try_wait().expect("it can be asked");
            assert!(
                said.is_some() || ended.is_none(),
                "{}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            started.began = said.unwrap_or_default();
            let serves = !started.began.is_null();
            async move { serves }
        })
        .await;
        started
    }

    /// Stops it, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        signal.send(self.child.id());
    }

    /// Kills it; it has no time to do anything more.
    ///
    /// # Panics
    /// When it ended before by itself.
    pub fn kill(mut self) -> ExitStatus {
        let ended = self.child.try_wait().expect("it can be asked");
        assert_eq!(ended, None, "it ran until now");
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_err();
        let _reaped = self.child.wait().is_err();
    }
}

/// The line of a log in which it says so.
fn said(log: &Path, words: &str) -> Option<Value> {
    let text = fs::read_to_string(log).expect("its log can be read");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find(|line| line["message"] == words)
}

/// An edge in a process of its own.
#[derive(Debug)]
pub struct EdgeProcess {
    /// `http://…`, for viewers.
    pub url: String,
    /// `http://…`, for the operator.
    pub admin_url: String,
    config: PathBuf,
    program: Option<Program>,
}

impl EdgeProcess {
    /// Starts one that belongs to a system whose data lie in `data`.
    ///
    /// # Panics
    /// When it does not come up, or the system has no control plane.
    pub async fn of(
        fleet: &Fleet,
        data: &Path,
        name: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.node.id = name.parse().expect("a name");
        config.node.state_dir = Some(data.join("edges").join(name));
        config.limits.drain_delay = Span::secs(0);
        config.walrus.n_shards = Topology::for_tests().encoding.n_shards();
        config.origins = fleet.origins();
        config.cluster.key_file = Some(data.join("cluster.key"));
        fleet.cluster.desk().expect("a control plane").introduce(&mut config);
        change(&mut config);
        Self::start(config, data).await
    }

    /// Starts one with this configuration, but on free ports; its file and its log lie in `home`.
    /// It is ready when this returns.
    ///
    /// # Panics
    /// When it does not come up.
    async fn start(mut config: Config, home: &Path) -> Self {
        let any = ([127, 0, 0, 1], 0).into();
        (config.listen.edge, config.listen.admin) = (any, any);
        config.gossip.listen = config.control.is_given().then_some(any);
        let file = home.join(format!("{}.toml", config.node.id));
        let text = toml::to_string(&config).expect("a configuration can be written");
        fs::write(&file, text).expect("its file can be written");
        let (url, admin_url) = (String::new(), String::new());
        let mut edge = Self { url, admin_url, config: file, program: None };
        edge.start_again().await;
        edge
    }

    /// Starts it with what it kept on disk, on other ports; kills it before, if it runs.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_again(&mut self) {
        self.kill();
        let program = Program::start("wcdn-node", &self.config, "edge serves").await;
        let address = |key: &str| program.began[key].as_str().expect("an address").to_owned();
        self.url = format!("http://{}", address("edge"));
        self.admin_url = format!("http://{}", address("admin"));
        self.program = Some(program);
        let (client, url) = (Client::default(), format!("{}/readyz", self.admin_url));
        crate::eventually("the edge is ready", || async {
            client.get(&url).await.status.is_success()
        })
        .await;
    }

    /// Stops it, or lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.program.as_ref().expect("it runs").signal(signal);
    }

    /// The sum of all lines of a metric whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let page = Client::default().get(&format!("{}/metrics", self.admin_url)).await.body;
        crate::fleet::metric(&page, name, labels)
    }

    /// The most memory that it ever had. Bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.program.as_ref().expect("it runs").child.id())
    }

    /// Kills it, if it runs.
    pub fn kill(&mut self) {
        self.program.take().map(Program::kill);
    }
}
