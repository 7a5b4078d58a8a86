//! The audit service of `wcdn.admin.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::Request;
use wcdn_proto::pb::admin::v1::{self as admin, audit_service_server::AuditService};

use super::{
    ask,
    told::{Answer, Told},
};
use crate::{calls::audit, desk::Desk};

/// The service.
#[derive(Debug)]
pub(super) struct Audit(pub(super) Arc<Desk>);

#[tonic::async_trait]
impl AuditService for Audit {
    type ExportAuditStream = Told<admin::ExportAuditResponse>;

    async fn list_audit(
        &self,
        request: Request<admin::ListAuditRequest>,
    ) -> Answer<admin::ListAuditResponse> {
        ask!(self, request, audit::list)
    }

    async fn export_audit(
        &self,
        request: Request<admin::ExportAuditRequest>,
    ) -> Answer<Self::ExportAuditStream> {
        ask!(self, request, stream audit::export)
    }
}
