//! A node's cache and fills, the peer to whom every blob belongs, and an origin.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::StreamBody;
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use wcdn_gossip::member::{Member, Role};
use wcdn_proto::{BlobId, Position};
use wcdn_walrus::{Encoding, HttpClient, HttpOptions, blob_id};

use super::origin::Origin;
use crate::{
    cache::{
        Cache,
        entry::{Entry, Key, Level, Part},
        fill::{Fills, Had, Means, Ready, Want, error::FillError},
    },
    config::{Config, OriginSpec},
    edge::{
        clients::{Clients, Payer},
        response::Source,
    },
    events::{Follows, Lease, Log},
    metrics::{Checked, Metrics},
    origin::Pool,
    peer::{
        Peers,
        attestation::{Attestation, Voucher},
        notes::Notes,
        ring::RingNode,
        tls,
        view::View,
        wire::{self, Ask, Found, Refusal},
    },
    verify::Verifier,
};

pub(super) const KEY: [u8; 32] = [7; 32];

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn encoding() -> Encoding {
    Encoding::new(10).unwrap()
}

/// A blob, and its id.
pub(super) fn blob(seed: u8, length: usize) -> (BlobId, Bytes) {
    let body: Bytes = (0..length).map(|n| (n * 31 + n / 251).to_le_bytes()[0] ^ seed).collect();
    (blob_id(encoding(), std::slice::from_ref(&body)).unwrap(), body)
}

/// What a peer does with a request.
pub(super) enum Reply {
    /// It says this of bytes, and gives them; then what it vouches for.
    Found(Found, Pieces, Option<HeaderMap>),
    Refused(Refusal),
    /// Nothing at all.
    Nothing,
    /// The other, once this is so.
    Once(Box<dyn Fn() -> bool + Send>, Box<Self>),
}

/// What comes of a body.
pub(super) type Pieces = Vec<Piece>;

#[derive(Clone)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// The connection stands still.
    Stall,
    /// The body breaks off.
    Break,
}

type Body =
    StreamBody<Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, String>> + Send>>>;

/// A peer, and what it was asked.
pub(super) struct FakePeer {
    pub(super) address: SocketAddr,
    pub(super) asked: Arc<Mutex<Vec<Ask>>>,
}

impl FakePeer {
    pub(super) async fn start(
        tasks: &TaskTracker,
        answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Ask>>>::default());
        let acceptor = TlsAcceptor::from(tls::configs(&KEY, None).unwrap().1);
        let (answer, asks, conversing) = (Arc::new(answer), Arc::clone(&asked), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, asks) = (acceptor.clone(), answer.clone(), asks.clone());
                let executor = crate::edge::Tasks::on(&conversing);
                conversing.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (ask, _) = Ask::of_request(&request.into_parts().0).unwrap();
                        let reply = answer(&ask);
                        asks.lock().push(ask);
                        response(reply)
                    });
                    let serving = http2::Builder::new(executor)
                        .serve_connection(TokioIo::new(stream), service);
                    drop(serving.await);
                });
            }
        });
        Self { address, asked }
    }
}

async fn response(mut reply: Reply) -> Result<Response<Body>, Infallible> {
    let empty = || StreamBody::new(stream::empty().boxed());
    while let Reply::Once(is_so, then) = reply {
        while !is_so() {
            tokio::task::yield_now().await;
        }
        reply = *then;
    }
    Ok(match reply {
        Reply::Nothing | Reply::Once(..) => std::future::pending().await,
        Reply::Refused(refusal) => {
            let mut response = Response::new(empty());
            *response.status_mut() = refusal.status();
            refusal.write(response.headers_mut());
            response
        }
        Reply::Found(found, pieces, trailers) => {
            let pieces = stream::iter(pieces).then(|piece| async move {
                match piece {
                    Piece::Bytes(bytes) => Ok(Frame::data(bytes)),
                    Piece::Stall => std::future::pending().await,
                    Piece::Break => Err("broken off".to_owned()),
                }
            });
            let trailers = stream::iter(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            let mut response = Response::new(StreamBody::new(pieces.chain(trailers).boxed()));
            found.write(response.headers_mut());
            response
        }
    })
}

/// What an honest peer says of a blob that it has.
pub(super) fn found(body: &Bytes) -> Found {
    let (total, age) = (body.len() as u64, Duration::from_secs(5));
    Found { total, token: at(1, 0), age, source: Source::Memory }
}

/// What a peer vouches for by `key`.
pub(super) fn vouched(key: &[u8; 32], id: &BlobId, body: &Bytes) -> Option<HeaderMap> {
    let (length, digest) = (body.len() as u64, blake3::hash(body));
    let attestation = Attestation { level: Level::Full, length, token: at(1, 0), digest };
    Some(wire::trailers(&Voucher::new(key, None).seal(id, &attestation)))
}

/// What a node of another region tells of a blob that it checked.
pub(super) fn note(id: &BlobId, body: &Bytes) -> Vec<u8> {
    let (length, digest) = (body.len() as u64, blake3::hash(body));
    let attestation = Attestation { level: Level::Full, length, token: at(1, 0), digest };
    [&id.as_bytes()[..], &Voucher::new(&KEY, None).seal(id, &attestation)].concat()
}

/// The rest of a body in pieces.
pub(super) fn rest(body: &Bytes, from: u64) -> Pieces {
    let rest = body.slice(usize::try_from(from).unwrap()..);
    rest.chunks(10_000).map(|piece| Piece::Bytes(Bytes::copy_from_slice(piece))).collect()
}

/// A peer that has a blob and vouches for it.
pub(super) fn honest(id: BlobId, body: Bytes) -> impl Fn(&Ask) -> Reply + Send + Sync + 'static {
    move |ask| Reply::Found(found(&body), rest(&body, ask.start), vouched(&KEY, &id, &body))
}

/// A node, without its doors.
pub(super) struct Scene {
    pub(super) log: Arc<Log>,
    pub(super) cache: Arc<Cache>,
    pub(super) fills: Fills,
    pub(super) peers: Peers,
    pub(super) notes: Notes,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: Config,
    pub(super) tasks: TaskTracker,
    clients: Clients,
    _shutdown: DropGuard,
}

/// What a viewer gets of a fill.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) entry: Arc<Entry>,
    pub(super) source: Source,
}

impl Got {
    pub(super) fn level(&self) -> Level {
        self.entry.record().level
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.entry.slices().concat().into()
    }
}

/// The name of a node to which a blob belongs rather than to `me`.
fn owner_of(id: &BlobId, me: &RingNode) -> String {
    let names = (0..).map(|n| format!("peer-{n}"));
    let view = |name: &str| {
        let view = View::new("here".parse().unwrap(), me.clone());
        view.see(&[member(name, None)], Instant::now());
        view
    };
    let mut names = names.filter(|name| view(name).owners(id)[0].node.as_str() == name.as_str());
    names.next().unwrap()
}

fn member(name: &str, peer: Option<SocketAddr>) -> Member {
    Member {
        node: name.parse().unwrap(),
        region: "here".parse().unwrap(),
        address: ([127, 0, 0, 1], 9).into(),
        peer,
        role: Role::Edge,
        is_live: true,
    }
}

impl Scene {
    /// A node that reads `id` through the peer at an address, and else from an origin that has `body`.
    pub(super) async fn new(id: &BlobId, body: Bytes, peer: SocketAddr) -> (Self, Origin) {
        Self::with(id, body, peer, |_| {}).await
    }

    pub(super) async fn with(
        id: &BlobId,
        body: Bytes,
        peer: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> (Self, Origin) {
        let tasks = TaskTracker::new();
        let origin = Origin::start(&tasks, body).await;
        let mut config = Config::default();
        config.node.region = "here".parse().unwrap();
        config.verify.recheck = 0.0;
        config.peer.connect_timeout = wcdn_proto::Span::secs(5);
        change(&mut config);
        let scene = Self::of(config, id, peer, &origin, tasks);
        (scene, origin)
    }

    fn of(
        config: Config,
        id: &BlobId,
        peer: SocketAddr,
        origin: &Origin,
        tasks: TaskTracker,
    ) -> Self {
        let (metrics, _) = Metrics::new("test", "test");
        let (metrics, shutdown) = (Arc::new(metrics), CancellationToken::new());
        let lease = Lease { window: Duration::from_secs(60), is_strict: false };
        let log = Arc::new(Log::new(Follows::Log(lease), None, Arc::clone(&metrics.events)));
        // As if it had caught up with a log in which nothing was removed.
        log.removed.begin(1);
        log.positions.head(at(1, 0));
        log.positions.advance(at(1, 0));
        log.begin();
        let cache = Arc::new(Cache::new(&config.cache, true, Arc::clone(&log)));
        let me = RingNode { node: config.node.id.clone(), gossip: peer, peer: Some(peer) };
        let owner = owner_of(id, &me);
        let view = View::new(config.node.region.clone(), me);
        assert!(view.see(&[member(&owner, Some(peer))], Instant::now()));
        let (client, _) = tls::configs(&KEY, None).unwrap();
        let voucher = Arc::new(Voucher::new(&KEY, None));
        let counted = &metrics.peer;
        let peers =
            Peers::new(&config, view, client, voucher, counted, tasks.clone(), shutdown.clone());
        peers.look();
        let (notes, _) =
            Notes::new(Arc::new(Voucher::new(&KEY, None)), Arc::clone(&log), counted.clone());
        let http = HttpClient::new(HttpOptions::default());
        let spec = OriginSpec::new("o".parse().unwrap(), origin.url.parse().unwrap());
        let means = Means {
            cache: Arc::clone(&cache),
            pool: Pool::new(vec![spec], &http, config.fetch.clone(), &metrics),
            redis: None,
            peers: Some(peers.clone()),
            notes: Some(notes.clone()),
            verifier: Verifier::start(&config.verify, encoding(), &metrics).unwrap(),
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        };
        let fills = Fills::new(&config, encoding(), means);
        let clients = Clients::new(&config.limits);
        let _shutdown = shutdown.drop_guard();
        Self { log, cache, fills, peers, notes, metrics, config, tasks, clients, _shutdown }
    }

    pub(super) fn payer(&self) -> Payer {
        self.clients.payer(Ipv4Addr::LOCALHOST.into())
    }

    /// The whole blob, as a viewer has it.
    pub(super) async fn get(&self, id: BlobId) -> Result<Got, Arc<FillError>> {
        let key = Key { id, part: Part::Whole };
        match self.fills.have(key, None, &self.payer(), Want::Whole, PATIENCE).await? {
            Had::Hit(entry) => Ok(Got { entry, source: Source::Memory }),
            Had::Filled { ready: Ready::Entry(entry, source), .. } => Ok(Got { entry, source }),
            Had::Filled { ready, .. } => panic!("it is no whole blob: {ready:?}"),
        }
    }

    /// Checks of bytes that found this.
    pub(super) fn checks(&self, result: &'static str) -> u64 {
        self.metrics.verified.get_or_create(&Checked { result }).get()
    }

    /// Removes a blob at this place of the log.
    pub(super) fn purge(&self, id: BlobId, at: Position) {
        self.log.positions.hear(at);
        self.log.removed.remove(&[id], at);
        self.cache.remove_all_of(&id);
        self.fills.forget(&[id]);
    }

    /// Whether the peer is asked now.
    pub(super) fn asks_peers(&self, id: BlobId) -> bool {
        !self.peers.route(&Key { id, part: Part::Whole }).is_empty()
    }
}
