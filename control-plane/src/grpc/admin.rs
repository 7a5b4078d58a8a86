//! `wcdn.admin.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::Request;
use wcdn_proto::pb::admin::v1::{self as admin, admin_service_server::AdminService};

use super::{
    ask,
    told::{Answer, Told},
};
use crate::{
    calls::{changes, health, origins, pins, preloads, queries, receipts, tail},
    desk::Desk,
};

/// The service.
#[derive(Debug)]
pub(super) struct Admin(pub(super) Arc<Desk>);

#[tonic::async_trait]
impl AdminService for Admin {
    type WatchReceiptStream = Told<admin::WatchReceiptResponse>;
    type ProbeOriginsStream = Told<admin::ProbeOriginsResponse>;
    type TailEventsStream = Told<admin::TailEventsResponse>;
    type WatchPinsStream = Told<admin::WatchPinsResponse>;
    type WatchPreloadStream = Told<admin::WatchPreloadResponse>;

    async fn purge(&self, request: Request<admin::PurgeRequest>) -> Answer<admin::PurgeResponse> {
        ask!(self, request, changes::purge)
    }

    async fn block(&self, request: Request<admin::BlockRequest>) -> Answer<admin::BlockResponse> {
        ask!(self, request, changes::block)
    }

    async fn unblock(
        &self,
        request: Request<admin::UnblockRequest>,
    ) -> Answer<admin::UnblockResponse> {
        ask!(self, request, changes::unblock)
    }

    async fn list_blocks(
        &self,
        request: Request<admin::ListBlocksRequest>,
    ) -> Answer<admin::ListBlocksResponse> {
        ask!(self, request, queries::list_blocks)
    }

    async fn pin(&self, request: Request<admin::PinRequest>) -> Answer<admin::PinResponse> {
        ask!(self, request, changes::pin)
    }

    async fn unpin(&self, request: Request<admin::UnpinRequest>) -> Answer<admin::UnpinResponse> {
        ask!(self, request, changes::unpin)
    }

    async fn list_pins(
        &self,
        request: Request<admin::ListPinsRequest>,
    ) -> Answer<admin::ListPinsResponse> {
        ask!(self, request, pins::list)
    }

    async fn watch_pins(
        &self,
        request: Request<admin::WatchPinsRequest>,
    ) -> Answer<Self::WatchPinsStream> {
        ask!(self, request, stream now pins::watch)
    }

    async fn preload(
        &self,
        request: Request<admin::PreloadRequest>,
    ) -> Answer<admin::PreloadResponse> {
        ask!(self, request, now preloads::begin)
    }

    async fn watch_preload(
        &self,
        request: Request<admin::WatchPreloadRequest>,
    ) -> Answer<Self::WatchPreloadStream> {
        ask!(self, request, stream now preloads::watch)
    }

    async fn barrier(
        &self,
        request: Request<admin::BarrierRequest>,
    ) -> Answer<admin::BarrierResponse> {
        ask!(self, request, changes::barrier)
    }

    async fn get_receipt(
        &self,
        request: Request<admin::GetReceiptRequest>,
    ) -> Answer<admin::GetReceiptResponse> {
        ask!(self, request, receipts::get)
    }

    async fn watch_receipt(
        &self,
        request: Request<admin::WatchReceiptRequest>,
    ) -> Answer<Self::WatchReceiptStream> {
        ask!(self, request, stream receipts::watch)
    }

    async fn list_nodes(
        &self,
        request: Request<admin::ListNodesRequest>,
    ) -> Answer<admin::ListNodesResponse> {
        ask!(self, request, now queries::list_nodes)
    }

    async fn get_origins(
        &self,
        request: Request<admin::GetOriginsRequest>,
    ) -> Answer<admin::GetOriginsResponse> {
        ask!(self, request, now origins::get)
    }

    async fn set_origins(
        &self,
        request: Request<admin::SetOriginsRequest>,
    ) -> Answer<admin::SetOriginsResponse> {
        ask!(self, request, origins::set)
    }

    async fn get_origin_health(
        &self,
        request: Request<admin::GetOriginHealthRequest>,
    ) -> Answer<admin::GetOriginHealthResponse> {
        ask!(self, request, health::get)
    }

    async fn probe_origins(
        &self,
        request: Request<admin::ProbeOriginsRequest>,
    ) -> Answer<Self::ProbeOriginsStream> {
        ask!(self, request, stream now health::probe)
    }

    async fn refresh_origins(
        &self,
        request: Request<admin::RefreshOriginsRequest>,
    ) -> Answer<admin::RefreshOriginsResponse> {
        ask!(self, request, origins::refresh)
    }

    async fn tail_events(
        &self,
        request: Request<admin::TailEventsRequest>,
    ) -> Answer<Self::TailEventsStream> {
        ask!(self, request, stream tail::tail)
    }

    async fn explain(
        &self,
        request: Request<admin::ExplainRequest>,
    ) -> Answer<admin::ExplainResponse> {
        ask!(self, request, queries::explain)
    }

    async fn get_status(
        &self,
        request: Request<admin::GetStatusRequest>,
    ) -> Answer<admin::GetStatusResponse> {
        ask!(self, request, queries::status)
    }
}
