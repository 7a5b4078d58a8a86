//! Who takes part, and how each is started.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    body::Body,
    process::{Process, free_port, program, sibling, wait_until_it_listens},
};

/// A cache, or what stands in for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ValueEnum)]
pub(crate) enum Target {
    Edge,
    Nginx,
    Varnish,
    Haproxy,
    /// HAProxy with buffers of 64 KiB: slower for small bodies, faster for large ones.
    Haproxy64k,
    /// A server that only sends: no cache can be faster in the same language.
    Ceiling,
}

/// A target that runs, and stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    port: u16,
    target: Target,
    _home: TempDir,
}

impl Target {
    pub(crate) const ALL: [Self; 6] =
        [Self::Edge, Self::Nginx, Self::Varnish, Self::Haproxy, Self::Haproxy64k, Self::Ceiling];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Edge => "wcdn edge",
            Self::Nginx => "nginx",
            Self::Varnish => "varnish",
            Self::Haproxy => "haproxy",
            Self::Haproxy64k => "haproxy 64k",
            Self::Ceiling => "bare hyper",
        }
    }

    /// Whether it is another cache, to be compared with.
    pub(crate) const fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::Varnish | Self::Haproxy | Self::Haproxy64k)
    }

    /// Where it has the body.
    pub(crate) fn path(self, body: &Body) -> String {
        match self {
            Self::Edge => format!("/cdn/{}", body.id),
            Self::Ceiling => format!("/{}", body.bytes.len()),
            _ => format!("/v1/blobs/{}", body.id),
        }
    }

    /// Starts it on processor 0 with one worker, before the origin at `origin`.
    pub(crate) fn start(self, origin: u16, sizes: &[usize]) -> anyhow::Result<Running> {
        // Caches that keep files keep them in memory here, as they would have them cached.
        let shm = Path::new("/dev/shm");
        let home = if shm.is_dir() { tempfile::tempdir_in(shm)? } else { tempfile::tempdir()? };
        let (port, admin) = (free_port()?, free_port()?);
        let file = |name: &str, text: String| -> anyhow::Result<PathBuf> {
            let path = home.path().join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        match self {
            Self::Edge => {
                let config = file("edge.toml", edge(port, admin, origin))?;
                command.arg(sibling("wcdn-node")?).args(["--threads", "1", "--log", "warn"]);
                command.arg("--config").arg(config)
            }
            Self::Nginx => {
                let config = file("nginx.conf", nginx(home.path(), port, origin))?;
                command.arg(program("nginx")?).arg("-p").arg(home.path()).arg("-c").arg(config)
            }
            Self::Varnish => {
                let config = file("varnish.vcl", varnish(origin))?;
                command.arg(program("varnishd")?).args(["-F", "-j", "none", "-s", "malloc,1g"]);
                command.args(["-p", "thread_pools=1", "-p", "thread_pool_min=100"]);
                command.arg("-n").arg(home.path()).arg("-a").arg(format!("127.0.0.1:{port}"));
                command.arg("-f").arg(config)
            }
            Self::Haproxy | Self::Haproxy64k => {
                let buffer = if self == Self::Haproxy { 16_384 } else { 65_536 };
                let config = file("haproxy.cfg", haproxy(port, origin, buffer))?;
                command.arg(program("haproxy")?).args(["-db", "-f"]).arg(config)
            }
            Self::Ceiling => {
                command.arg(std::env::current_exe()?).arg("ceiling").arg(port.to_string());
                command.args(sizes.iter().map(usize::to_string))
            }
        };
        let process = Process::start(&mut command)?;
        wait_until_it_listens(port, self.name())?;
        Ok(Running { process, port, target: self, _home: home })
    }

    /// What version it is, as it says.
    pub(crate) fn version(self) -> String {
        let (name, flag) = match self {
            Self::Edge => return env!("CARGO_PKG_VERSION").to_owned(),
            Self::Ceiling => return "hyper 1".to_owned(),
            Self::Nginx => ("nginx", "-v"),
            Self::Varnish => ("varnishd", "-V"),
            Self::Haproxy | Self::Haproxy64k => ("haproxy", "-v"),
        };
        let output = program(name).ok().and_then(|path| Command::new(path).arg(flag).output().ok());
        let Some(output) = output else { return "missing".to_owned() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let is_version = |word: &&str| word.contains('.') && word.contains(char::is_numeric);
        let word = text.split_whitespace().find(is_version).unwrap_or("unknown");
        let word = word.trim_start_matches(|c: char| !c.is_numeric());
        word.split('-').next().unwrap_or(word).to_owned()
    }
}

impl Running {
    /// The process whose time counts, with its children.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn url(&self, body: &Body) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.target.path(body))
    }

    /// Fetches the body twice and sees that it is right: from here on it is cached.
    pub(crate) fn warm(&self, body: &Body) -> anyhow::Result<()> {
        for _ in 0..2 {
            let got = get(self.port, &self.target.path(body))?;
            ensure!(got == body.bytes, "{} serves something else", self.target.name());
        }
        Ok(())
    }
}

/// The origin, on the client's processor.
pub(crate) fn start_origin(sizes: &[usize]) -> anyhow::Result<Running> {
    let port = free_port()?;
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(std::env::current_exe()?).arg("origin").arg(port.to_string());
    command.args(sizes.iter().map(usize::to_string));
    let process = Process::start(&mut command)?;
    wait_until_it_listens(port, "the origin")?;
    Ok(Running { process, port, target: Target::Ceiling, _home: tempfile::tempdir()? })
}

impl Running {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How often the origin was asked.
    pub(crate) fn fetches(&self) -> anyhow::Result<u64> {
        Ok(std::str::from_utf8(&get(self.port, "/_stats")?)?.parse()?)
    }
}

/// A request without a library, so that nothing is hidden: status 200, and the bytes.
fn get(port: u16, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..end]));
    Ok(answer.split_off(end + 4))
}

fn edge(port: u16, admin: u16, origin: u16) -> String {
    format!(
        "[listen]\nedge = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\n\
         [[origin]]\nname = \"bench\"\nurl = \"http://127.0.0.1:{origin}\"\n"
    )
}

fn nginx(home: &Path, port: u16, origin: u16) -> String {
    format!(
        "user root; worker_processes 1; daemon off; pid {home}/pid; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off; sendfile on; tcp_nopush off; tcp_nodelay on;\n\
         keepalive_requests 1000000000; keepalive_timeout 300s; open_file_cache max=12000 inactive=1h;\n\
         proxy_cache_path {home}/cache keys_zone=z:32m max_size=1g inactive=1h use_temp_path=off;\n\
         upstream o {{ server 127.0.0.1:{origin}; keepalive 16; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_cache z; proxy_cache_valid 200 1h; proxy_cache_lock on; }} }}\n}}\n",
        home = home.display()
    )
}

fn varnish(origin: u16) -> String {
    format!(
        "vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{origin}\"; }}\n\
         sub vcl_backend_response {{ set beresp.ttl = 1h; }}\n"
    )
}

fn haproxy(port: u16, origin: u16, buffer: u32) -> String {
    format!(
        "global\n maxconn 4096\n nbthread 1\n tune.bufsize {buffer}\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 300s\n timeout server 60s\n\
         cache c\n total-max-size 512\n max-object-size 20000000\n max-age 3600\n\
         frontend f\n bind 127.0.0.1:{port} backlog 4096\n http-request cache-use c\n\
         http-response cache-store c\n default_backend b\n\
         backend b\n server s 127.0.0.1:{origin}\n"
    )
}
