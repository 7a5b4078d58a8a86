//! Doubt: what fleet tests stand on.
//!
//! - [`Fleet`]: the whole system on free ports, with the doors users have
//! - [`operator`]: an operator, with a key to the control plane
//! - [`origins`]: how origins do, as an operator sees it
//! - [`forged`]: a node that says whatever a test makes it say
//! - [`program`]: our programs as processes, to be stopped and killed
//! - [`signal`]: how they are stopped
//! - [`client`]: requests, and what came back, even if it was cut
//! - [`dns`]: a name server that says whatever a test makes it say
//! - [`redis`]: real servers and clusters, and what may befall them
//! - [`region`]: nodes that read through each other
//! - [`frames`]: HTTP/2 by hand, for what no client does
//! - [`nghttp2`]: the HTTP/2 of others
//! - [`redbot`]: a linter of HTTP
//! - [`buf`]: a linter of `.proto` files
//! - [`grpc_peer`]: a program in Python that purges
//! - [`slowhttptest`]: viewers who hold connections
//! - [`tls`]: certificates for edges
//! - [`script`]: an origin that says whatever a test makes it say
//! - [`control_plane`]: the control plane as a process, which can be killed, and live in another time
//! - [`storm`]: purges without a pause, whatever befalls the control plane
//! - [`relay`]: a way over TCP that can be cut
//! - [`far`]: a system whose nodes are far from each other, and may be cut off
//! - [`lab`]: processes in network namespaces, and regions that are cut off
//! - [`deploy`]: what lies in the folder `deploy`, as others read it
//! - [`wan`]: a network that takes time, loses and cuts
//! - [`eventually`]: the only waiting there is

pub mod buf;
pub mod client;
pub mod control_plane;
pub mod deploy;
pub mod dns;
mod eventually;
pub mod far;
mod fleet;
pub mod forged;
pub mod frames;
pub mod grpc_peer;
pub mod lab;
pub mod nghttp2;
pub mod openapi;
pub mod operator;
pub mod origins;
pub mod program;
pub mod redbot;
pub mod redis;
pub mod region;
pub mod relay;
pub mod script;
pub mod signal;
pub mod slowhttptest;
pub mod storm;
pub mod tls;
mod tools;
pub mod wan;

pub use eventually::eventually;
pub use fleet::{Fleet, bytes};
