//! A control plane put together from its parts, and taken apart again.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::{
    net::{TcpListener, UdpSocket},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::{admin, config::Problems, drain, health::Health, proxy::Proxies, secret::Secret};
use wcdn_gossip::frame::IssuerKey;
use wcdn_proto::Scopes;

use crate::{
    api_key::ApiKey,
    audit::Draft,
    auth::Author,
    chores,
    config::{Config, Limits},
    desk::{Desk, Parts},
    doors::Doors,
    grpc,
    health::Monitor,
    jobs::Jobs,
    limits::Limiter,
    log::{Log, Room, Tell},
    metrics::Metrics,
    plane::{self, Plane},
    rest::{self, Cors},
    secrets::{Secrets, ServerTls},
    store::{Claim, Place, Store, StoreError, log::Most},
    tracker::Tracker,
};

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    grpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    gossip: Option<SocketAddr>,
    first_key: Option<ApiKey>,
    issuer: IssuerKey,
    desk: Arc<Desk>,
    limits: Limits,
    /// The gRPC port.
    serving: TaskTracker,
    /// What is done from time to time, and the admin port.
    services: TaskTracker,
    /// The log.
    writing: TaskTracker,
    /// What only one control plane does.
    jobs: Jobs,
    /// No more calls.
    refuse: CancellationToken,
    /// No more chores.
    rest: CancellationToken,
    /// No more writes, and no admin port.
    close: CancellationToken,
    _claim: Option<Claim>,
}

/// Why a control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("the configuration cannot be used:\n{0}")]
    Config(Problems),
    /// The store cannot be used.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The Redis of the limits cannot be used.
    #[error("cannot use limits.redis_url")]
    Limits {
        /// What is wrong with it.
        #[source]
        cause: redis::RedisError,
    },
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

/// The name of the key that is made at the first start, and of the one that the configuration gives.
const FIRST_KEY: &str = "first";
const FIXED_KEY: &str = "fixed";

/// Changes whose receipts go on growing after a restart: of the last ten minutes.
const REOPEN_MS: u64 = 10 * 60 * 1_000;
const MAX_REOPENED: u32 = 16_384;

/// How often the files of the certificate are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(10);

/// How long the store may take to end; what was acknowledged is on the disk already.
const CLOSE: Duration = Duration::from_secs(5);

/// Starts a control plane on bound sockets; it runs until `shutdown`, then drains.
///
/// # Errors
/// [`StartError`], before anything is served.
pub async fn start(
    config: Config,
    doors: Doors,
    shutdown: CancellationToken,
) -> Result<ControlPlane, StartError> {
    config.check().map_err(StartError::Config)?;
    let secrets = Secrets::open(&config).map_err(StartError::Config)?;
    let system = |what| move |cause| StartError::System { what, cause };
    let addresses = (
        doors.grpc.local_addr().map_err(system("the gRPC port"))?,
        doors.admin.local_addr().map_err(system("the admin port"))?,
        doors.http.local_addr().map_err(system("the REST port"))?,
        doors.gossip.as_ref().map(UdpSocket::local_addr).transpose(),
    );
    let gossip = addresses.3.map_err(system("the gossip port"))?;
    let place = Place::of(&config.store)?;
    let claim = place.claim()?;
    let store = Store::open(&place).await?;
    let first_key = first_key(&store, &secrets).await?;
    let (metrics, mut registry) = Metrics::new();
    let (writing, close) = (TaskTracker::new(), CancellationToken::new());
    let rest = close.child_token();
    let unfinished = close.clone().drop_guard();
    let tracker = Arc::new(Mutex::new(tracker(&config, &store).await?));
    let services = TaskTracker::new();
    let plane = match (doors.gossip, secrets.sealing) {
        (Some(socket), Some(keys)) => {
            let (signing, store) = (Arc::clone(&secrets.signing), store.clone());
            let issuers = secrets.issuers.clone();
            let parts = plane::Parts { config: &config, socket, keys, signing, issuers, store };
            let registry = registry.sub_registry_with_prefix("wcdn");
            let plane = Plane::start(parts, registry, &close, &services);
            Some(plane.map_err(system("the event plane"))?)
        }
        _ => None,
    };
    let most = Most { blocks: config.limits.max_blocks, pins: config.limits.max_pins };
    let log = Log::start(
        store.clone(),
        Arc::clone(&secrets.signing),
        Room { max_waiting: config.log.max_waiting, most },
        tell(&tracker, plane.clone()),
        Arc::clone(&metrics),
        close.clone(),
        &writing,
    )
    .await?;
    let registered = registry.sub_registry_with_prefix("wcdn");
    let jobs = Jobs::new(store.clone(), &config.gossip.node, services.clone(), rest.clone());
    let health = Monitor::start(&config, store.clone(), log.clone(), registered, &jobs);
    let issuer = secrets.signing.public();
    let password = secrets.limits_password.as_ref().map(Secret::expose);
    let limiter = Limiter::new(&config.limits, password);
    let limiter = Arc::new(limiter.map_err(|cause| StartError::Limits { cause })?);
    let counting = Arc::clone(&limiter);
    let resting = rest.clone();
    services.spawn(async move { counting.keep_connected(resting).await });
    let parts = Parts {
        plane,
        pepper: store.pepper().await?,
        hook_root: store.hook_root().await?,
        limiter: Arc::clone(&limiter),
        proxies: Proxies::new(&config.proxy),
        proxy_protocol: config.proxy.protocol,
        cors: Cors::new(&config.cors),
        key_grace: config.keys.grace.duration(),
        signing: Arc::clone(&secrets.signing),
        store,
        log,
        health,
        tracker,
        tokens: secrets.tokens,
        issuers: secrets.issuers,
        limits: config.limits.clone(),
        metrics,
        leaving: shutdown.clone(),
    };
    let plane = ControlPlane {
        grpc: addresses.0,
        admin: addresses.1,
        http: addresses.2,
        gossip,
        first_key,
        issuer,
        desk: Arc::new(Desk::new(parts)),
        limits: config.limits.clone(),
        serving: TaskTracker::new(),
        services,
        writing,
        refuse: CancellationToken::new(),
        rest,
        jobs,
        close,
        _claim: claim,
    };
    unfinished.disarm();
    plane.serve(&config, (doors.grpc, doors.http, doors.admin), secrets.tls, registry, shutdown);
    Ok(plane)
}

/// Makes sure that there is an API key. Returns it if it is new and was made here.
async fn first_key(store: &Store, secrets: &Secrets) -> Result<Option<ApiKey>, StoreError> {
    if let Some(key) = &secrets.fixed_key {
        // Another one of this name is of another start with another file: both are valid.
        let name = format!("{FIXED_KEY}-{}", key.id());
        store.add_key(&name, key, Scopes::ALL, &Author::program("configuration")).await?;
        return Ok(None);
    }
    if store.has_keys().await? {
        return Ok(None);
    }
    let key = ApiKey::generate();
    // Another control plane may have made the first one in this moment, and shown it.
    Ok(store
        .add_key(FIRST_KEY, &key, Scopes::ALL, &Author::program("first start"))
        .await?
        .then_some(key))
}

/// Knows the nodes of the last run, and waits for them in receipts that were not settled.
async fn tracker(config: &Config, store: &Store) -> Result<Tracker, StoreError> {
    let now = Instant::now();
    let (head, now_ms) = store.head_and_time().await?;
    let mut tracker = Tracker::new(config.receipts.windows(), head, store.nodes().await?, now);
    for change in store.unsettled(now_ms.saturating_sub(REOPEN_MS), MAX_REOPENED).await? {
        let age = Duration::from_millis(now_ms.saturating_sub(change.committed_at_ms));
        let since = now.checked_sub(age).unwrap_or(now);
        tracker.committed([change], head, since, now);
    }
    Ok(tracker)
}

/// Who hears of a commit before it is answered.
fn tell(tracker: &Arc<Mutex<Tracker>>, plane: Option<Plane>) -> Tell {
    let tracker = Arc::clone(tracker);
    Box::new(move |news| {
        // Before the frames leave: whoever confirms them must find them open.
        let changes = news.changes.iter().cloned();
        tracker.lock().committed(changes, news.head, news.since, Instant::now());
        let plane = plane.as_ref().filter(|_| !news.frames.is_empty());
        match plane {
            Some(plane) if news.is_own => plane.push(news.frames),
            Some(plane) => plane.learn(news.frames),
            None => {}
        }
    })
}

impl ControlPlane {
    fn serve(
        &self,
        config: &Config,
        (grpc, http, admin): (TcpListener, TcpListener, TcpListener),
        tls: Option<ServerTls>,
        registry: Registry,
        shutdown: CancellationToken,
    ) {
        let health = Health::new();
        let pages = admin::Admin::new(registry, health.clone());
        self.services.spawn(admin::serve(admin, pages, self.close.clone()));
        if let Some(plane) = &self.desk.plane {
            let following = plane.follow(Arc::clone(&self.desk.tracker));
            self.services.spawn(self.rest.clone().run_until_cancelled_owned(following));
        }
        self.services.spawn(chores::sweep(Arc::clone(&self.desk), self.rest.clone()));
        let (desk, log, audit) = (Arc::clone(&self.desk), config.log.clone(), config.audit.clone());
        self.jobs.run_as_singleton("prune", move |fence| {
            chores::prune(Arc::clone(&desk), log.clone(), audit.clone(), fence)
        });
        if let Some(ServerTls { certificates, .. }) = tls.clone() {
            self.services.spawn(certificates.keep_fresh(CERTIFICATES_EVERY, self.close.clone()));
        }
        let (desk, refuse) = (Arc::clone(&self.desk), self.refuse.clone());
        self.serving.spawn(rest::serve(desk, http, tls.clone(), refuse, self.serving.clone()));
        self.serving.spawn(serve(Arc::clone(&self.desk), grpc, tls, self.refuse.clone()));
        let (refuse, ending) = (self.refuse.clone(), self.desk.ending.clone());
        let delay = self.limits.drain_delay.duration();
        health.ready();
        self.services.spawn(async move {
            shutdown.cancelled().await;
            health.draining();
            tokio::time::sleep(delay).await;
            refuse.cancel();
            ending.cancel();
        });
        let head = self.desk.log.head();
        let detail = json!({
            "version": env!("CARGO_PKG_VERSION"), "node": config.gossip.node.to_string(),
            "position": format!("{}:{}", head.epoch, head.seq),
        });
        self.desk.audit.note(Draft::system("control_plane.start", "", detail));
        tracing::info!(
            grpc = %self.grpc, http = %self.http, admin = %self.admin, epoch = head.epoch, seq = head.seq,
            issuer_key = %self.issuer, "control plane serves"
        );
    }

    /// Where operators and edges are served.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// Where the REST API is.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the operator looks.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Where events go from, to edges.
    pub fn gossip_addr(&self) -> Option<SocketAddr> {
        self.gossip
    }

    /// The API key that was made because there was none.
    pub fn first_key(&self) -> Option<&ApiKey> {
        self.first_key.as_ref()
    }

    /// The public key that edges need, to know what this control plane signed.
    pub fn issuer_key(&self) -> IssuerKey {
        self.issuer
    }

    /// Waits for shutdown, then drains: readiness is given up at once, after a delay nothing new is
    /// accepted and streams end, calls under way may finish until the deadline, what was accepted is
    /// written. The admin port answers to the end.
    pub async fn join(self) {
        self.refuse.cancelled().await;
        let deadline = self.limits.drain_timeout.duration();
        let calls = drain::finish(&self.serving, deadline).await;
        if calls.cut > 0 {
            tracing::warn!(after = ?deadline, "drain deadline passed; connections cut");
        }
        self.desk.cut.cancel();
        drain::finish(&self.serving, Duration::from_secs(1)).await;
        drain::finish(&self.desk.tasks, Duration::from_secs(1)).await;
        self.rest.cancel();
        self.close.cancel();
        drain::finish(&self.writing, deadline).await;
        drain::finish(&self.services, Duration::from_secs(1)).await;
        drop(timeout(CLOSE, self.desk.store.close()).await);
        tracing::info!("control plane stopped");
    }
}

async fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    refuse: CancellationToken,
) {
    if let Err(error) = grpc::serve(desk, listener, tls, refuse).await {
        tracing::error!(error = &error as &dyn std::error::Error, "gRPC port closed");
    }
}
