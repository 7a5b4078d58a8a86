//! The control plane as operators and edges meet it: over real sockets.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "helpers of tests are tests")]

#[path = "grpc/access.rs"]
mod access;
#[path = "grpc/audit.rs"]
mod audit;
#[path = "grpc/edges.rs"]
mod edges;
#[path = "grpc/hooks.rs"]
mod hooks;
#[path = "grpc/keys.rs"]
mod keys;
#[path = "grpc/limits.rs"]
mod limits;
#[path = "grpc/log.rs"]
mod log;
#[path = "grpc/origins.rs"]
mod origins;
#[path = "grpc/pins.rs"]
mod pins;
#[path = "grpc/plane.rs"]
mod plane;
#[path = "grpc/preloads.rs"]
mod preloads;
#[path = "grpc/receipts.rs"]
mod receipts;
#[path = "grpc/replicas.rs"]
mod replicas;
#[path = "grpc/stage.rs"]
mod stage;
#[path = "grpc/tls.rs"]
mod tls;
