//! A control plane that says what a test wants.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use wcdn_proto::{
    REMOVAL_SLOTS,
    pb::{
        edge::v1::{
            Answer, Ask, BlockedIds, GetSnapshotRequest, GetSnapshotResponse, OriginPool, Register,
            RemovedSlots, ReplayRequest, ReplayResponse, Report, SessionRequest, SessionResponse,
            SnapshotHead, Welcome,
            edge_service_server::{EdgeService, EdgeServiceServer},
            get_snapshot_response::Part,
            session_request::Kind as Up,
            session_response::Kind as Down,
        },
        event::v1::Position,
    },
};

/// One control plane; clones are the same.
#[derive(Clone)]
pub struct ControlPlane {
    pub url: String,
    said: Arc<Mutex<Said>>,
    token: String,
    shutdown: CancellationToken,
}

/// What it knows, and what it was told.
#[derive(Default)]
pub struct Said {
    pub head: (u64, u64),
    pub blocked: Vec<Vec<u8>>,
    pub removed: Vec<(u32, u64)>,
    pub frames: Vec<bytes::Bytes>,
    pub origins: OriginPool,
    pub registered: Vec<Register>,
    pub reports: Vec<Report>,
    pub answers: Vec<Answer>,
    /// The last outcome that it says it has heard of, if it says so.
    pub last_outcome: Option<u64>,
    /// Which start of it this is, if it says so.
    pub instance: u64,
    down: Option<mpsc::Sender<Result<SessionResponse, Status>>>,
}

impl Said {
    fn position(&self) -> Position {
        Position { epoch: self.head.0, seq: self.head.1 }
    }
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl ControlPlane {
    pub async fn start(cluster_key: &[u8; 32]) -> Self {
        let listener = TcpListener::bind(any()).await.unwrap();
        Self::begin(cluster_key, "http", &listener).serve(Server::builder(), listener)
    }

    /// The same one again, or for the first time, at this place, which another has left.
    pub async fn start_at(cluster_key: &[u8; 32], address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::begin(cluster_key, "http", &listener).serve(Server::builder(), listener)
    }

    /// Another way to the same one.
    pub async fn another_way(&self) -> String {
        let listener = TcpListener::bind(any()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.clone().serve(Server::builder(), listener);
        url
    }

    /// Over TLS; nodes must show a certificate of `client_ca`.
    pub async fn start_with_tls(
        cluster_key: &[u8; 32],
        identity: Identity,
        client_ca: Certificate,
    ) -> Self {
        let tls = ServerTlsConfig::new().identity(identity).client_ca_root(client_ca);
        let listener = TcpListener::bind(any()).await.unwrap();
        let server = Server::builder().tls_config(tls).unwrap();
        Self::begin(cluster_key, "https", &listener).serve(server, listener)
    }

    fn begin(cluster_key: &[u8; 32], scheme: &str, listener: &TcpListener) -> Self {
        let token = blake3::derive_key("wcdn 2026 edge session token", cluster_key);
        Self {
            url: format!("{scheme}://{}", listener.local_addr().unwrap()),
            said: Arc::default(),
            token: format!("Bearer {}", blake3::Hash::from_bytes(token).to_hex()),
            shutdown: CancellationToken::new(),
        }
    }

    fn serve(self, mut server: Server, listener: TcpListener) -> Self {
        let serving = server
            .add_service(EdgeServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let shutdown = self.shutdown.clone();
        TaskTracker::new().spawn(shutdown.run_until_cancelled_owned(serving));
        self
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.url.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Ends the session.
    pub fn end_session(&self) {
        self.said.lock().down = None;
    }

    /// The numbers of all outcomes that it was told.
    pub fn outcomes(&self) -> Vec<u64> {
        let numbers = |report: &Report| {
            let count = report.outcomes.len() as u64;
            report.first_outcome..report.first_outcome + count
        };
        self.said(|said| said.reports.iter().flat_map(numbers).collect())
    }

    /// Kills it.
    pub fn stop(&self) {
        self.end_session();
        self.shutdown.cancel();
    }

    /// What it knows and was told.
    pub fn said<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.said.lock())
    }

    pub async fn send(&self, kind: Down) {
        let down = self.said.lock().down.clone().expect("there is a session");
        down.send(Ok(SessionResponse { kind: Some(kind) })).await.unwrap();
    }

    pub async fn ask(&self, id: u64, content: Vec<u8>) {
        self.send(Down::Ask(Ask { id, content: content.into() })).await;
    }

    #[allow(clippy::result_large_err, reason = "it is tonic's")]
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        match request.metadata().get("authorization") {
            Some(token) if token.as_bytes() == self.token.as_bytes() => Ok(()),
            _ => Err(Status::unauthenticated("no token")),
        }
    }
}

#[tonic::async_trait]
impl EdgeService for ControlPlane {
    type SessionStream = Answers<SessionResponse>;
    type ReplayStream = Answers<ReplayResponse>;
    type GetSnapshotStream = Answers<GetSnapshotResponse>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.admit(&request)?;
        let mut up = request.into_inner();
        let (down, sent) = mpsc::channel(16);
        let (welcome, pool) = self.said(|said| {
            let (head, version) = (Some(said.position()), "test".to_owned());
            let (last_outcome, instance) = (said.last_outcome, said.instance);
            (Welcome { head, version, last_outcome, instance }, said.origins.clone())
        });
        for kind in [Down::Welcome(welcome), Down::Origins(pool)] {
            down.try_send(Ok(SessionResponse { kind: Some(kind) })).unwrap();
        }
        self.said(|said| said.down = Some(down));
        let control_plane = self.clone();
        TaskTracker::new().spawn(async move {
            while let Some(Ok(SessionRequest { kind: Some(kind) })) = up.next().await {
                control_plane.said(|said| match kind {
                    Up::Register(register) => said.registered.push(register),
                    Up::Report(report) => said.reports.push(report),
                    Up::Answer(answer) => said.answers.push(answer),
                });
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }

    async fn replay(
        &self,
        request: Request<ReplayRequest>,
    ) -> Result<Response<Self::ReplayStream>, Status> {
        self.admit(&request)?;
        let after = request.into_inner().after.unwrap_or_default();
        let (head, frames) = self.said(|said| (said.head, said.frames.clone()));
        if after.epoch != head.0 {
            return Err(Status::out_of_range("another log"));
        }
        let parts: Vec<_> =
            frames.into_iter().map(|frame| Ok(ReplayResponse { frames: vec![frame] })).collect();
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<Self::GetSnapshotStream>, Status> {
        self.admit(&request)?;
        let parts = self.said(|said| {
            let position = Some(said.position());
            let (slots, seqs) = said.removed.iter().copied().unzip();
            let ids = said.blocked.iter().cloned().map(Into::into).collect();
            [
                Part::Head(SnapshotHead { position, floor_seq: 0, slots: REMOVAL_SLOTS }),
                Part::Removed(RemovedSlots { slots, seqs }),
                Part::Blocked(BlockedIds { ids }),
            ]
        });
        let parts = parts.map(|part| Ok(GetSnapshotResponse { part: Some(part) }));
        Ok(Response::new(Box::pin(stream::iter(parts))))
    }
}
