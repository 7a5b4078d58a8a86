//! A control plane that says what a test lets it say, over a real socket.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    net::TcpListener,
    sync::{mpsc::channel, watch},
};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};
use wcdn_proto::pb::{
    DESCRIPTORS,
    admin::v1::{
        BarrierRequest, BarrierResponse, BlockRequest, BlockResponse, ExplainRequest,
        ExplainResponse, GetOriginHealthRequest, GetOriginHealthResponse, GetOriginsRequest,
        GetOriginsResponse, GetReceiptRequest, GetReceiptResponse, GetStatusRequest,
        GetStatusResponse, ListBlocksRequest, ListBlocksResponse, ListNodesRequest,
        ListNodesResponse, ListPinsRequest, ListPinsResponse, NodeReceipt, NodeState, PinRequest,
        PinResponse, PreloadRequest, PreloadResponse, ProbeOriginsRequest, ProbeOriginsResponse,
        PurgeRequest, PurgeResponse, Receipt, RefreshOriginsRequest, RefreshOriginsResponse,
        SetOriginsRequest, SetOriginsResponse, TailEventsRequest, TailEventsResponse,
        UnblockRequest, UnblockResponse, UnpinRequest, UnpinResponse, WatchPinsRequest,
        WatchPinsResponse, WatchPreloadRequest, WatchPreloadResponse, WatchReceiptRequest,
        WatchReceiptResponse,
        admin_service_server::{AdminService, AdminServiceServer},
    },
    event::v1::Position,
};

use super::desk_state::State;

mod pins;
mod service;

/// What opens it.
pub(crate) const KEY: &str = "wcdn_right";

/// What opens it for reading only.
pub(crate) const READER: &str = "wcdn_reader";

/// When everything was committed: 2026-11-25T12:00:00.250Z.
pub(crate) const COMMITTED_AT_MS: u64 = 1_795_608_000_250;

/// Room for 100,000 ids.
const MAX_MESSAGE: usize = 8 << 20;

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) address: SocketAddr,
    service: Service,
    shutdown: CancellationToken,
}

#[derive(Debug, Clone)]
pub(crate) struct Service {
    state: Arc<Mutex<State>>,
    receipt: watch::Sender<Receipt>,
    events: watch::Sender<Vec<TailEventsResponse>>,
}

impl Desk {
    pub(crate) async fn start() -> Self {
        Self::with(Server::builder()).await
    }

    /// One that is spoken to with this certificate only.
    pub(crate) async fn encrypted(certificate: &str, key: &str) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::with(Server::builder().tls_config(tls).expect("a certificate and its key")).await
    }

    async fn with(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shutdown = CancellationToken::new();
        let service = Service {
            state: Arc::default(),
            receipt: watch::Sender::new(Receipt::default()),
            events: watch::Sender::default(),
        };
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
        };
        let router = server
            .add_service(
                AdminServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE),
            )
            .add_service(reflection().build_v1().expect("descriptors make sense"))
            .add_service(reflection().build_v1alpha().expect("descriptors make sense"));
        let stop = shutdown.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop));
        Self { address, service, shutdown }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.service.state()
    }

    /// What the receipt of every change says from now on.
    pub(crate) fn tell(&self, nodes: Vec<NodeReceipt>) {
        let is = |state| move |node: &NodeReceipt| node.state() == state;
        let settled = !nodes.iter().any(is(NodeState::Pending));
        let complete = nodes.iter().all(is(NodeState::Applied));
        let change = self.service.receipt.borrow().change.clone();
        self.service.receipt.send_replace(Receipt { change, nodes, settled, complete });
    }

    /// Writes events of which all that follow the log hear.
    pub(crate) fn log(&self, more: Vec<TailEventsResponse>) {
        self.service.events.send_modify(|events| events.extend(more));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) fn at(epoch: u64, seq: u64) -> Option<Position> {
    Some(Position { epoch, seq })
}

pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Service {
    type WatchReceiptStream = Streamed<WatchReceiptResponse>;
    type TailEventsStream = Streamed<TailEventsResponse>;
    type ProbeOriginsStream = Streamed<ProbeOriginsResponse>;
    type WatchPinsStream = Streamed<WatchPinsResponse>;
    type WatchPreloadStream = Streamed<WatchPreloadResponse>;

    async fn purge(&self, asked: Request<PurgeRequest>) -> Result<Response<PurgeResponse>, Status> {
        let change = Some(self.change(&asked, "purge", asked.get_ref().ids.len())?);
        Ok(Response::new(PurgeResponse { change }))
    }

    async fn block(&self, asked: Request<BlockRequest>) -> Result<Response<BlockResponse>, Status> {
        let change = Some(self.change(&asked, "block", asked.get_ref().ids.len())?);
        Ok(Response::new(BlockResponse { change }))
    }

    async fn unblock(
        &self,
        asked: Request<UnblockRequest>,
    ) -> Result<Response<UnblockResponse>, Status> {
        let change = Some(self.change(&asked, "unblock", asked.get_ref().ids.len())?);
        Ok(Response::new(UnblockResponse { change }))
    }

    async fn list_blocks(
        &self,
        asked: Request<ListBlocksRequest>,
    ) -> Result<Response<ListBlocksResponse>, Status> {
        self.admit(&asked)?;
        // Pages of two, so that there are some.
        let from = asked.get_ref().page_token.parse().unwrap_or(0);
        let all = self.state().blocks.clone();
        let blocks: Vec<_> = all.iter().skip(from).take(2).cloned().collect();
        let next = from + blocks.len();
        let next_page_token = if next < all.len() { next.to_string() } else { String::new() };
        Ok(Response::new(ListBlocksResponse { blocks, next_page_token }))
    }

    async fn pin(&self, asked: Request<PinRequest>) -> Result<Response<PinResponse>, Status> {
        let change = Some(self.change(&asked, "pin", asked.get_ref().ids.len())?);
        Ok(Response::new(PinResponse { change }))
    }

    async fn unpin(&self, asked: Request<UnpinRequest>) -> Result<Response<UnpinResponse>, Status> {
        let change = Some(self.change(&asked, "unpin", asked.get_ref().ids.len())?);
        Ok(Response::new(UnpinResponse { change }))
    }

    async fn list_pins(
        &self,
        asked: Request<ListPinsRequest>,
    ) -> Result<Response<ListPinsResponse>, Status> {
        self.page_of_pins(&asked)
    }

    async fn watch_pins(
        &self,
        asked: Request<WatchPinsRequest>,
    ) -> Result<Response<Self::WatchPinsStream>, Status> {
        self.told_of_pins(&asked)
    }

    async fn preload(
        &self,
        asked: Request<PreloadRequest>,
    ) -> Result<Response<PreloadResponse>, Status> {
        self.begun(&asked)
    }

    async fn watch_preload(
        &self,
        asked: Request<WatchPreloadRequest>,
    ) -> Result<Response<Self::WatchPreloadStream>, Status> {
        self.told_of_preload(&asked)
    }

    async fn barrier(
        &self,
        asked: Request<BarrierRequest>,
    ) -> Result<Response<BarrierResponse>, Status> {
        let change = Some(self.change(&asked, "barrier", 0)?);
        Ok(Response::new(BarrierResponse { change }))
    }

    async fn get_receipt(
        &self,
        asked: Request<GetReceiptRequest>,
    ) -> Result<Response<GetReceiptResponse>, Status> {
        self.admit(&asked)?;
        self.known(&asked.get_ref().change_id)?;
        let receipt = Some(self.receipt.borrow().clone());
        Ok(Response::new(GetReceiptResponse { receipt }))
    }

    async fn watch_receipt(
        &self,
        asked: Request<WatchReceiptRequest>,
    ) -> Result<Response<Self::WatchReceiptStream>, Status> {
        self.admit(&asked)?;
        self.known(&asked.get_ref().change_id)?;
        let mut receipts = self.receipt.subscribe();
        let (sender, receiver) = channel(16);
        TaskTracker::new().spawn(async move {
            loop {
                let receipt = Some(receipts.borrow_and_update().clone());
                let is_settled = receipt.as_ref().is_some_and(|receipt| receipt.settled);
                let is_gone = sender.send(Ok(WatchReceiptResponse { receipt })).await.is_err();
                if is_gone || is_settled || receipts.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(self.ending(ReceiverStream::new(receiver)))
    }

    async fn list_nodes(
        &self,
        asked: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        self.admit(&asked)?;
        let nodes = self.state().nodes.clone();
        Ok(Response::new(ListNodesResponse { head: at(1, 42), nodes }))
    }

    async fn get_origins(
        &self,
        asked: Request<GetOriginsRequest>,
    ) -> Result<Response<GetOriginsResponse>, Status> {
        self.origins(&asked)
    }

    async fn set_origins(
        &self,
        asked: Request<SetOriginsRequest>,
    ) -> Result<Response<SetOriginsResponse>, Status> {
        self.replace_origins(&asked)
    }

    async fn get_origin_health(
        &self,
        asked: Request<GetOriginHealthRequest>,
    ) -> Result<Response<GetOriginHealthResponse>, Status> {
        self.origin_health(&asked)
    }

    async fn probe_origins(
        &self,
        asked: Request<ProbeOriginsRequest>,
    ) -> Result<Response<Self::ProbeOriginsStream>, Status> {
        self.probes(&asked)
    }

    async fn refresh_origins(
        &self,
        asked: Request<RefreshOriginsRequest>,
    ) -> Result<Response<RefreshOriginsResponse>, Status> {
        self.refreshed(&asked)
    }

    async fn tail_events(
        &self,
        asked: Request<TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        self.admit(&asked)?;
        let TailEventsRequest { after, follow } = asked.into_inner();
        let mut sent = after.map_or(0, |after| after.seq);
        let mut log = self.events.subscribe();
        let hangs = self.state().hangs;
        let (sender, receiver) = channel(16);
        TaskTracker::new().spawn(async move {
            loop {
                let events = log.borrow_and_update().clone();
                for event in events {
                    let seq = event.position.map_or(0, |position| position.seq);
                    if seq > sent && sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                    sent = sent.max(seq);
                }
                if hangs {
                    sender.closed().await;
                }
                if !follow || log.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(self.ending(ReceiverStream::new(receiver)))
    }

    async fn explain(
        &self,
        asked: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        self.admit(&asked)?;
        let nodes = self.state().holdings.clone();
        Ok(Response::new(ExplainResponse {
            id: asked.into_inner().id,
            blocked: true,
            pinned: true,
            nodes,
        }))
    }

    async fn get_status(
        &self,
        asked: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        self.admit(&asked)?;
        let seq = self.events.borrow().last().and_then(|event| event.position);
        let head = Some(seq.unwrap_or(Position { epoch: 1, seq: 42 }));
        let version = "0.1.0".into();
        Ok(Response::new(GetStatusResponse { version, head, floor_seq: 7, nodes_live: 3 }))
    }
}
