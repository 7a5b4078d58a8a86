//! What the system promises, tried through the doors its users have.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    reason = "helpers of tests are tests, and a panic there is a failure with a place"
)]

#[path = "fleet/apart.rs"]
mod apart;
#[path = "fleet/bad_input.rs"]
mod bad_input;
#[path = "fleet/block.rs"]
mod block;
#[path = "fleet/conditions.rs"]
mod conditions;
#[path = "fleet/control_planes.rs"]
mod control_planes;
#[path = "fleet/cors.rs"]
mod cors;
#[path = "fleet/fills.rs"]
mod fills;
#[path = "fleet/health.rs"]
mod health;
#[path = "fleet/large.rs"]
mod large;
#[path = "fleet/limits.rs"]
mod limits;
#[path = "fleet/linters.rs"]
mod linters;
#[path = "fleet/openapi.rs"]
mod openapi;
#[path = "fleet/operations.rs"]
mod operations;
#[path = "fleet/origins.rs"]
mod origins;
#[path = "fleet/peers.rs"]
mod peers;
#[path = "fleet/pins.rs"]
mod pins;
#[path = "fleet/preload.rs"]
mod preload;
#[path = "fleet/protocols.rs"]
mod protocols;
#[path = "fleet/purge.rs"]
mod purge;
#[path = "fleet/quilts.rs"]
mod quilts;
#[path = "fleet/ranges.rs"]
mod ranges;
#[path = "fleet/read_through.rs"]
mod read_through;
#[path = "fleet/region.rs"]
mod region;
#[path = "fleet/replicas.rs"]
mod replicas;
#[path = "fleet/rotation.rs"]
mod rotation;
#[path = "fleet/serving.rs"]
mod serving;
#[path = "fleet/standin.rs"]
mod standin;
#[path = "fleet/verification.rs"]
mod verification;
#[path = "fleet/versions.rs"]
mod versions;
#[path = "fleet/weather_desk.rs"]
mod weather_desk;
#[path = "fleet/weather_dns.rs"]
mod weather_dns;
#[path = "fleet/weather_health.rs"]
mod weather_health;
#[path = "fleet/weather_herd.rs"]
mod weather_herd;
#[path = "fleet/weather_network.rs"]
mod weather_network;
#[path = "fleet/weather_origins.rs"]
mod weather_origins;
#[path = "fleet/weather_peers.rs"]
mod weather_peers;
#[path = "fleet/weather_pins.rs"]
mod weather_pins;
#[path = "fleet/weather_purge_processes.rs"]
mod weather_purge_processes;
#[path = "fleet/weather_purge_redis.rs"]
mod weather_purge_redis;
#[path = "fleet/weather_redis.rs"]
mod weather_redis;
#[path = "fleet/weather_strangers.rs"]
mod weather_strangers;
#[path = "fleet/weather_viewers.rs"]
mod weather_viewers;
