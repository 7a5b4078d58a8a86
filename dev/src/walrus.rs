//! The stand-in Walrus of a system, which may run without the rest of it.

use std::net::IpAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    standin::{self, Standin, StandinOptions},
    topology::{AGGREGATORS, PUBLISHER_PORT, Ports, Topology},
};

/// Starts a publisher and several aggregators at `address`; they run until `shutdown`.
///
/// # Errors
/// When a port is taken, or the folder cannot be used.
pub async fn start(
    topology: &Topology,
    address: IpAddr,
    shutdown: CancellationToken,
) -> anyhow::Result<Standin> {
    let bind = async |documented: u16| {
        let port = if topology.ports == Ports::Documented { documented } else { 0 };
        let bound = TcpListener::bind((address, port)).await;
        bound.with_context(|| {
            format!("cannot listen on {address}:{port}; is `make run` running twice?")
        })
    };
    let publisher = bind(PUBLISHER_PORT).await?;
    let mut aggregators = Vec::new();
    for n in 1..=AGGREGATORS {
        aggregators.push(bind(PUBLISHER_PORT + n).await?);
    }
    let options = StandinOptions {
        encoding: topology.encoding,
        publisher,
        aggregators,
        dir: topology.data.as_ref().map(|data| data.join("walrus")),
        visible_after: topology.visible_after,
        max_body: topology.max_body,
        max_quilt_body: standin::MAX_QUILT_BODY,
    };
    Standin::start(options, shutdown).await.context("cannot start the stand-in Walrus")
}
