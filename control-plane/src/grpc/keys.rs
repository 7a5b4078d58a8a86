//! The key service of `wcdn.admin.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::Request;
use wcdn_proto::pb::admin::v1::{self as admin, key_service_server::KeyService};

use super::{ask, told::Answer};
use crate::{calls::keys, desk::Desk};

/// The service.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Arc<Desk>);

#[tonic::async_trait]
impl KeyService for Keys {
    async fn create_key(
        &self,
        request: Request<admin::CreateKeyRequest>,
    ) -> Answer<admin::CreateKeyResponse> {
        ask!(self, request, keys::create)
    }

    async fn list_keys(
        &self,
        request: Request<admin::ListKeysRequest>,
    ) -> Answer<admin::ListKeysResponse> {
        ask!(self, request, keys::list)
    }

    async fn get_key(
        &self,
        request: Request<admin::GetKeyRequest>,
    ) -> Answer<admin::GetKeyResponse> {
        ask!(self, request, keys::get)
    }

    async fn update_key(
        &self,
        request: Request<admin::UpdateKeyRequest>,
    ) -> Answer<admin::UpdateKeyResponse> {
        ask!(self, request, keys::update)
    }

    async fn rotate_key(
        &self,
        request: Request<admin::RotateKeyRequest>,
    ) -> Answer<admin::RotateKeyResponse> {
        ask!(self, request, keys::rotate)
    }

    async fn revoke_key(
        &self,
        request: Request<admin::RevokeKeyRequest>,
    ) -> Answer<admin::RevokeKeyResponse> {
        ask!(self, request, keys::revoke)
    }

    async fn get_caller(
        &self,
        request: Request<admin::GetCallerRequest>,
    ) -> Answer<admin::GetCallerResponse> {
        ask!(self, request, now keys::caller)
    }
}
