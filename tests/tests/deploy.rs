//! What is shipped besides the programs: images, a compose file, units, and the lab.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/configs.rs"]
mod configs;
#[path = "deploy/images.rs"]
mod images;
#[path = "deploy/lab.rs"]
mod lab;
#[path = "deploy/units.rs"]
mod units;
