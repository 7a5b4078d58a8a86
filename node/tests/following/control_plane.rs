//! A control plane that says what a test wants.

use std::{net::Ipv4Addr, pin::Pin, sync::Arc};

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
    down: Option<mpsc::Sender<Result<SessionResponse, Status>>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl ControlPlane {
    pub async fn start(cluster_key: &[u8; 32]) -> Self {
        Self::serve(cluster_key, "http", Server::builder()).await
    }

    /// Over TLS; nodes must show a certificate of `client_ca`.
    pub async fn start_with_tls(
        cluster_key: &[u8; 32],
        identity: Identity,
        client_ca: Certificate,
    ) -> Self {
        let tls = ServerTlsConfig::new().identity(identity).client_ca_root(client_ca);
        Self::serve(cluster_key, "https", Server::builder().tls_config(tls).unwrap()).await
    }

    async fn serve(cluster_key: &[u8; 32], scheme: &str, mut server: Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let token = blake3::derive_key("wcdn 2026 edge session token", cluster_key);
        let control_plane = Self {
            url: format!("{scheme}://{}", listener.local_addr().unwrap()),
            said: Arc::default(),
            token: format!("Bearer {}", blake3::Hash::from_bytes(token).to_hex()),
            shutdown: CancellationToken::new(),
        };
        let serving = server
            .add_service(EdgeServiceServer::new(control_plane.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let shutdown = control_plane.shutdown.clone();
        TaskTracker::new().spawn(shutdown.run_until_cancelled_owned(serving));
        control_plane
    }

    /// Kills it.
    pub fn stop(&self) {
        self.said.lock().down = None;
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
        let (head, pool) = self.said(|said| (said.head, said.origins.clone()));
        let head = Some(Position { epoch: head.0, seq: head.1 });
        let version = "test".to_owned();
        let welcome = Welcome { head, version, last_outcome: None, instance: 0 };
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
            let position = Some(Position { epoch: said.head.0, seq: said.head.1 });
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
