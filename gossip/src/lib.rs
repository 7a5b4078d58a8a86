//! Who is there, and events that reach every node, completely and provably.
//!
//! - [`driver`]: the plane of an edge and of an issuer, running on a socket
//! - [`frame`]: signed frames of events, the unit that is stored and sent
//! - [`seam`]: what a node and a control plane give to the plane: where events are applied, and how
//!   the log is read again
//! - [`edge_brain`], [`issuer_brain`]: what the two sides do, as pure state machines; `docs/gossip.md`
//!   says why
//! - [`receipts`]: who has confirmed what, and when
//! - [`membership`]: who is there
//! - [`seal`]: datagrams that only members of a cluster can make and read
//! - [`message`], [`member`], [`ranges`], [`ring`], [`time`]: what they speak of
//!
//! Nothing here knows of caches or of SQL.

mod bucket;
pub mod driver;
pub mod edge_brain;
pub mod frame;
pub mod issuer_brain;
pub mod member;
pub mod membership;
pub mod message;
mod metrics;
mod positions;
pub mod ranges;
pub mod receipts;
pub mod ring;
pub mod seal;
pub mod seam;
mod socket;
pub mod time;
mod transport;

#[cfg(test)]
mod testing;
