//! A node's cache and fills before an origin whose blobs change, which blobs never do: so that what
//! is served tells when it was fetched.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::yield_now,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use wcdn_walrus::{Encoding, HttpClient, HttpOptions, blob_id};

use super::super::*;
use crate::{
    cache::{
        Lookup,
        entry::{Entry, Key, Level, Part, Record, cost},
        fill::Means,
        redis::{Redis, record::Attestor},
    },
    config::{Config, Mode, OriginSpec},
    edge::{
        clients::{Clients, Payer},
        media::MediaType,
        validator,
    },
    events::{Follows, Lease, outcome::Outcomes},
    metrics::Metrics,
    origin::Pool,
    secrets::Secrets,
    verify::Verifier,
};

pub(super) fn id(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

pub(super) fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

pub(super) fn events(first: Position, changes: Vec<Change>) -> Events {
    Events { first, committed_at_ms: 0, changes }
}

/// An origin whose every blob is the present version, again and again.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) url: String,
    pub(super) version: Arc<AtomicU64>,
}

/// Bytes of every blob: several pieces.
pub(super) const LENGTH: usize = 48 << 10;

fn encoding() -> Encoding {
    Encoding::new(10).unwrap()
}

/// The id that the bytes of a version really have.
pub(super) fn id_of(version: u64) -> BlobId {
    blob_id(encoding(), &[body(version)]).unwrap()
}

fn body(version: u64) -> Bytes {
    version.to_le_bytes().repeat(LENGTH / 8).into()
}

/// The version that bytes are of; they must be of one.
pub(super) fn version(bytes: &[u8]) -> u64 {
    let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, body(first), "bytes of one fetch");
    first
}

impl Origin {
    pub(super) async fn start(tasks: &TaskTracker) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let version = Arc::new(AtomicU64::new(0));
        let (versions, answering) = (Arc::clone(&version), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answering.spawn(answer(stream, Arc::clone(&versions)));
            }
        });
        Self { url, version }
    }
}

/// Answers with what is true when the request has come, slowly.
async fn answer(mut stream: TcpStream, version: Arc<AtomicU64>) {
    let mut request = [0; 4096];
    let mut got = 0;
    while !request[..got].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[got..]).await {
            Ok(0) | Err(_) => return,
            Ok(more) => got += more,
        }
    }
    let body = body(version.load(SeqCst));
    yield_now().await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\nconnection: close\r\n\r\n");
    let mut is_sent = stream.write_all(head.as_bytes()).await.is_ok();
    for piece in body.chunks(LENGTH / 4) {
        yield_now().await;
        is_sent = is_sent && stream.write_all(piece).await.is_ok();
    }
}

/// A node, without its doors.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) log: Arc<Log>,
    pub(super) cache: Arc<Cache>,
    pub(super) fills: Fills,
    pub(super) applier: Applier,
    pub(super) outcomes: Arc<Outcomes>,
    clients: Clients,
    _shutdown: DropGuard,
}

/// What a scene is made of.
pub(super) struct Parts<'a> {
    pub(super) follows: Follows,
    pub(super) origin: &'a str,
    pub(super) redis: Option<&'a str>,
    pub(super) disk: Option<&'a Path>,
    /// Whether bytes are checked against their id.
    pub(super) checks: bool,
}

/// The head counts as confirmed for this long.
pub(super) const LEASE: Lease = Lease { window: Duration::from_secs(5), is_strict: false };

/// Nobody is there.
const NOWHERE: &str = "http://127.0.0.1:9";

impl Scene {
    pub(super) async fn new() -> Self {
        Self::following(Follows::None).await
    }

    pub(super) async fn following(follows: Follows) -> Self {
        Self::of(&Parts { follows, origin: NOWHERE, redis: None, disk: None, checks: false }).await
    }

    pub(super) async fn with_disk(dir: &Path) -> Self {
        let follows = Follows::Log(LEASE);
        Self::of(&Parts { follows, origin: NOWHERE, redis: None, disk: Some(dir), checks: false })
            .await
    }

    pub(super) async fn of(parts: &Parts<'_>) -> Self {
        let mut config = Config::default();
        if !parts.checks {
            config.verify.mode = Mode::Off;
        }
        config.verify.workers = 1;
        config.limits.misses_per_client = 0;
        config.redis.timeout = wcdn_proto::Span::secs(5);
        config.redis.urls.extend(parts.redis.map(str::to_owned));
        let encoding = encoding();
        let (metrics, _) = Metrics::new("test", "test");
        let metrics = Arc::new(metrics);
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let log = Arc::new(Log::new(parts.follows, None, Arc::clone(&metrics.events)));
        // As if events had come before.
        log.removed.begin(1);
        log.positions.hear(at(1, 0));
        let cache = Arc::new(Cache::new(&config.cache, parts.checks, Arc::clone(&log)));
        let redis = match parts.redis {
            Some(_) => Some(redis(&config, &log, &metrics, &tasks, &shutdown).await),
            None => None,
        };
        let http = HttpClient::new(HttpOptions::default());
        let origin = OriginSpec::new("o".parse().unwrap(), parts.origin.parse().unwrap());
        let means = Means {
            cache: Arc::clone(&cache),
            pool: Pool::new(vec![origin], &http, config.fetch.clone(), &metrics),
            redis: redis.clone(),
            peers: None,
            notes: None,
            verifier: Verifier::start(&config.verify, encoding, &metrics).unwrap(),
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        };
        let fills = Fills::new(&config, encoding, means);
        let outcomes = Arc::new(Outcomes::new(Arc::clone(&metrics.events)));
        let removals = redis.map(|redis| {
            let (cache, outcomes) = (Arc::clone(&cache), Arc::clone(&outcomes));
            RedisRemovals::start(redis, cache, outcomes, &tasks, shutdown.clone())
        });
        let disk = parts.disk.map(|dir| {
            let node = "edge-1".parse().unwrap();
            Arc::new(Disk::open(dir, &node, Arc::default()).unwrap().0)
        });
        let (all, told) = (fills.clone(), Arc::clone(&outcomes));
        let applier = Applier::new(all, Arc::clone(&cache), removals, disk, told);
        let clients = Clients::new(&config.limits);
        Self { log, cache, fills, applier, outcomes, clients, _shutdown: shutdown.drop_guard() }
    }

    pub(super) fn payer(&self) -> Payer {
        self.clients.payer(Ipv4Addr::LOCALHOST.into())
    }

    pub(super) fn lookup(&self, id: BlobId, part: Part) -> Lookup {
        self.cache.lookup(&Key { id, part })
    }

    pub(super) fn admit(&self, id: BlobId, part: Part, token: Position) {
        let record = Record {
            length: 1,
            total: 1,
            media: MediaType::OCTET_STREAM,
            level: Level::Full,
            digest: blake3::hash(b"x"),
            token,
            inserted: SystemTime::now(),
        };
        let held = self.cache.reserve(cost(1)).unwrap();
        let body = vec![Bytes::from_static(b"x")];
        let entry = Entry::new(record, validator::etag(&id), body, held);
        self.cache.admit(Key { id, part }, Arc::new(entry));
    }
}

async fn redis(
    config: &Config,
    log: &Arc<Log>,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Redis {
    let settings = config.redis.settings(&Secrets::read(&Config::default()).unwrap(), true);
    let (attestor, log, metrics) =
        (Attestor::new(&[7; 32], None), Arc::clone(log), Arc::clone(&metrics.redis));
    let redis = Redis::start(settings, attestor, log, metrics, tasks.clone(), shutdown.clone());
    redis.settled().await;
    redis
}

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
