//! How a node follows the log of its control plane.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::driver::EdgePlane;
use wcdn_proto::pb::edge::v1::Register;
use wcdn_walrus::Resolver;

use crate::{
    cache::fill::ahead::Ahead,
    config::Config,
    control::{
        ControlCatchup, Line, Sessions, endpoint, holding::Shelf, origins::Choice, report::Sources,
        session::Means,
    },
    edge::Edge,
    events::{
        Follows, Lease, Log,
        apply::Applier,
        disk::{Disk, Kept, by_clock},
        outcome::Outcomes,
        redis::RedisRemovals,
    },
    metrics::Metrics,
    peer::view::View,
    pins::{Keeper, keeper, told::Told},
    secrets::Secrets,
};

/// What the event plane drives.
#[derive(Debug)]
pub struct Following {
    /// Where events become true.
    pub sink: Arc<Applier>,
    /// How what was missed is read again.
    pub catchup: Arc<ControlCatchup>,
    /// What is known of the log; the plane tells it positions, heads and confirmations.
    pub log: Arc<Log>,
    /// The nodes of every region, this one included.
    pub view: View,
    /// What is done for pins.
    pub pins: Arc<Told>,
    /// Of this start of the node: larger than any before.
    pub incarnation: u64,
    /// The plane, once it runs.
    pub(super) plane: Arc<OnceLock<EdgePlane>>,
}

/// What was kept of the log by the last run, and where it is kept.
pub(super) fn kept(config: &Config, metrics: &Metrics) -> io::Result<Option<(Arc<Disk>, Kept)>> {
    if !config.control.is_given() {
        return Ok(None);
    }
    let Some(dir) = &config.node.state_dir else {
        tracing::warn!(
            "node.state_dir is not given: at each start nothing is served until the control plane \
             has told what is removed and withheld"
        );
        return Ok(None);
    };
    let (disk, kept) = Disk::open(dir, &config.node.id, Arc::clone(&metrics.events))?;
    Ok(Some((Arc::new(disk), kept)))
}

/// What is known of the log at the start.
pub(super) fn log(config: &Config, kept: Option<&Kept>, metrics: &Metrics) -> Arc<Log> {
    let lease = Lease { window: config.cluster.lease.duration(), is_strict: config.cluster.strict };
    let follows = if config.control.is_given() { Follows::Log(lease) } else { Follows::None };
    Arc::new(Log::new(follows, kept, Arc::clone(&metrics.events)))
}

/// Begins to follow, if there is a control plane.
pub(super) fn start(
    config: &Config,
    secrets: &Secrets,
    edge: &Edge,
    kept: Option<(Arc<Disk>, Kept)>,
    address: SocketAddr,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> io::Result<Option<Following>> {
    let Some(key) = secrets.cluster_key.as_ref().filter(|_| config.control.is_given()) else {
        return Ok(None);
    };
    let endpoints = endpoint::listed(&config.control, secrets, key.expose());
    let endpoints = endpoints.map_err(io::Error::other)?;
    let (log, cache) = (Arc::clone(&edge.log), Arc::clone(&edge.cache));
    let outcomes = Arc::new(Outcomes::new(Arc::clone(&log.metrics)));
    let redis = edge.fills.redis().map(|redis| {
        let (redis, outcomes) = (redis.clone(), Arc::clone(&outcomes));
        RedisRemovals::start(redis, Arc::clone(&cache), outcomes, tasks, shutdown.clone())
    });
    let (disk, kept) = kept.unzip();
    let kept = kept.and_then(|kept| kept.origins);
    let origins = Choice::new(edge.fills.pool().clone(), disk.clone(), kept);
    if let Some(disk) = &disk {
        tasks.spawn(Arc::clone(disk).keep(Arc::clone(&log), shutdown.clone()));
    }
    let fills = edge.fills.clone();
    let sink = Applier::new(fills, Arc::clone(&cache), redis, disk.clone(), Arc::clone(&outcomes));
    let (sink, line) = (Arc::new(sink), Line::default());
    let catchup = ControlCatchup::new(line.clone(), Arc::clone(&sink), Arc::clone(&log));
    let catchup = Arc::new(catchup);
    let incarnation = disk.as_ref().map_or_else(by_clock, |disk| disk.incarnation());
    let register = register(config, address, incarnation);
    let plane = Arc::<OnceLock<EdgePlane>>::default();
    let pins = Arc::<Told>::default();
    let payer = edge.viewers.clients.account();
    let ahead = Ahead::new(edge.fills.clone(), payer, config.fetch.max_background);
    keep_pins(config, edge, ahead.clone(), &pins, tasks, shutdown);
    let means = Means {
        register,
        line,
        plane: Arc::clone(&plane),
        sources: Sources {
            log: Arc::clone(&log),
            outcomes,
            pool: edge.fills.pool().clone(),
            pins: Arc::clone(&pins),
        },
        shelf: Shelf::new(cache, edge.fills.clone()),
        origins,
        ahead,
        preloads: Arc::clone(&edge.metrics.preloads),
    };
    let resolver = Resolver::new(config.dns.options());
    Sessions { endpoints, resolver, means }.start(tasks, shutdown);
    let view = edge.view.clone();
    Ok(Some(Following { sink, catchup, log, pins, view, incarnation, plane }))
}

/// Begins to keep what is pinned.
fn keep_pins(
    config: &Config,
    edge: &Edge,
    ahead: Ahead,
    told: &Arc<Told>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let means = keeper::Means {
        cache: Arc::clone(&edge.cache),
        fills: edge.fills.clone(),
        ahead,
        view: edge.view.clone(),
        told: Arc::clone(told),
        check: config.redis.pin_check.duration(),
        metrics: Arc::clone(&edge.metrics.pins),
    };
    let keeping = Keeper::new(means).run();
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(keeping));
}

fn register(config: &Config, address: SocketAddr, incarnation: u64) -> Register {
    Register {
        node: config.node.id.to_string(),
        region: config.node.region.to_string(),
        incarnation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        edge_url: format!("http://{}", reached_at(address, config.gossip.advertise)),
        strict: config.cluster.strict,
        lease_ms: u64::try_from(config.cluster.lease.duration().as_millis()).unwrap_or(u64::MAX),
        proof: bytes::Bytes::new(),
        applied: None,
        preloads: true,
        keys: true,
    }
}

/// Where a node that listens everywhere is reached: at the address that others know it by.
fn reached_at(listens: SocketAddr, advertised: Option<SocketAddr>) -> SocketAddr {
    match advertised {
        Some(known) if listens.ip().is_unspecified() => SocketAddr::new(known.ip(), listens.port()),
        _ => listens,
    }
}

/// Waits until the node knows enough to serve, or has waited long enough.
pub(super) async fn begin(log: Arc<Log>, grace: Duration) {
    let mut applied = log.positions.watch();
    let knowing = applied.wait_for(|_| log.has_begun());
    if timeout(grace, knowing).await.is_err() {
        tracing::warn!(
            waited = ?grace,
            "no control plane tells what is removed and withheld; serving all the same"
        );
    }
    log.begin();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_shown_where_others_know_it() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let known = Some(address("10.0.0.7:4519"));
        assert_eq!(reached_at(address("0.0.0.0:4510"), known), address("10.0.0.7:4510"));
        assert_eq!(reached_at(address("[::]:4510"), known), address("10.0.0.7:4510"));
        assert_eq!(reached_at(address("10.0.0.8:4510"), known), address("10.0.0.8:4510"));
        assert_eq!(reached_at(address("0.0.0.0:4510"), None), address("0.0.0.0:4510"));
    }
}
