//! The event plane of an edge.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};
use wcdn_proto::Position;

use super::{
    PlaneSettings, clock,
    wiring::{BATCH, Up, Wiring, until},
};
use crate::{
    edge_brain::{Action, EdgeBrain, EdgeCounts, EdgeSettings, EdgeTiming, Input},
    frame::IssuerKeys,
    member::Role,
    membership::Members,
    message::Message,
    metrics::{CatchUpResult, GossipMetrics, Plane},
    positions::Positions,
    ring::RingSize,
    seal::Rejection,
    seam::{Catchup, CaughtUp, Sink},
    socket::SealedSocket,
};

/// How long the log may take to answer. A snapshot is about 10 MB.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// What an edge's plane needs to know.
#[derive(Debug, Clone)]
pub struct EdgePlaneSettings {
    /// What every plane needs to know.
    pub plane: PlaneSettings,
    /// Of this start of the node: larger than any before.
    pub incarnation: u64,
    /// Whether the node stops serving when it cannot confirm the head in time.
    pub is_strict: bool,
    /// How long the head counts as confirmed: issuers wait for as long before they say that the node
    /// has stopped. 5 s.
    pub lease: Duration,
    /// Whose frames it believes.
    pub issuer_keys: IssuerKeys,
    /// What is applied already: from disk, else [`Position::ORIGIN`].
    pub start: Position,
    /// How many frames it keeps for others.
    pub ring: RingSize,
    /// When it does what.
    pub timing: EdgeTiming,
    /// Where notes of other edges go; what finds no room is lost.
    pub notes: Option<mpsc::Sender<Bytes>>,
}

/// A running plane. Cheap to clone; it ends with its shutdown token.
#[derive(Debug, Clone)]
pub struct EdgePlane {
    positions: Arc<Positions>,
    members: watch::Receiver<Members>,
    hint: Arc<watch::Sender<Position>>,
    socket: Arc<SealedSocket>,
}

struct Driver<S, C> {
    brain: EdgeBrain,
    wiring: Wiring,
    sink: Arc<S>,
    catchup: Arc<C>,
    positions: Arc<Positions>,
    /// What other ways than membership say of the head.
    hint: watch::Receiver<Position>,
    /// The reading of the log under way.
    reading: Option<JoinHandle<Option<CaughtUp>>>,
    notes: Option<mpsc::Sender<Bytes>>,
    /// The writing under way of what was blocked; `None` from it if the process leaves.
    keeping: Option<JoinHandle<Option<()>>>,
    counted: EdgeCounts,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl EdgePlaneSettings {
    /// Of a node that begins with nothing, and is not strict.
    pub fn new(plane: PlaneSettings, issuer_keys: IssuerKeys, incarnation: u64) -> Self {
        Self {
            plane,
            incarnation,
            is_strict: false,
            lease: Duration::from_secs(5),
            issuer_keys,
            start: Position::ORIGIN,
            ring: RingSize::default(),
            timing: EdgeTiming::default(),
            notes: None,
        }
    }
}

impl EdgePlane {
    /// Starts the plane of an edge on a bound socket. Its tasks run on `tasks` until `shutdown`.
    pub fn start(
        settings: EdgePlaneSettings,
        socket: UdpSocket,
        sink: Arc<impl Sink>,
        catchup: Arc<impl Catchup>,
        registry: &mut Registry,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let metrics = GossipMetrics::register(registry);
        let positions = Arc::new(Positions::new(settings.start));
        let EdgePlaneSettings { plane, start, .. } = &settings;
        let (told, start) = (positions.clone(), *start);
        let wiring = Wiring::start(plane, Role::Edge, socket, told, metrics, &shutdown, &tasks);
        let hint = Arc::new(watch::Sender::new(start));
        let running = Self {
            positions: positions.clone(),
            members: wiring.members.clone(),
            hint: hint.clone(),
            socket: wiring.socket.clone(),
        };
        let notes = settings.notes.clone();
        let rng = StdRng::from_rng(&mut rand::rng());
        let driver = Driver {
            brain: EdgeBrain::new(settings.brain(), rng, clock::now()),
            wiring,
            sink,
            catchup,
            positions,
            hint: hint.subscribe(),
            reading: None,
            notes,
            keeping: None,
            counted: EdgeCounts::default(),
            shutdown,
            tasks: tasks.clone(),
        };
        tasks.spawn(driver.run());
        running
    }

    /// Every event up to here is true in the sink.
    pub fn applied(&self) -> Position {
        self.positions.applied()
    }

    /// The same whenever it changes.
    pub fn watch_applied(&self) -> watch::Receiver<Position> {
        self.positions.watch()
    }

    /// The highest position that a signature vouched for: what is fetched from an origin from now on
    /// is newer than every event up to here.
    pub fn known(&self) -> Position {
        self.positions.known()
    }

    /// The encoded frame of the highest position that was opened since the start, by a push, a repair
    /// or the log: it proves that so much was committed.
    pub fn newest(&self) -> Option<Bytes> {
        self.positions.newest()
    }

    /// How long ago everything that was committed by then is applied by now; `None` if the head was
    /// never confirmed.
    pub fn confirmed_ago(&self) -> Option<Duration> {
        self.positions.confirmed().map(|at| clock::now().saturating_sub(at))
    }

    /// Who is known, this node included.
    pub fn members(&self) -> Members {
        self.members.borrow().clone()
    }

    /// The same whenever it changes.
    pub fn watch_members(&self) -> watch::Receiver<Members> {
        self.members.clone()
    }

    /// Tells the edge at an address something beside events, if that arrives. Longer notes than
    /// [`MAX_NOTE`](crate::message::MAX_NOTE) do not.
    pub async fn note(&self, to: SocketAddr, content: Bytes) {
        self.socket.send(Plane::Event, &Message::Note(content).encode(), to).await;
    }

    /// Says that there is this much, as a session does; it is a reason to ask, not believed.
    pub fn hint(&self, head: Position) {
        self.hint.send_if_modified(|before| {
            let is_more = *before < head;
            *before = head.max(*before);
            is_more
        });
    }
}

impl EdgePlaneSettings {
    fn brain(self) -> EdgeSettings {
        let membership = self.plane.membership;
        EdgeSettings {
            node: membership.node,
            region: membership.region,
            incarnation: self.incarnation,
            is_strict: self.is_strict,
            lease: self.lease,
            keys: self.issuer_keys,
            start: self.start,
            ring: self.ring,
            timing: self.timing,
        }
    }
}

impl<S: Sink, C: Catchup> Driver<S, C> {
    async fn run(mut self) {
        let _up = Up::new(self.wiring.metrics.clone(), self.shutdown.clone());
        let mut batch = Vec::with_capacity(BATCH);
        let shutdown = self.shutdown.clone();
        loop {
            let Wiring { events, members, head_hint, .. } = &mut self.wiring;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                read = finished(&mut self.reading) => {
                    self.reading = None;
                    self.take(Input::CaughtUp(self.result(read))).await;
                }
                kept = finished(&mut self.keeping) => {
                    self.keeping = None;
                    match kept {
                        Ok(Some(())) => self.take(Input::Kept).await,
                        Ok(None) => {}
                        Err(error) => {
                            error!(%error, "keeping what is blocked failed");
                            return;
                        }
                    }
                }
                Ok(()) = members.changed() => {
                    let members = members.borrow_and_update().to_vec();
                    self.take(Input::Members(members)).await;
                }
                Ok(()) = head_hint.changed() => {
                    let head = *head_hint.borrow_and_update();
                    self.take(Input::Hint(head)).await;
                }
                Ok(()) = self.hint.changed() => {
                    let head = *self.hint.borrow_and_update();
                    self.take(Input::Hint(head)).await;
                }
                received = events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        // The socket is gone.
                        return;
                    }
                    for datagram in batch.drain(..) {
                        match self.wiring.decode(datagram) {
                            Some((_, Message::Note(content))) => self.hand_on(content),
                            Some((from, message)) => {
                                self.take(Input::Received { from, message }).await;
                            }
                            None => {}
                        }
                    }
                }
                // Last: a deadline that has passed must not keep others from their turn.
                () = until(self.brain.deadline()) => {}
            }
            self.take(Input::Tick).await;
        }
    }

    /// Does what the brain says, in its order, and only then tells what has become true.
    ///
    /// Timers run with [`Input::Tick`] only, so once after a batch.
    async fn take(&mut self, input: Input) {
        let (is_tick, now) = (matches!(input, Input::Tick), clock::now());
        let brain = &mut self.brain;
        for action in if is_tick { brain.handle(input, now) } else { brain.take_in(input, now) } {
            match action {
                Action::Send { to, message } => self.wiring.send(to, &message).await,
                Action::Apply(frame) => self.sink.apply(frame.events()),
                Action::Keep => self.keep(),
                Action::CatchUp { after } => self.catch_up(after),
            }
        }
        self.publish();
    }

    fn hand_on(&self, note: Bytes) {
        if let Some(notes) = &self.notes
            && notes.try_send(note).is_err()
        {
            self.wiring.metrics.reject(Rejection::Overflow);
        }
    }

    fn keep(&mut self) {
        let (sink, shutdown) = (self.sink.clone(), self.shutdown.clone());
        self.keeping =
            Some(self.tasks.spawn(async move { shutdown.run_until_cancelled(sink.keep()).await }));
    }

    fn catch_up(&mut self, after: Position) {
        let (catchup, shutdown) = (self.catchup.clone(), self.shutdown.clone());
        self.reading = Some(self.tasks.spawn(async move {
            let read = timeout(CATCH_UP_TIMEOUT, catchup.catch_up(after));
            match shutdown.run_until_cancelled(read).await? {
                Ok(Ok(caught_up)) => Some(caught_up),
                Ok(Err(error)) => {
                    warn!(error = &error as &dyn std::error::Error, "cannot catch up");
                    None
                }
                Err(_) => {
                    warn!("catching up took too long");
                    None
                }
            }
        }));
    }

    fn result(&self, read: Result<Option<CaughtUp>, JoinError>) -> Option<CaughtUp> {
        let caught_up = read.unwrap_or_else(|error| {
            error!(%error, "catching up failed");
            None
        });
        self.wiring.metrics.caught_up(match caught_up {
            Some(CaughtUp::Frames(_)) => CatchUpResult::Frames,
            Some(CaughtUp::Snapshot(_)) => CatchUpResult::Snapshot,
            None => CatchUpResult::Failed,
        });
        caught_up
    }

    fn publish(&mut self) {
        let (applied, known) = (self.brain.applied(), self.brain.known());
        self.positions.advance(applied, known);
        self.positions.prove(self.brain.newest());
        self.positions.confirm(self.brain.confirmed());
        let metrics = &self.wiring.metrics;
        metrics.applied_seq.set(applied.seq);
        metrics.known_seq.set(known.seq);
        let counts = self.brain.counts();
        if counts != self.counted {
            metrics.add_edge(self.counted, counts);
            self.counted = counts;
        }
    }
}

/// # Cancel safety
/// Safe: the task goes on.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}
