//! An edge put together from its parts, and taken apart again.

mod follow;
mod peering;
mod plane;
mod reload;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::{admin, config::Problems, drain, health::Health, secret::Key, tls::Certificates};
use wcdn_walrus::{Encoding, HttpClient, HttpOptions};

use self::peering::Peering;
pub use self::{follow::Following, reload::Reloaded};
use crate::{
    access_log::AccessLog,
    cache::{
        Cache,
        fill::{Fills, Means},
        redis::{Redis, record::Attestor, rewarm},
        scrub,
    },
    config::{Config, Mode},
    doors::Doors,
    edge::{
        self, Cors, Door, Edge, Viewers,
        response::{self, Labels},
    },
    events::Log,
    metrics::{self, Metrics},
    object::Objects,
    origin::Pool,
    peer::view::View,
    quilt::Quilts,
    secrets::Secrets,
    verify::Verifier,
};

/// A running edge.
#[derive(Debug)]
pub struct Node {
    edge: SocketAddr,
    tls: Option<SocketAddr>,
    admin: SocketAddr,
    serving: Arc<Edge>,
    certificates: Option<Certificates>,
    /// What it was started with.
    config: Config,
    /// Viewers' connections.
    connections: TaskTracker,
    /// Fills and late checks.
    work: TaskTracker,
    services: TaskTracker,
    /// Stops accepting, and connections once they have answered.
    refuse: CancellationToken,
    /// Cuts connections, and what they might wait for.
    cut: CancellationToken,
    /// Stops the admin port, last of all; a port that is shared has stopped by then.
    close: CancellationToken,
    access_log: AccessLog,
    following: Option<Following>,
}

/// Why an edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("the configuration cannot be used")]
    Config(#[source] Problems),
    /// The system refuses something.
    #[error("cannot start {what}")]
    System {
        /// What was being started.
        what: &'static str,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// How long an idle connection to an origin is kept: shorter than what origins usually allow, so
/// that a request rarely meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// How often the files of the certificate are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(10);

/// What viewers are offered over TLS, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Idle connections kept to one origin.
const POOL_PER_ORIGIN: usize = 32;

/// Starts an edge on bound sockets; it runs until `shutdown`, then drains.
///
/// # Errors
/// [`StartError`], before anything runs.
pub fn start(
    config: Config,
    doors: Doors,
    shutdown: CancellationToken,
) -> Result<Node, StartError> {
    config.check().map_err(StartError::Config)?;
    let secrets = Secrets::read(&config).map_err(StartError::Config)?;
    let system = |what| move |cause| StartError::System { what, cause };
    let tls = doors.tls.as_ref().map(TcpListener::local_addr).transpose();
    let addresses = (
        doors.edge.local_addr().map_err(system("the edge port"))?,
        tls.map_err(system("the TLS port"))?,
        doors.admin.local_addr().map_err(system("the admin port"))?,
    );
    let certificates = secrets.certificates.clone();
    let (work, connections, services) =
        (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
    let (cut, close) = (CancellationToken::new(), CancellationToken::new());
    let (metrics, mut registry) =
        Metrics::new(config.node.region.as_str(), config.node.id.as_str());
    let metrics = Arc::new(metrics);
    let access_log = AccessLog::start(config.access_log.settings(), metrics.log_dropped.clone())
        .map_err(system("the access log"))?;
    let kept = follow::kept(&config, &metrics).map_err(system("keeping state (node.state_dir)"))?;
    let log = follow::log(&config, kept.as_ref().map(|(_, kept)| kept), &metrics);
    let view = peering::view(&config, &doors).map_err(system("the peer port"))?;
    let mut peering = Peering::new(&config, &secrets, &view, &log, &metrics, &work, &cut)
        .map_err(system("tls between nodes (cluster.key_file)"))?;
    let means = (&metrics, &access_log, &log, &peering, view);
    let edge = assemble(&config, &secrets, means, work.clone(), cut.clone())
        .map_err(system("the verifying threads"))?;
    let edge = Arc::new(edge);
    let following = follow::start(&config, &secrets, &edge, kept, addresses.0, &services, &close)
        .map_err(system("the session with the control plane"))?;
    if let (Some(following), Some(socket)) = (&following, doors.gossip) {
        let plane =
            plane::start(&config, &secrets, following, socket, &mut registry, &close, &services);
        if let Some(plane) = plane {
            peering.follow(plane, &edge.view, &log, &services, &close);
        }
    }
    metrics::register_cache(&mut registry, &edge.cache);
    metrics::events::register_log(&mut registry, &log);
    if let Some(following) = &following {
        metrics::pins::register_pins(&mut registry, &edge.cache, &following.pins);
    }
    metrics::origin::register_pool(&mut registry, edge.fills.pool());
    let (health, pool) = (Health::new(), edge.fills.pool().clone());
    let admin = admin::Admin::new(registry, health.clone())
        .page("/debug/origins", move || format!("{:#}\n", pool.describe()));
    // Where the port is shared with the process that takes over, it is left to that one at once.
    let leave = if config.listen.reuse_port { shutdown.clone() } else { close.clone() };
    services.spawn(admin::serve(doors.admin, admin, leave));
    let refuse = CancellationToken::new();
    let accept = |listener, door| {
        let (edge, tasks) = (Arc::clone(&edge), connections.clone());
        services.spawn(edge::accept(listener, door, edge, tasks, refuse.clone()));
    };
    accept(doors.edge, Door::Plain);
    if let (Some(listener), Some(certificates)) = (doors.tls, &certificates) {
        accept(listener, Door::Tls(certificates.server_config(&ALPN, None).into()));
        services.spawn(certificates.clone().keep_fresh(CERTIFICATES_EVERY, close.clone()));
    }
    peering.serve(&config, &edge, doors.peer, &connections, &refuse, &services);
    let (starting, redis) = (health.clone(), edge.fills.redis().cloned());
    let knowing = follow::begin(Arc::clone(&log), config.control.start_grace.duration());
    services.spawn(close.clone().run_until_cancelled_owned(async move {
        if let Some(redis) = redis {
            redis.settled().await;
        }
        knowing.await;
        starting.ready();
    }));
    let (limiting, refusing) = (Arc::clone(&edge), refuse.clone());
    services.spawn(async move {
        shutdown.cancelled().await;
        health.draining();
        tokio::time::sleep(limiting.viewers.limits.load().drain_delay.duration()).await;
        refusing.cancel();
    });
    let node = Node {
        edge: addresses.0,
        tls: addresses.1,
        admin: addresses.2,
        serving: edge,
        certificates,
        config,
        connections,
        work,
        services,
        refuse,
        cut,
        close,
        access_log,
        following,
    };
    tracing::info!(
        region = %node.config.node.region, node = %node.config.node.id,
        edge = %node.edge, tls = node.tls.map(tracing::field::display), admin = %node.admin, origins = node.config.origins().len(),
        "edge serves"
    );
    Ok(node)
}

/// The parts of an edge, in the order in which they need each other.
fn assemble(
    config: &Config,
    secrets: &Secrets,
    (metrics, access_log, log, peering, view): (
        &Arc<Metrics>,
        &AccessLog,
        &Arc<Log>,
        &Peering,
        View,
    ),
    work: TaskTracker,
    cut: CancellationToken,
) -> io::Result<Edge> {
    let encoding = Encoding::new(config.walrus.n_shards)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let http = HttpClient::new(HttpOptions {
        connect_timeout: config.fetch.connect_timeout.duration(),
        pool_idle_timeout: POOL_IDLE,
        max_idle_per_host: POOL_PER_ORIGIN,
        dns: config.dns.options(),
        ..HttpOptions::default()
    });
    let cache =
        Arc::new(Cache::new(&config.cache, config.verify.mode != Mode::Off, Arc::clone(log)));
    let redis = regional(config, secrets, &cache, metrics, &work, &cut);
    scrub(config, &cache, metrics, &work, &cut);
    let means = Means {
        cache: Arc::clone(&cache),
        redis,
        peers: peering.peers.clone(),
        notes: peering.notes.clone(),
        pool: Pool::new(config.origins(), &http, config.fetch.clone(), metrics),
        verifier: Verifier::start(&config.verify, encoding, metrics)?,
        metrics: Arc::clone(metrics),
        tasks: work,
        shutdown: cut.clone(),
    };
    let fills = Fills::new(config, encoding, means);
    Ok(Edge {
        quilts: Quilts::new(encoding, Arc::clone(&cache), fills.clone()),
        objects: Objects::new(fills.clone()),
        cache,
        fills,
        metrics: Arc::clone(metrics),
        log: Arc::clone(log),
        view,
        access_log: access_log.clone(),
        labels: Labels::new(&config.node.id),
        hsts: config.tls.hsts.as_ref().map(response::hsts),
        cors: Cors::new(&config.cors),
        patience: config.fetch.first_byte_timeout.duration(),
        viewers: Viewers::new(config),
        cut,
    })
}

/// The region's Redis, if there is one, and what keeps it warm.
fn regional(
    config: &Config,
    secrets: &Secrets,
    cache: &Arc<Cache>,
    metrics: &Arc<Metrics>,
    work: &TaskTracker,
    cut: &CancellationToken,
) -> Option<Redis> {
    let key = secrets.cluster_key.as_ref().filter(|_| !config.redis.urls.is_empty())?;
    let settings = config.redis.settings(secrets, config.verify.mode == Mode::Off);
    let metrics = Arc::clone(&metrics.redis);
    let attestor = Attestor::new(key.expose(), secrets.previous_key.as_ref().map(Key::expose));
    let log = Arc::clone(cache.log());
    let redis = Redis::start(settings, attestor, log, metrics, work.clone(), cut.clone());
    let rewarming = rewarm::run(redis.clone(), Arc::clone(cache));
    work.spawn(cut.clone().run_until_cancelled_owned(rewarming));
    Some(redis)
}

/// Looks again at what lies in memory for long, if that is wanted.
fn scrub(
    config: &Config,
    cache: &Arc<Cache>,
    metrics: &Arc<Metrics>,
    work: &TaskTracker,
    cut: &CancellationToken,
) {
    let after = config.cache.scrub_after.duration();
    if !after.is_zero() {
        let scrubbing = scrub::run(Arc::clone(cache), Arc::clone(metrics), after);
        work.spawn(cut.clone().run_until_cancelled_owned(scrubbing));
    }
}

impl Node {
    /// Where viewers are served.
    pub fn edge_addr(&self) -> SocketAddr {
        self.edge
    }

    /// Where viewers are served over TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// Where the operator looks.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// How it follows its control plane, if it has one.
    pub fn following(&self) -> Option<&Following> {
        self.following.as_ref()
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Waits for shutdown, then drains: readiness is given up at once, after a delay nothing new is
    /// accepted, what runs may finish until the deadline, the rest is cut. The admin port answers
    /// to the end, unless it is shared.
    pub async fn join(self) {
        self.refuse.cancelled().await;
        let (deadline, requests) = {
            let viewers = &self.serving.viewers;
            (viewers.limits.load().drain_timeout.duration(), &viewers.streams)
        };
        let connections = drain::finish(&self.connections, deadline).await;
        if connections.cut > 0 {
            tracing::warn!(
                connections = connections.cut,
                http2_requests = requests.len(),
                after = ?deadline,
                "drain deadline passed; connections cut"
            );
        }
        self.cut.cancel();
        drain::finish(&self.connections, Duration::from_secs(1)).await;
        drain::finish(requests, Duration::from_secs(1)).await;
        drain::finish(&self.work, Duration::from_secs(1)).await;
        self.close.cancel();
        drain::finish(&self.services, Duration::from_secs(1)).await;
        self.access_log.close();
        tracing::info!(finished = connections.finished, "edge stopped");
    }
}
