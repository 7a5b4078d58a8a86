//! The WCDN control plane: what must be true everywhere, and where it is.
//!
//! A change goes `grpc` → `calls` → `log` → `store`, and what became of it comes back to `tracker`:
//!
//! - `audit`: who did what
//! - `auth`: who calls, and what they may do
//! - `calls`: what may be asked for, whichever way it comes
//! - `rest`: calls by REST, and the pages that describe them
//! - `grpc`: calls by gRPC, and the sessions of edges
//! - `limits`: how much callers may ask for
//! - `log`: one task that commits what many ask for, reads what other control planes commit, and tells of
//!   both
//! - `jobs`: what only one of several control planes does
//! - `store`: the SQLite file or PostgreSQL database, and what is done with copies of it
//! - `plane`: frames to nodes at once, and their confirmations
//! - `state`: what the log amounts to, for edges that begin
//! - `hooks`: doors for other systems
//! - `health`: how origins are doing
//! - `tracker`: which node has applied what, and when; receipts
//! - `pins`: which node holds what is pinned
//! - `preloads`: which node fetches what before anybody asks
//!
//! [`start`] takes configuration, bound sockets and a shutdown token, and nothing else.

mod api_key;
mod audit;
mod auth;
mod base32;
mod calls;
mod change;
mod chores;
pub mod commands;
pub mod config;
mod control_plane;
mod desk;
mod doors;
mod grpc;
mod health;
mod hooks;
mod jobs;
mod limits;
mod log;
mod metrics;
mod pins;
mod plane;
mod preloads;
mod refusal;
mod rest;
mod secrets;
mod sessions;
mod state;
mod store;
mod tracker;

pub use api_key::{ApiKey, InvalidApiKey};
pub use config::Config;
pub use control_plane::{ControlPlane, StartError, start};
pub use doors::{BindError, Doors};
pub use secrets::Secrets;
pub use store::StoreError;
