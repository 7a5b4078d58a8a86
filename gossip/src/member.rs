//! Who is known, alive or not.

use std::net::SocketAddr;

use wcdn_proto::{NodeId, Region};

/// A node or a control plane that membership knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// Where its datagrams go.
    pub address: SocketAddr,
    /// Where nodes of its region ask it for blobs; `None` if it is not to be asked.
    pub peer: Option<SocketAddr>,
    /// What it does.
    pub role: Role,
    /// Whether it was heard lately. One that was not stays a member until it is forgotten: after a
    /// partition the data must not wait for the failure detector.
    pub is_live: bool,
}

/// What a member does in the event plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Applies events.
    Edge,
    /// Commits events.
    Issuer,
}
