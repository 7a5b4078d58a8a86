//! A control plane on free ports, and edges that say what a test wants.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;
use wcdn_control_plane::{Config, ControlPlane, Doors, config::WalrusNetwork, start};
use wcdn_proto::{
    BlobId,
    pb::{
        admin::v1::admin_service_client::AdminServiceClient,
        edge::v1::{
            OriginPool, Outcome, PinState, Pins, Register, Report, SessionRequest, SessionResponse,
            Welcome, edge_service_client::EdgeServiceClient, session_request::Kind as Up,
            session_response::Kind as Down,
        },
        event::v1::Position,
    },
};

/// Longer than anything takes that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) config: Config,
    pub(crate) key: String,
    pub(crate) plane: ControlPlane,
    pub(crate) admin: AdminServiceClient<Channel>,
    pub(crate) edge: EdgeServiceClient<Channel>,
    shutdown: CancellationToken,
    pub(crate) folder: TempDir,
}

/// An edge in a test.
pub(crate) struct FakeEdge {
    pub(crate) up: mpsc::Sender<SessionRequest>,
    pub(crate) down: Streaming<SessionResponse>,
    pub(crate) welcome: Welcome,
    pub(crate) pool: OriginPool,
}

impl Stage {
    pub(crate) async fn begin() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().join("store/a.db");
        config.cluster.key_file = folder.path().join("keys/cluster.key");
        config.cluster.signing_key_file = folder.path().join("keys/signing.key");
        config.listen.grpc = ([127, 0, 0, 1], 0).into();
        config.listen.http = ([127, 0, 0, 1], 0).into();
        config.listen.admin = ([127, 0, 0, 1], 0).into();
        // Nobody in tests asks the public origins.
        config.walrus.network = WalrusNetwork::Local;
        config.limits.drain_delay = "0s".parse().unwrap();
        change(&mut config);
        let (plane, shutdown) = run(&config).await;
        let key = plane.first_key().unwrap().expose().to_owned();
        let channel = connect(&plane);
        Self {
            config,
            key,
            admin: AdminServiceClient::new(channel.clone()),
            edge: EdgeServiceClient::new(channel),
            plane,
            shutdown,
            folder,
        }
    }

    /// Another control plane with the same secrets, on the same database.
    pub(crate) async fn beside(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::resume(tempfile::tempdir().unwrap(), config, self.key.clone()).await
    }

    /// A connection of its own.
    pub(crate) fn channel(&self) -> Channel {
        connect(&self.plane)
    }

    /// A request with the key.
    pub(crate) fn keyed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-api-key", self.key.parse().unwrap());
        request
    }

    /// A request with the cluster's token.
    pub(crate) fn as_edge<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token()).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    pub(crate) fn cluster_key(&self) -> Vec<u8> {
        let digits = std::fs::read_to_string(&self.config.cluster.key_file).unwrap();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..64).step_by(2).map(byte).collect()
    }

    pub(crate) fn token(&self) -> String {
        let token = blake3::derive_key("wcdn 2026 edge session token", &self.cluster_key());
        blake3::Hash::from_bytes(token).to_hex().to_string()
    }

    pub(crate) async fn edge_named(&mut self, name: &str, applied: Option<Position>) -> FakeEdge {
        self.register(register(name, applied)).await.unwrap()
    }

    pub(crate) async fn register(&mut self, register: Register) -> Result<FakeEdge, Status> {
        let (up, requests) = mpsc::channel(64);
        up.send(SessionRequest { kind: Some(Up::Register(register)) }).await.unwrap();
        let request = self.as_edge(ReceiverStream::new(requests));
        let mut down = self.edge.session(request).await?.into_inner();
        let Some(Down::Welcome(welcome)) = next(&mut down).await?.kind else {
            panic!("the first message is no welcome")
        };
        let Some(Down::Origins(pool)) = next(&mut down).await?.kind else {
            panic!("the second message is no origin pool")
        };
        Ok(FakeEdge { up, down, welcome, pool })
    }

    /// Stops it as a signal would, and waits until it is gone.
    pub(crate) async fn stop(self) -> (TempDir, Config, String) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.plane.join()).await.expect("it stops");
        (self.folder, self.config, self.key)
    }

    /// Stops it, lets something be done to its files, and starts it again on other ports.
    pub(crate) async fn restart(self, meanwhile: impl FnOnce(&PathBuf)) -> Self {
        let (folder, config, key) = self.stop().await;
        meanwhile(&config.store.path);
        Self::resume(folder, config, key).await
    }

    /// Starts one again that was stopped.
    pub(crate) async fn resume(folder: TempDir, config: Config, key: String) -> Self {
        let (plane, shutdown) = run(&config).await;
        assert!(plane.first_key().is_none(), "there is a key already");
        let channel = connect(&plane);
        Self {
            config,
            key,
            admin: AdminServiceClient::new(channel.clone()),
            edge: EdgeServiceClient::new(channel),
            plane,
            shutdown,
            folder,
        }
    }

    pub(crate) fn shutdown(&self) {
        self.shutdown.cancel();
    }
}

async fn run(config: &Config) -> (ControlPlane, CancellationToken) {
    let shutdown = CancellationToken::new();
    let doors = Doors::bind(&config.listen).unwrap();
    (start(config.clone(), doors, shutdown.clone()).await.unwrap(), shutdown)
}

fn connect(plane: &ControlPlane) -> Channel {
    let url = format!("http://{}", plane.grpc_addr());
    Channel::from_shared(url).unwrap().connect_lazy()
}

impl FakeEdge {
    /// Says how far it has applied, and what the last event did.
    pub(crate) async fn report(&self, applied: &Option<Position>, outcomes: Vec<Outcome>) {
        let report = Report { applied: *applied, outcomes, ..Report::default() };
        self.send(report).await;
    }

    /// Says what it does for pins.
    pub(crate) async fn keeps(&self, begins: bool, states: Vec<PinState>) {
        self.send(Report { pins: Some(Pins { begins, states }), ..Report::default() }).await;
    }

    pub(crate) async fn send(&self, report: Report) {
        self.up.send(SessionRequest { kind: Some(Up::Report(report)) }).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<SessionResponse, Status> {
        next(&mut self.down).await
    }
}

pub(crate) fn register(name: &str, applied: Option<Position>) -> Register {
    Register {
        node: name.to_owned(),
        region: "eu-west".to_owned(),
        incarnation: 1,
        version: "test".to_owned(),
        edge_url: "http://127.0.0.1:1".to_owned(),
        strict: false,
        applied,
        lease_ms: 5_000,
        proof: bytes::Bytes::new(),
        preloads: true,
        keys: false,
    }
}

/// The next message of a stream; its end is a status too.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = timeout(PATIENCE, stream.message()).await.expect("the stream says something")?;
    message.ok_or_else(|| Status::ok("the stream ended"))
}

/// Every message until the end of a stream.
pub(crate) async fn all<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut messages = Vec::new();
    while let Some(message) =
        timeout(PATIENCE, stream.message()).await.expect("the stream ends or says something")?
    {
        messages.push(message);
    }
    Ok(messages)
}

pub(crate) fn blob(n: u8) -> String {
    BlobId::from_bytes([n; 32]).to_string()
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
