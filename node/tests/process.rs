//! The edge as a process: signals, and one version that takes over from another.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "helpers of tests are tests")]

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Two ports that nobody else gets while this lives, though nothing listens there yet.
///
/// Each is at an address of its own: sockets that share ports may be given the same free one.
struct Ports {
    held: [TcpSocket; 2],
}

impl Ports {
    /// Ports for the test of this number.
    fn new(test: u8) -> Self {
        let held = [1, 2].map(|port| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind((Ipv4Addr::new(127, 0, test, port), 0).into()).unwrap();
            socket
        });
        Self { held }
    }

    fn edge(&self) -> SocketAddr {
        self.held[0].local_addr().unwrap()
    }

    fn admin(&self) -> SocketAddr {
        self.held[1].local_addr().unwrap()
    }
}

/// A running edge, killed if the test ends before it.
struct Edge {
    child: Child,
    log: PathBuf,
}

impl Edge {
    fn start(config: &Path) -> Self {
        let log = config.with_extension("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wcdn-node"));
        let command = command.arg("--config").arg(config).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it has said something in its log.
    async fn says(&self, words: &str) {
        let said = || fs::read_to_string(&self.log).unwrap();
        eventually(words, || said().contains(words)).await;
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    async fn end(mut self) {
        eventually("it ends", || self.has_ended()).await;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_err();
        let _reaped = self.child.wait().is_err();
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn answers(address: SocketAddr, path: &str, status: &str) -> bool {
    get(address, path).is_ok_and(|answer| answer.starts_with(&format!("HTTP/1.1 {status}")))
}

fn write(home: &TempDir, ports: &Ports, node: &str, more: &str) -> PathBuf {
    let path = home.path().join(format!("{node}.toml"));
    let (edge, admin) = (ports.edge(), ports.admin());
    let text = format!(
        "[node]\nid = \"{node}\"\n\
         [listen]\nedge = \"{edge}\"\nadmin = \"{admin}\"\nreuse_port = true\n\
         [[origin]]\nname = \"nobody\"\nurl = \"http://127.0.0.1:9\"\n\
         [limits]\ndrain_delay = \"300ms\"\n{more}"
    );
    // In one step: a file that is half written reads as another one.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

#[tokio::test]
async fn a_hangup_reads_the_limits_again_and_a_bad_file_changes_nothing() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(1));
    let config = write(&home, &ports, "one", "");
    let edge = Edge::start(&config);
    eventually("it is ready", || answers(ports.admin(), "/readyz", "200")).await;
    write(&home, &ports, "one", "requests_per_second_per_client = 1\n");
    edge.signal(rustix::process::Signal::HUP);
    edge.says("configuration reloaded").await;
    eventually("requests are limited", || answers(ports.edge(), "/status", "429")).await;
    for (wrong, why) in [
        ("max_streams = 0", "limits.max_streams is 0; the least is 1"),
        ("max_streams = \"many\"", "invalid type: string"),
    ] {
        write(&home, &ports, "one", wrong);
        edge.signal(rustix::process::Signal::HUP);
        edge.says(why).await;
        eventually("requests are limited", || answers(ports.edge(), "/status", "429")).await;
    }
    edge.signal(rustix::process::Signal::TERM);
    edge.end().await;
}

#[tokio::test]
async fn a_probe_tells_whether_the_edge_that_runs_is_ready() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(6));
    let config = write(&home, &ports, "one", "");
    let probe = || {
        let mut probing = Command::new(env!("CARGO_BIN_EXE_wcdn-node"));
        probing.arg("--probe").arg("--config").arg(&config).output().unwrap()
    };
    let edge = Edge::start(&config);
    eventually("it is ready", || probe().status.success()).await;
    edge.signal(rustix::process::Signal::TERM);
    edge.end().await;
    let told = String::from_utf8(probe().stderr).unwrap();
    assert!(told.contains("nobody answers at") && probe().status.code() == Some(1), "{told}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_when_the_configuration_is_checked() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(5));
    let path = home.path().join("tls.crt");
    let pair = format!("[tls]\ncertificate = {path:?}\nkey = {path:?}\n");
    let config = write(&home, &ports, "one", &pair);
    for wrong in ["cannot read", "tls.crt"] {
        let mut checking = Command::new(env!("CARGO_BIN_EXE_wcdn-node"));
        let checked = checking.arg("--check-config").arg("--config").arg(&config).output().unwrap();
        let told = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(2), "{told}");
        assert!(told.contains("tls.certificate is of no use: ") && told.contains(wrong), "{told}");
        fs::write(&path, "no certificate").unwrap();
    }
}

#[tokio::test]
async fn a_hangup_takes_other_origins_at_once() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(3));
    let config = write(&home, &ports, "one", "");
    let edge = Edge::start(&config);
    let names = |name| get(ports.admin(), "/debug/origins").is_ok_and(|page| page.contains(name));
    eventually("the first one is known", || names("\"nobody\"")).await;
    let other = "[[origin]]\nname = \"somebody\"\nurl = \"http://127.0.0.1:7\"\n";
    for (origins, there, gone) in [
        (other, "\"somebody\"", "\"nobody\""),
        ("[walrus]\nnetwork = \"testnet\"\n", "testnet", "\"somebody\""),
    ] {
        let text = fs::read_to_string(&config).unwrap();
        let end = text.find("[limits]").unwrap();
        let begin = text.find("[[origin]]").or_else(|| text.find("[walrus]")).unwrap();
        let (new, text) = (config.with_extension("new"), [&text[..begin], origins, &text[end..]]);
        fs::write(&new, text.concat()).unwrap();
        fs::rename(new, &config).unwrap();
        edge.signal(rustix::process::Signal::HUP);
        eventually(there, || names(there) && !names(gone)).await;
    }
    edge.signal(rustix::process::Signal::TERM);
    edge.end().await;
}

#[tokio::test]
async fn probes_meet_only_the_new_process_while_the_old_one_drains() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(4));
    let config = write(&home, &ports, "old", "");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("300ms", "3s")).unwrap();
    let mut old = Edge::start(&config);
    eventually("the old one is ready", || answers(ports.admin(), "/readyz", "200")).await;
    let new = Edge::start(&write(&home, &ports, "new", ""));
    eventually("both answer", || {
        get(ports.admin(), "/metrics").is_ok_and(|answer| answer.contains("node=\"new\""))
    })
    .await;
    old.signal(rustix::process::Signal::TERM);
    let mut in_a_row = 0;
    eventually("all of many probes meet the new one", || {
        in_a_row = if answers(ports.admin(), "/readyz", "200") { in_a_row + 1 } else { 0 };
        in_a_row == 50
    })
    .await;
    assert!(!old.has_ended(), "it still drains");
    assert!(answers(ports.edge(), "/status", "200"));
    old.end().await;
    new.signal(rustix::process::Signal::TERM);
    new.end().await;
}

#[tokio::test]
async fn one_process_takes_over_from_another_while_viewers_go_on() {
    let (home, ports) = (tempfile::tempdir().unwrap(), Ports::new(2));
    let old = Edge::start(&write(&home, &ports, "old", ""));
    eventually("the old one is ready", || answers(ports.admin(), "/readyz", "200")).await;
    let new = Edge::start(&write(&home, &ports, "new", ""));
    eventually("both answer", || {
        get(ports.admin(), "/metrics").is_ok_and(|answer| answer.contains("node=\"new\""))
    })
    .await;
    old.signal(rustix::process::Signal::TERM);
    let (mut old, mut refused) = (old, 0);
    while !old.has_ended() {
        match get(ports.edge(), "/status") {
            Ok(answer) => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
            Err(_) => refused += 1,
        }
        sleep(Duration::from_millis(5)).await;
    }
    old.end().await;
    // The system resets whoever comes between the last look into the queue and its end.
    assert!(refused <= 1, "{refused} viewers were refused");
    assert!(answers(ports.edge(), "/status", "200"));
    new.signal(rustix::process::Signal::TERM);
    new.end().await;
}
