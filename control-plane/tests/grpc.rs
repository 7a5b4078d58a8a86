//! The control plane as operators and edges meet it: over real sockets.

#[path = "grpc/access.rs"]
mod access;
#[path = "grpc/edges.rs"]
mod edges;
#[path = "grpc/log.rs"]
mod log;
#[path = "grpc/receipts.rs"]
mod receipts;
#[path = "grpc/stage.rs"]
mod stage;
#[path = "grpc/tls.rs"]
mod tls;
