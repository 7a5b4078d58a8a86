//! Ports that stay free while whoever had them is away.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::Context;
use rand::RngExt as _;

/// Linux gives others to those who ask for any.
const QUIET: std::ops::Range<u16> = 12_000..32_000;

/// Ports that are tried.
const TRIES: usize = 1_000;

/// A port that is free for TCP and UDP now. Whoever asks the system for any port gets another.
///
/// # Errors
/// When none is found.
pub fn quiet() -> anyhow::Result<u16> {
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let mut ports = (0..TRIES).map(|_| rand::rng().random_range(QUIET)).filter(is_free);
    ports.next().context("no port is free")
}
