//! Who calls is settled by the head of a call: strangers cost no message that is read and kept.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tonic::{body::Body, server::NamedService};
use tower::Service;
use wcdn_proto::pb::{
    admin::v1::{
        admin_service_server::AdminServiceServer, audit_service_server::AuditServiceServer,
        hook_service_server::HookServiceServer, key_service_server::KeyServiceServer,
    },
    edge::v1::edge_service_server::EdgeServiceServer,
};

use super::{admin::Admin, admit, audit::Audit, edge::Edge, hooks::Hooks, keys::Keys};
use crate::{auth::Caller, desk::Desk, limits::Decision, refusal::Refusal};

/// Stands before every service of the port.
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    desk: Arc<Desk>,
    inner: S,
}

impl<S> Gate<S> {
    pub(super) fn new(desk: Arc<Desk>, inner: S) -> Self {
        Self { desk, inner }
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that said it is ready takes the call.
        let another = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, another);
        let desk = Arc::clone(&self.desk);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let passed = pass(&desk, &mut head).await;
            let budget = match &passed {
                Ok(()) => head.extensions.get::<Caller>().and_then(|caller| caller.budget.clone()),
                Err(Refusal::RateLimited { budget }) => Some(Decision::clone(budget)),
                Err(_) => None,
            };
            let mut response = match passed {
                Ok(()) => inner.call(Request::from_parts(head, body)).await?,
                Err(refusal) => desk.refuse(refusal).into_http(),
            };
            if let Some(budget) = budget {
                budget.tell(response.headers_mut());
            }
            Ok(response)
        })
    }
}

/// Whether a service needs an API key.
fn is_of_operators(service: &str) -> bool {
    let services = [
        AdminServiceServer::<Admin>::NAME,
        KeyServiceServer::<Keys>::NAME,
        AuditServiceServer::<Audit>::NAME,
        HookServiceServer::<Hooks>::NAME,
    ];
    services.contains(&service)
}

/// Notes who calls, for those who answer. Health and reflection are for everybody.
async fn pass(desk: &Desk, head: &mut Parts) -> Result<(), Refusal> {
    let service = head.uri.path().split('/').nth(1).unwrap_or_default();
    if is_of_operators(service) {
        let operator = admit::recognise_operator(desk, head).await?;
        head.extensions.insert(operator);
    } else if service == EdgeServiceServer::<Edge>::NAME {
        let member = admit::recognise_edge(desk, head)?;
        head.extensions.insert(member);
    }
    Ok(())
}
