//! Who is there, and events that reach every node, completely and provably.
//!
//! - [`frame`]: signed frames of events, the unit that is stored and sent
//! - [`seam`]: what a node and a control plane give to the plane: where events are applied, and how
//!   the log is read again
//! - [`seal`]: datagrams that only members of a cluster can make and read
//!
//! Nothing here knows of caches or of SQL.

pub mod frame;
pub mod member;
pub mod membership;
mod metrics;
mod positions;
pub mod seal;
pub mod seam;
mod socket;
mod transport;

#[cfg(test)]
mod testing;
