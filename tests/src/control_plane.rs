//! The control plane as a process of its own, which can be killed, and live in another time.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use http::{Method, StatusCode};
use tokio::process::{Child, Command};
use wcdn_dev::desk::Desk;

use crate::{
    client::Client,
    eventually,
    program::{peak_memory, program},
};

/// Where one of a [`Fleet`](crate::Fleet) keeps and serves everything: the process takes the place of
/// the part of the fleet, and knows what that knew.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Where operators and edges are served.
    pub grpc: SocketAddr,
    /// What calls need.
    pub key: String,
    admin: SocketAddr,
    gossip: SocketAddr,
    http: SocketAddr,
    data: PathBuf,
    /// Says to `faketime` what time it is.
    clock: Option<PathBuf>,
}

/// The process. It is killed when dropped.
#[derive(Debug)]
pub struct ControlPlaneProcess {
    child: Child,
}

impl Seat {
    /// The seat of the control plane of a system that keeps everything in `data`.
    pub fn of(desk: &Desk, data: &Path) -> Self {
        let (grpc, http, admin, gossip) = (desk.grpc, desk.http, desk.admin, desk.gossip);
        let (key, data) = (desk.key.clone(), data.to_owned());
        Self { grpc, http, admin, gossip, key, data, clock: None }
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.data.join("control-plane").join("control-plane.db")
    }

    /// Makes the wall clock wrong by so many seconds, also under a process that runs; what runs by
    /// other clocks goes on as before.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn set_clock(&mut self, ahead_by: i32) {
        let clock = self.data.join("clock");
        // Read while it is written, it would be empty.
        let fresh = self.data.join("clock.fresh");
        std::fs::write(&fresh, format!("{ahead_by:+}\n")).expect("the folder is ours");
        std::fs::rename(fresh, &clock).expect("the folder is ours");
        self.clock = Some(clock);
    }

    /// Starts a process there, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(&self) -> ControlPlaneProcess {
        let told = self.data.join("control-plane.log");
        let log = File::options().create(true).append(true).open(&told);
        let log = log.expect("the folder is ours");
        let home = self.data.join("control-plane");
        let mut command = self.command();
        command
            .env("WCDN_LISTEN__GRPC", self.grpc.to_string())
            .env("WCDN_LISTEN__HTTP", self.http.to_string())
            .env("WCDN_LISTEN__ADMIN", self.admin.to_string())
            .env("WCDN_LISTEN__GOSSIP", self.gossip.to_string())
            .env("WCDN_STORE__PATH", self.store())
            .env("WCDN_CLUSTER__KEY_FILE", self.data.join("cluster.key"))
            .env("WCDN_CLUSTER__SIGNING_KEY_FILE", home.join("signing.key"))
            .env("WCDN_KEYS__FIXED_KEY_FILE", home.join("api.key"))
            // Tests ask as fast as they can.
            .env("WCDN_LIMITS__KEY_PER_MINUTE", "0")
            // Nobody in tests asks the public origins.
            .env("WCDN_WALRUS__NETWORK", "local")
            // Nodes that share a machine with whoever compiles may be late.
            .env("WCDN_RECEIPTS__LEASE", "30s")
            .env("WCDN_RECEIPTS__LOST_AFTER", "60s")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let (client, ready) = (Client::default(), format!("http://{}/readyz", self.admin));
        eventually("the control plane is ready", || {
            let ended = child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "{}", std::fs::read_to_string(&told).unwrap_or_default());
            let (client, ready) = (&client, &ready);
            async move {
                let answer = client.request(Method::GET, ready).response().await;
                answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
            }
        })
        .await;
        ControlPlaneProcess { child }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("wcdn-control-plane"));
        if let Some(clock) = &self.clock {
            // It looks into the file each time, and leaves alone the clocks that timers run by. Its
            // own program would be between us and the process.
            command.env("LD_PRELOAD", libfaketime());
            command.env("FAKETIME_TIMESTAMP_FILE", clock).env("FAKETIME_NO_CACHE", "1");
            command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command
    }
}

impl ControlPlaneProcess {
    /// Ends it without a word, as a power cut does.
    ///
    /// # Panics
    /// When it has ended before.
    pub async fn kill(mut self) {
        assert!(self.child.try_wait().expect("it can be asked").is_none(), "it still runs");
        self.child.kill().await.expect("it can be killed");
    }

    /// The most memory that it ever had. Bytes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.child.id().expect("it runs"))
    }
}

/// Free ports for gRPC and for the operator, which stay free while a control plane is away.
///
/// # Panics
/// When there are none.
pub fn quiet_ports() -> (u16, u16) {
    let quiet = || wcdn_dev::ports::quiet().expect("some port is free");
    (quiet(), quiet())
}

/// Unix time now. Seconds.
///
/// # Panics
/// Before 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_secs()
}

fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("there are libraries").flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found
        .find(|library| library.exists())
        .expect("faketime is installed; scripts/install test does it")
}
