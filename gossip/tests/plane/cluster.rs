//! A log in memory, and edges and issuers around it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{
    driver::{EdgePlane, EdgePlaneSettings, IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, IssuerKeys, SigningKey},
    membership::MembershipSettings,
    seal::{ClusterKey, ClusterKeys},
    seam::{Catchup, CatchupError, CaughtUp, Head, HeadError, Sink},
};
use wcdn_proto::{BlobId, Change, ContentId, Events, Position};

use crate::relay::Relay;

/// Waits until it holds; `what` names it should it not.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The events that were committed, by whatever issuer.
pub(crate) struct Log {
    key: Arc<SigningKey>,
    state: Mutex<State>,
    /// Whether it tells its head.
    pub(crate) tells_head: AtomicBool,
    /// How often it panics yet when it is read.
    pub(crate) panics: AtomicU64,
}

struct State {
    epoch: u64,
    /// Of the last event.
    seq: u64,
    frames: Vec<Frame>,
}

/// Notes that wait for whoever they are for.
pub(crate) const NOTES: usize = 4;

/// What an edge made true.
#[derive(Default)]
pub(crate) struct Applied {
    seqs: Mutex<BTreeSet<u64>>,
    events: AtomicU64,
    /// Nothing is kept while this is held.
    pub(crate) disk: tokio::sync::Mutex<()>,
    /// Whether it panics when something is to become true.
    pub(crate) is_broken: AtomicBool,
}

pub(crate) struct Issuer {
    /// Where others reach it.
    pub(crate) address: SocketAddr,
    /// Where its socket is.
    pub(crate) real: SocketAddr,
    pub(crate) plane: IssuerPlane,
    log: Arc<Log>,
    running: Running,
}

pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) real: SocketAddr,
    pub(crate) plane: EdgePlane,
    pub(crate) sink: Arc<Applied>,
    /// What other edges told it beside events.
    pub(crate) notes: mpsc::Receiver<Bytes>,
    registry: Registry,
    running: Running,
}

struct Running {
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Log {
    pub(crate) fn new(epoch: u64) -> Arc<Self> {
        let state = Mutex::new(State { epoch, seq: 0, frames: vec![] });
        Arc::new(Self {
            key: Arc::new(SigningKey::from_seed(&[5; 32])),
            state,
            tells_head: AtomicBool::new(true),
            panics: AtomicU64::new(0),
        })
    }

    /// Commits so many events.
    pub(crate) fn append(&self, events: usize) -> Vec<Frame> {
        self.append_all(vec![Change::Barrier; events])
    }

    fn append_all(&self, changes: Vec<Change>) -> Vec<Frame> {
        let mut state = self.state.lock();
        let first = Position { epoch: state.epoch, seq: state.seq + 1 };
        let events = changes.len() as u64;
        let frames = Frame::pack(&self.key, first, 0, changes);
        state.seq += events;
        state.frames.extend(frames.iter().cloned());
        frames
    }

    /// Begins a new epoch that knows of `seq` events, as restored from a backup.
    pub(crate) fn restore(&self, epoch: u64, seq: u64) {
        *self.state.lock() = State { epoch, seq, frames: vec![] };
    }
}

impl Head for Log {
    async fn head(&self) -> Result<Position, HeadError> {
        if !self.tells_head.load(Ordering::Relaxed) {
            return Err(HeadError("the store is locked".into()));
        }
        let state = self.state.lock();
        Ok(Position { epoch: state.epoch, seq: state.seq })
    }
}

impl Catchup for Log {
    async fn catch_up(&self, after: Position) -> Result<CaughtUp, CatchupError> {
        let panics = self
            .panics
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(panics.is_err(), "a fault in reading the log");
        let state = self.state.lock();
        let first = state.frames.first().map_or(state.seq + 1, |frame| frame.first().seq);
        if after.epoch != state.epoch || after.seq + 1 < first {
            return Ok(CaughtUp::Snapshot(Position { epoch: state.epoch, seq: state.seq }));
        }
        let frames = state.frames.iter().filter(|frame| frame.last().seq > after.seq);
        let frames: Vec<Bytes> = frames.map(|frame| frame.encoded().clone()).collect();
        Ok(CaughtUp::Frames(frames))
    }
}

impl Sink for Applied {
    fn apply(&self, events: &Events) {
        assert!(!self.is_broken.load(Ordering::Relaxed), "the sink is broken");
        self.seqs.lock().extend(events.iter().map(|(position, _)| position.seq));
        self.events.fetch_add(events.changes.len() as u64, Ordering::Relaxed);
    }

    async fn keep(&self) {
        let _working = self.disk.lock().await;
    }
}

impl Applied {
    pub(crate) fn seqs(&self) -> BTreeSet<u64> {
        self.seqs.lock().clone()
    }

    /// How often an event was applied, all together.
    pub(crate) fn applied(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

pub(crate) fn settings(name: &str, advertise: SocketAddr, seeds: &[SocketAddr]) -> PlaneSettings {
    let (node, region) = (name.parse().unwrap(), "here".parse().unwrap());
    let mut membership = MembershipSettings::new("test", node, region, advertise);
    membership.seeds = seeds.iter().map(ToString::to_string).collect();
    membership.interval = Duration::from_millis(100);
    PlaneSettings { membership, keys: keys(1, None) }
}

pub(crate) fn keys(current: u8, also: Option<u8>) -> ClusterKeys {
    let key = |n| ClusterKey::new([n; 32]);
    ClusterKeys { current: key(current), also: also.map(key) }
}

/// A socket, where it is, and where others reach it.
async fn door(relay: Option<&Relay>) -> (UdpSocket, SocketAddr, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let real = socket.local_addr().unwrap();
    let address = match relay {
        Some(relay) => relay.front(real).await,
        None => real,
    };
    (socket, real, address)
}

impl Issuer {
    pub(crate) async fn start(log: &Arc<Log>, seeds: &[SocketAddr], relay: Option<&Relay>) -> Self {
        Self::named("issuer", log, seeds, relay, keys(1, None)).await
    }

    pub(crate) async fn named(
        name: &str,
        log: &Arc<Log>,
        seeds: &[SocketAddr],
        relay: Option<&Relay>,
        keys: ClusterKeys,
    ) -> Self {
        let (socket, real, address) = door(relay).await;
        let plane = PlaneSettings { keys, ..settings(name, address, seeds) };
        let settings = IssuerPlaneSettings::new(plane, log.key.clone());
        let running = Running::new();
        let plane = IssuerPlane::start(
            settings,
            socket,
            log.clone(),
            &mut Registry::with_prefix("wcdn"),
            running.shutdown.clone(),
            running.tasks.clone(),
        );
        Self { address, real, plane, log: log.clone(), running }
    }

    /// Commits so many events, and publishes them.
    pub(crate) fn commit(&self, events: usize) {
        self.plane.publish(self.log.append(events));
    }

    /// Commits a block.
    pub(crate) fn block(&self) {
        let id = ContentId::Blob(BlobId::from_bytes([7; 32]));
        self.plane.publish(self.log.append_all(vec![Change::Block(vec![id])]));
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

impl Edge {
    pub(crate) async fn start(
        n: usize,
        log: &Arc<Log>,
        start: Position,
        seeds: &[SocketAddr],
        relay: Option<&Relay>,
    ) -> Self {
        let (socket, real, address) = door(relay).await;
        let plane = settings(&format!("edge-{n}"), address, seeds);
        let edge = Self::on(socket, real, plane, log, start);
        eventually("it has read the log", || edge.plane.applied() != Position::ORIGIN).await;
        edge
    }

    /// With other keys than the rest.
    pub(crate) async fn keyed(
        n: usize,
        log: &Arc<Log>,
        seeds: &[SocketAddr],
        keys: ClusterKeys,
    ) -> Self {
        let (socket, real, address) = door(None).await;
        let plane = PlaneSettings { keys, ..settings(&format!("edge-{n}"), address, seeds) };
        Self::on(socket, real, plane, log, Position::ORIGIN)
    }

    /// With settings of one's own; others reach it wherever these say.
    pub(crate) async fn with(plane: PlaneSettings, log: &Arc<Log>, start: Position) -> Self {
        let (socket, real, _) = door(None).await;
        Self::on(socket, real, plane, log, start)
    }

    fn on(
        socket: UdpSocket,
        real: SocketAddr,
        plane: PlaneSettings,
        log: &Arc<Log>,
        start: Position,
    ) -> Self {
        let (name, address) = (plane.membership.node.to_string(), plane.membership.advertise);
        let keys = IssuerKeys::new(vec![log.key.public()]);
        let mut settings = EdgePlaneSettings::new(plane, keys, start.seq + 1);
        settings.start = start;
        let (notes_in, notes) = mpsc::channel(NOTES);
        settings.notes = Some(notes_in);
        let (sink, running) = (Arc::<Applied>::default(), Running::new());
        let mut registry = Registry::with_prefix("wcdn");
        let plane = EdgePlane::start(
            settings,
            socket,
            sink.clone(),
            log.clone(),
            &mut registry,
            running.shutdown.clone(),
            running.tasks.clone(),
        );
        Self { name, address, real, plane, sink, notes, registry, running }
    }

    /// The sum of a counter over the series that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let wanted = |line: &&str| {
            (line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")))
                && labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        text.lines().filter(wanted).map(value).sum()
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

impl Running {
    fn new() -> Self {
        Self { tasks: TaskTracker::new(), shutdown: CancellationToken::new() }
    }

    async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        timeout(Duration::from_secs(10), self.tasks.wait()).await.expect("all tasks end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
