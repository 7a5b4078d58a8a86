//! The edge: serves verified Walrus blobs, fast, from memory or from the best origin.
//!
//! A request goes [`edge`] → [`cache`] → [`origin`] → [`verify`], and back the same way:
//!
//! - [`edge`]: connections, the gates a request passes, the response it gets
//! - [`cache`]: memory under a byte budget, and fills that many readers share
//! - [`origin`]: which aggregator to ask, and what its failures mean
//! - [`peer`]: reading through the node of the region that owns a blob
//! - [`verify`]: whether bytes are the blob they claim to be
//! - [`control`]: the session with the control plane
//! - [`events`]: what the control plane's log removed, withholds or pins
//! - [`pins`], [`preload`]: what is pinned is kept ready, and what is to be asked for soon is fetched
//! - [`quilt`], [`object`]: names that lead to a blob
//!
//! [`start`] takes configuration, bound sockets and a shutdown token, and nothing else: several
//! edges run in one process without knowing of each other.

pub mod access_log;
pub mod cache;
pub mod config;
pub mod control;
mod doors;
pub mod edge;
pub mod events;
pub mod metrics;
mod node;
pub mod object;
pub mod origin;
pub mod peer;
pub mod pins;
pub mod preload;
pub mod quilt;
pub mod rendezvous;
mod secrets;
mod traces;
pub mod verify;

pub use config::Config;
pub use doors::{BindError, Doors};
pub use node::{Following, Node, Reloaded, StartError, start};
pub use secrets::Secrets;
