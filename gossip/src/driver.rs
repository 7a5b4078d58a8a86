//! The event plane of a node, running: tasks around a brain and a socket.
//!
//! ```text
//!  network ── socket ── inbound ──┬── events ──── driver ── brain
//!                                 └── pieces ── chitchat ── membership ──┘
//! ```
//!
//! Each plane is three tasks and what they spawn: one reads the socket, one keeps chitchat, and one,
//! the driver, owns the brain. The driver gives the brain what happened, and does what it says in
//! the order it says it. Timers are tokio's; the time that brains are told is `CLOCK_BOOTTIME`.

mod clock;
pub(crate) mod edge;
pub(crate) mod issuer;
mod wiring;

use crate::{membership::MembershipSettings, seal::ClusterKeys};

pub use self::{
    edge::{EdgePlane, EdgePlaneSettings},
    issuer::{IssuerPlane, IssuerPlaneSettings},
};

/// What every plane needs to know.
#[derive(Debug, Clone)]
pub struct PlaneSettings {
    /// Who this node is, and whom it asks first.
    pub membership: MembershipSettings,
    /// What its datagrams are sealed with.
    pub keys: ClusterKeys,
}
