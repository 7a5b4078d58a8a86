//! The hook service of `wcdn.admin.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::Request;
use wcdn_proto::pb::admin::v1::{self as admin, hook_service_server::HookService};

use super::{ask, told::Answer};
use crate::{calls::hooks, desk::Desk};

/// The service.
#[derive(Debug)]
pub(super) struct Hooks(pub(super) Arc<Desk>);

#[tonic::async_trait]
impl HookService for Hooks {
    async fn create_hook(
        &self,
        request: Request<admin::CreateHookRequest>,
    ) -> Answer<admin::CreateHookResponse> {
        ask!(self, request, hooks::create)
    }

    async fn list_hooks(
        &self,
        request: Request<admin::ListHooksRequest>,
    ) -> Answer<admin::ListHooksResponse> {
        ask!(self, request, hooks::list)
    }

    async fn delete_hook(
        &self,
        request: Request<admin::DeleteHookRequest>,
    ) -> Answer<admin::DeleteHookResponse> {
        ask!(self, request, hooks::delete)
    }
}
