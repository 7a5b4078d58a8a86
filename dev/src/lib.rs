//! The whole of WCDN in one process, or in one for each part, with a Walrus to go with it: for a first look, for work on
//! it, and for tests.
//!
//! - [`standin`]: a Walrus that behaves like the real one, quirks included
//! - [`walrus`]: one for a system, or alone
//! - [`topology`]: how many of what, and on which ports
//! - [`redis`]: a `redis-server` for each region
//! - [`desk`]: the control plane
//! - [`GossipPlace`]: where it and edges hear of each other
//! - [`cluster`]: starts and stops it all
//! - [`apart`]: the same, with each edge and the control plane in a process of its own
//! - [`seed`]: something to look at, stored through the publisher
//! - [`banner`]: the table of URLs and the commands to try

pub mod apart;
pub mod banner;
pub mod cluster;
pub mod desk;
mod edge;
mod gossip_place;
mod origins;
pub mod ports;
pub mod process;
pub mod reach;
pub mod redis;
pub mod seed;
pub mod standin;
pub mod topology;
pub mod walrus;

pub use apart::Apart;
pub use cluster::Cluster;
pub use edge::Edge;
pub use gossip_place::GossipPlace;
pub use topology::{Ports, Topology, WalrusNetwork};
