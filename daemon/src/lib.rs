//! What every long-running WCDN process does alike: arguments, configuration, logs, signals,
//! draining, and the port its operator looks at.
//!
//! The only place with process-wide state: subscriber, panic hook, signals. Nothing here knows
//! what the process is for.

pub mod admin;
pub mod args;
pub mod config;
pub mod drain;
mod failure;
pub mod gcra;
pub mod health;
pub mod listen;
mod logs;
pub mod origins;
mod panics;
pub mod probe;
pub mod proxy;
mod run;
pub mod secret;
mod signals;
pub mod tls;
#[cfg(feature = "otlp")]
pub mod traces;

pub use failure::Failure;
pub use run::run;
pub use signals::{Reload, ReloadTrigger, Signals};
