//! The REST API as programs and browsers meet it: over real sockets.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "helpers of tests are tests")]

#[path = "rest/access.rs"]
mod access;
#[path = "rest/calls.rs"]
mod calls;
#[path = "rest/cors.rs"]
mod cors;
#[path = "rest/hooks.rs"]
mod hooks;
#[path = "rest/keys.rs"]
mod keys;
#[path = "rest/live.rs"]
mod live;
#[path = "rest/pages.rs"]
mod pages;
#[path = "rest/stage.rs"]
mod stage;
