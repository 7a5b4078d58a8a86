//! A `redis-server` of our own, started and stopped with the system.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep},
};

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    address: RedisAddress,
    log: PathBuf,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// On 127.0.0.1.
    Port(u16),
    /// On a socket in the file system: no port can be taken by somebody else.
    Socket(PathBuf),
}

/// How long a server may take to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether there is a `redis-server` to start.
pub fn is_installed() -> bool {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

impl RedisServer {
    /// Starts a server in `dir`, as a cache: nothing is kept on disk, and what is least used goes
    /// when `maxmemory` is reached. `options` come after ours, so they win.
    ///
    /// # Errors
    /// When it does not start; what it said is in the error.
    pub async fn start(
        address: RedisAddress,
        dir: &Path,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        if let RedisAddress::Port(port) = address {
            // Another server there would answer in the place of ours.
            std::net::TcpListener::bind(("127.0.0.1", port))
                .with_context(|| format!("port {port} is taken; is another redis-server there?"))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = dir.join("redis.log");
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--maxmemory-policy", "allkeys-lfu"]);
        command.args(["--maxmemory", "256mb", "--loglevel", "warning", "--dir"]).arg(dir);
        command.arg("--logfile").arg(&log);
        match &address {
            RedisAddress::Port(port) => {
                command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            }
            RedisAddress::Socket(path) => {
                command.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]).arg(path);
            }
        }
        command.args(options).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        // Ctrl-C in a terminal reaches every process of its group; this one is stopped by us, last.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("cannot start redis-server; is it installed?")?;
        let mut server = Self { child, address, log };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        while !self.accepts().await {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("redis-server ended ({status}): {}", said.trim());
            }
            if Instant::now() > end {
                bail!("redis-server did not answer within {READY_TIMEOUT:?}");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn accepts(&self) -> bool {
        match &self.address {
            RedisAddress::Port(port) => TcpStream::connect(("127.0.0.1", *port)).await.is_ok(),
            RedisAddress::Socket(path) => UnixStream::connect(path).await.is_ok(),
        }
    }

    /// What an edge is told to connect to.
    pub fn url(&self) -> String {
        match &self.address {
            RedisAddress::Port(port) => format!("redis://127.0.0.1:{port}"),
            RedisAddress::Socket(path) => format!("redis+unix://{}", path.display()),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It keeps nothing, so nothing is lost by ending it at once; one that was stopped with
        // SIGSTOP ends too.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::debug!(%error, "redis-server had ended already");
        }
    }
}

/// Writes a new cluster key to `path`, for nobody else to read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_cluster_key(path: &Path) -> anyhow::Result<()> {
    let key: [u8; 32] = rand::random();
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(digits.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
