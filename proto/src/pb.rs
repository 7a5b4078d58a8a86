//! What the `.proto` files say, as Rust: messages, clients and servers.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]

/// Events and the frames they travel in.
pub mod event {
    /// The only version.
    pub mod v1 {
        tonic::include_proto!("wcdn.event.v1");
    }
}

/// Messages of the event plane.
pub mod gossip {
    /// The only version.
    pub mod v1 {
        tonic::include_proto!("wcdn.gossip.v1");
    }
}

/// The context under which the token that edges show follows from the cluster's key (BLAKE3,
/// `derive_key`): whoever sees the one cannot tell the other.
pub const EDGE_TOKEN_CONTEXT: &str = "wcdn 2026 edge session token";

/// The edges' session with the control plane.
pub mod edge {
    /// The only version.
    pub mod v1 {
        tonic::include_proto!("wcdn.edge.v1");
    }
}

/// What operators can do.
pub mod admin {
    /// The only version.
    pub mod v1 {
        tonic::include_proto!("wcdn.admin.v1");
    }
}

/// Every `.proto` file, encoded as a `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
