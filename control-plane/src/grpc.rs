//! The services of operators and edges, on one port.

mod admin;
mod admit;
mod audit;
mod edge;
mod error;
mod gate;
mod hooks;
mod incoming;
mod keys;
mod session;
mod snapshot;
mod told;

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;
use tower::layer::layer_fn;
use wcdn_proto::pb::{
    DESCRIPTORS,
    admin::v1::{
        admin_service_server::AdminServiceServer, audit_service_server::AuditServiceServer,
        hook_service_server::HookServiceServer, key_service_server::KeyServiceServer,
    },
    edge::v1::edge_service_server::EdgeServiceServer,
};

use self::{
    admin::Admin, audit::Audit, edge::Edge, gate::Gate, hooks::Hooks, keys::Keys, told::ask,
};
use crate::{desk::Desk, secrets::ServerTls};

/// After how much silence a peer is pinged, and how long it may take to answer.
///
/// A machine that is short of processor time answers seconds late, and all its edges would have to
/// register anew if it were cut for that; five seconds are what edges give us, too. No receipt is late
/// by it: what a node lacks counts from the commit, whether or not it has a session.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the head of a call.
const MAX_HEAD: u32 = 16 << 10;

/// Bytes of one message of an edge: a thousand outcomes need some 60 kB.
const MAX_EDGE: usize = 1 << 20;

/// Serves until `refuse`, then finishes what runs, unless its connection is cut before.
///
/// # Errors
/// If the library does not go on.
pub(crate) async fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    refuse: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let limits = &desk.limits;
    let most = usize::try_from(limits.max_message.bytes()).unwrap_or(usize::MAX);
    let admin = AdminServiceServer::new(Admin(Arc::clone(&desk)));
    let keys = KeyServiceServer::new(Keys(Arc::clone(&desk)));
    let audit = AuditServiceServer::new(Audit(Arc::clone(&desk)));
    let hooks = HookServiceServer::new(Hooks(Arc::clone(&desk)));
    let edge = EdgeServiceServer::new(Edge(Arc::clone(&desk)));
    let (health, health_service) = tonic_health::server::health_reporter();
    let gated = Arc::clone(&desk);
    let mut server = Server::builder()
        .layer(layer_fn(move |service| Gate::new(Arc::clone(&gated), service)))
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(limits.max_streams)
        .timeout(limits.call_timeout.duration());
    let room = Arc::new(Semaphore::new(limits.max_connections));
    let router = server
        .add_service(admin.max_decoding_message_size(most).max_encoding_message_size(most))
        .add_service(keys)
        .add_service(audit)
        .add_service(hooks)
        .add_service(edge.max_decoding_message_size(MAX_EDGE).max_encoding_message_size(most))
        .add_service(health_service)
        .add_service(reflection().build_v1().expect("the descriptors are those of this build"))
        .add_service(reflection().build_v1alpha().expect("they are the same"));
    desk.tasks.spawn(tell_health(health, desk.leaving.clone()));
    let (cut, refused) = (desk.cut.clone(), refuse.cancelled_owned());
    match tls {
        None => {
            let incoming = incoming::plain(listener, room, cut);
            router.serve_with_incoming_shutdown(incoming, refused).await
        }
        Some(tls) => {
            let incoming = incoming::encrypted(listener, room, cut, &tls);
            router.serve_with_incoming_shutdown(incoming, refused).await
        }
    }
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Whoever asks for health hears that the process leaves before it refuses.
async fn tell_health(health: HealthReporter, leaving: CancellationToken) {
    health.set_serving::<AdminServiceServer<Admin>>().await;
    health.set_serving::<EdgeServiceServer<Edge>>().await;
    leaving.cancelled().await;
    health.set_not_serving::<AdminServiceServer<Admin>>().await;
    health.set_not_serving::<EdgeServiceServer<Edge>>().await;
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
}
