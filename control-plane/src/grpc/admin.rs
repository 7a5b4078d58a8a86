//! `wcdn.admin.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wcdn_proto::pb::admin::v1::{self as admin, admin_service_server::AdminService};

use super::{changes, health, origins, pins, preloads, queries, receipts, stream::Sent, tail};
use crate::desk::Desk;

/// The service.
#[derive(Debug)]
pub(super) struct Admin(pub(super) Arc<Desk>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Admin {
    type WatchReceiptStream = Sent<admin::WatchReceiptResponse>;
    type ProbeOriginsStream = Sent<admin::ProbeOriginsResponse>;
    type TailEventsStream = Sent<admin::TailEventsResponse>;
    type WatchPinsStream = Sent<admin::WatchPinsResponse>;
    type WatchPreloadStream = Sent<admin::WatchPreloadResponse>;

    async fn purge(&self, request: Request<admin::PurgeRequest>) -> Answer<admin::PurgeResponse> {
        self.0.answer(changes::purge(&self.0, request).await)
    }

    async fn block(&self, request: Request<admin::BlockRequest>) -> Answer<admin::BlockResponse> {
        self.0.answer(changes::block(&self.0, request).await)
    }

    async fn unblock(
        &self,
        request: Request<admin::UnblockRequest>,
    ) -> Answer<admin::UnblockResponse> {
        self.0.answer(changes::unblock(&self.0, request).await)
    }

    async fn list_blocks(
        &self,
        request: Request<admin::ListBlocksRequest>,
    ) -> Answer<admin::ListBlocksResponse> {
        self.0.answer(queries::list_blocks(&self.0, request).await)
    }

    async fn pin(&self, request: Request<admin::PinRequest>) -> Answer<admin::PinResponse> {
        self.0.answer(changes::pin(&self.0, request).await)
    }

    async fn unpin(&self, request: Request<admin::UnpinRequest>) -> Answer<admin::UnpinResponse> {
        self.0.answer(changes::unpin(&self.0, request).await)
    }

    async fn list_pins(
        &self,
        request: Request<admin::ListPinsRequest>,
    ) -> Answer<admin::ListPinsResponse> {
        self.0.answer(pins::list(&self.0, request).await)
    }

    async fn watch_pins(
        &self,
        request: Request<admin::WatchPinsRequest>,
    ) -> Answer<Self::WatchPinsStream> {
        self.0.answer(pins::watch(&self.0, request))
    }

    async fn preload(
        &self,
        request: Request<admin::PreloadRequest>,
    ) -> Answer<admin::PreloadResponse> {
        self.0.answer(preloads::begin(&self.0, request))
    }

    async fn watch_preload(
        &self,
        request: Request<admin::WatchPreloadRequest>,
    ) -> Answer<Self::WatchPreloadStream> {
        self.0.answer(preloads::watch(&self.0, request))
    }

    async fn barrier(
        &self,
        request: Request<admin::BarrierRequest>,
    ) -> Answer<admin::BarrierResponse> {
        self.0.answer(changes::barrier(&self.0, request).await)
    }

    async fn get_receipt(
        &self,
        request: Request<admin::GetReceiptRequest>,
    ) -> Answer<admin::GetReceiptResponse> {
        self.0.answer(receipts::get(&self.0, request).await)
    }

    async fn watch_receipt(
        &self,
        request: Request<admin::WatchReceiptRequest>,
    ) -> Answer<Self::WatchReceiptStream> {
        self.0.answer(receipts::watch(&self.0, request).await)
    }

    async fn list_nodes(
        &self,
        request: Request<admin::ListNodesRequest>,
    ) -> Answer<admin::ListNodesResponse> {
        self.0.answer(queries::list_nodes(&self.0, request))
    }

    async fn get_origins(
        &self,
        request: Request<admin::GetOriginsRequest>,
    ) -> Answer<admin::GetOriginsResponse> {
        self.0.answer(origins::get(&self.0, request))
    }

    async fn set_origins(
        &self,
        request: Request<admin::SetOriginsRequest>,
    ) -> Answer<admin::SetOriginsResponse> {
        self.0.answer(origins::set(&self.0, request).await)
    }

    async fn get_origin_health(
        &self,
        request: Request<admin::GetOriginHealthRequest>,
    ) -> Answer<admin::GetOriginHealthResponse> {
        self.0.answer(health::get(&self.0, request).await)
    }

    async fn probe_origins(
        &self,
        request: Request<admin::ProbeOriginsRequest>,
    ) -> Answer<Self::ProbeOriginsStream> {
        self.0.answer(health::probe(&self.0, request))
    }

    async fn refresh_origins(
        &self,
        request: Request<admin::RefreshOriginsRequest>,
    ) -> Answer<admin::RefreshOriginsResponse> {
        self.0.answer(origins::refresh(&self.0, request).await)
    }

    async fn tail_events(
        &self,
        request: Request<admin::TailEventsRequest>,
    ) -> Answer<Self::TailEventsStream> {
        self.0.answer(tail::tail(&self.0, request).await)
    }

    async fn explain(
        &self,
        request: Request<admin::ExplainRequest>,
    ) -> Answer<admin::ExplainResponse> {
        self.0.answer(queries::explain(&self.0, request).await)
    }

    async fn get_status(
        &self,
        request: Request<admin::GetStatusRequest>,
    ) -> Answer<admin::GetStatusResponse> {
        self.0.answer(queries::status(&self.0, request).await)
    }
}
