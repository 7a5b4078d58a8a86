//! The event plane of an issuer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
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
    frame::{Frame, IssuerKeys, SigningKey},
    issuer_brain::{
        Action, Heard, Input, IssuerBrain, IssuerCounts, IssuerSettings, IssuerTiming, NodeStatus,
    },
    member::Role,
    membership::Members,
    metrics::GossipMetrics,
    positions::Positions,
    receipts::NodeProgress,
    ring::RingSize,
    seam::Head,
    socket::Received,
    time::Time,
};

/// Commits that wait for the driver.
const MAX_COMMITS: usize = 256;

/// Reports of sessions that wait for the driver.
const MAX_HEARD: usize = 4_096;

/// Polls that wait for the head to be read: one of each node that is known.
const MAX_POLLS: usize = 10_000;

/// Leases signed, at about 20 µs each, before others get a turn.
const LEASES: usize = 64;

/// Datagrams, mostly acks, given to the brain before timers get a turn.
const ACKS: usize = 1_024;

/// How long the store may take to tell the head. An edge has asked another issuer by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// What an issuer's plane needs to know.
#[derive(Debug, Clone)]
pub struct IssuerPlaneSettings {
    /// What every plane needs to know.
    pub plane: PlaneSettings,
    /// Signs leases; frames come signed.
    pub key: Arc<SigningKey>,
    /// Whose frames it passes on: its own, and those of other issuers of the log.
    pub issuer_keys: IssuerKeys,
    /// How many frames it keeps to send again.
    pub ring: RingSize,
    /// When it does what.
    pub timing: IssuerTiming,
}

/// A running plane. Cheap to clone; it ends with its shutdown token.
#[derive(Debug, Clone)]
pub struct IssuerPlane {
    brain: Arc<Mutex<IssuerBrain>>,
    commits: mpsc::Sender<Input>,
    heard: mpsc::Sender<Heard>,
    changed: watch::Receiver<u64>,
    members: watch::Receiver<Members>,
}

struct Driver<H> {
    /// Changed by the driver only; the lock is held for one call and never across an await. Receipts
    /// are read through it.
    brain: Arc<Mutex<IssuerBrain>>,
    wiring: Wiring,
    head: Arc<H>,
    commits: mpsc::Receiver<Input>,
    heard: mpsc::Receiver<Heard>,
    changed: watch::Sender<u64>,
    positions: Arc<Positions>,
    /// Who asked for the head since the last reading began.
    polls: Vec<Poll>,
    reading: Option<JoinHandle<Option<Position>>>,
    /// Who is answered with it.
    answered: Vec<Poll>,
    /// What was read for them.
    head_read: Option<Position>,
    counted: IssuerCounts,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Poll {
    to: SocketAddr,
    nonce: u64,
}

impl IssuerPlaneSettings {
    /// Of the only issuer of a log.
    pub fn new(plane: PlaneSettings, key: Arc<SigningKey>) -> Self {
        Self {
            plane,
            issuer_keys: IssuerKeys::new(vec![key.public()]),
            key,
            ring: RingSize::default(),
            timing: IssuerTiming::default(),
        }
    }

    fn brain(self) -> IssuerSettings {
        IssuerSettings {
            node: self.plane.membership.node,
            key: self.key,
            keys: self.issuer_keys,
            ring: self.ring,
            timing: self.timing,
            clock_origin_ns: clock::origin_ns(),
        }
    }
}

impl IssuerPlane {
    /// Starts the plane of an issuer on a bound socket. Its tasks run on `tasks` until `shutdown`.
    pub fn start(
        settings: IssuerPlaneSettings,
        socket: UdpSocket,
        head: Arc<impl Head>,
        registry: &mut Registry,
        shutdown: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let metrics = GossipMetrics::register(registry);
        let positions = Arc::new(Positions::new(Position::ORIGIN));
        let (plane, told) = (&settings.plane, positions.clone());
        let wiring = Wiring::start(plane, Role::Issuer, socket, told, metrics, &shutdown, &tasks);
        let brain = Arc::new(Mutex::new(IssuerBrain::new(settings.brain())));
        let (commits_in, commits) = mpsc::channel(MAX_COMMITS);
        let (heard_in, heard) = mpsc::channel(MAX_HEARD);
        let (changed_in, changed) = watch::channel(0);
        let running = Self {
            brain: brain.clone(),
            commits: commits_in,
            heard: heard_in,
            changed,
            members: wiring.members.clone(),
        };
        let driver = Driver {
            brain,
            wiring,
            head,
            commits,
            heard,
            changed: changed_in,
            positions,
            polls: Vec::new(),
            reading: None,
            answered: Vec::new(),
            head_read: None,
            counted: IssuerCounts::default(),
            shutdown,
            tasks: tasks.clone(),
        };
        tasks.spawn(driver.run());
        running
    }

    /// Spreads frames that were committed just now, in the order of the log. If there is no room for
    /// them, edges learn of them by asking for the head.
    pub fn publish(&self, frames: Vec<Frame>) {
        let count = frames.len();
        if self.commits.try_send(Input::Publish(frames)).is_err() {
            warn!(frames = count, "frames not pushed, edges must ask for them");
        }
    }

    /// Learns of frames that another issuer committed and spreads, so that it can stand in for it.
    pub fn learn(&self, frames: Vec<Frame>) {
        // Of those that find no room it hears with the next lease or datagram.
        drop(self.commits.try_send(Input::Learn(frames)));
    }

    /// Takes what a session reports. One that finds no room is dropped: the next tells more.
    pub fn heard(&self, heard: Heard) {
        // A closed channel means that the plane has ended.
        drop(self.heard.try_send(heard));
    }

    /// Which known nodes have confirmed a position, by name.
    pub fn progress(&self, upto: Position) -> Vec<NodeProgress> {
        self.brain.lock().progress(upto)
    }

    /// Every known node, by name.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.brain.lock().nodes(clock::now())
    }

    /// Changes whenever [`IssuerPlane::progress`] may have.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Who is known, this node included.
    pub fn members(&self) -> Members {
        self.members.borrow().clone()
    }
}

impl<H: Head> Driver<H> {
    async fn run(mut self) {
        let _up = Up::new(self.wiring.metrics.clone(), self.shutdown.clone());
        let (mut datagrams, mut reports) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let shutdown = self.shutdown.clone();
        loop {
            let is_telling = self.head_read.is_some();
            let deadline = if is_telling { Some(Time::ZERO) } else { self.brain.lock().deadline() };
            let Wiring { events, members, .. } = &mut self.wiring;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                read = finished(&mut self.reading) => self.end_reading(read),
                Ok(()) = members.changed() => {
                    let members = members.borrow_and_update().to_vec();
                    self.take(Input::Members(members)).await;
                }
                1.. = self.heard.recv_many(&mut reports, BATCH) => {
                    for heard in reports.drain(..) {
                        self.take(Input::Heard(heard)).await;
                    }
                    self.hear_waiting(&mut datagrams).await;
                }
                received = events.recv_many(&mut datagrams, ACKS) => {
                    if received == 0 {
                        // The socket is gone.
                        return;
                    }
                    self.hear(&mut datagrams).await;
                    // Its turn: a flood of datagrams must not keep commits waiting.
                    if let Ok(commit) = self.commits.try_recv() {
                        self.take(commit).await;
                    }
                }
                Some(commit) = self.commits.recv() => {
                    self.take(commit).await;
                    self.hear_waiting(&mut datagrams).await;
                }
                // Last: a deadline that has passed must not keep others from their turn.
                () = until(deadline) => self.hear_waiting(&mut datagrams).await,
            }
            self.take(Input::Tick).await;
            self.tell_leases().await;
            self.read_head();
        }
    }

    async fn hear(&mut self, datagrams: &mut Vec<Received>) {
        for datagram in datagrams.drain(..) {
            if let Some((from, message)) = self.wiring.decode(datagram) {
                self.take(Input::Received { from, message }).await;
            }
        }
    }

    /// Takes what has come, before timers find that it has not.
    async fn hear_waiting(&mut self, datagrams: &mut Vec<Received>) {
        let waiting = std::iter::from_fn(|| self.wiring.events.try_recv().ok());
        datagrams.extend(waiting.take(ACKS));
        self.hear(datagrams).await;
    }

    /// Timers run with [`Input::Tick`] only, so once after a batch.
    async fn take(&mut self, input: Input) {
        let (is_tick, now) = (matches!(input, Input::Tick), clock::now());
        let actions = {
            let mut brain = self.brain.lock();
            if is_tick { brain.handle(input, now) } else { brain.take_in(input, now) }
        };
        self.tell();
        for action in actions {
            match action {
                Action::Send { to, message } => self.wiring.send(to, &message).await,
                Action::ReadHead { to, nonce } if self.polls.len() < MAX_POLLS => {
                    self.polls.push(Poll { to, nonce });
                }
                // The edge asks again in 300 ms.
                Action::ReadHead { .. } => {}
            }
        }
    }

    /// Reads the head once for all polls that came before: one reading at a time, begun after them.
    fn read_head(&mut self) {
        if self.reading.is_some() || self.head_read.is_some() || self.polls.is_empty() {
            return;
        }
        self.answered = std::mem::take(&mut self.polls);
        let (head, shutdown) = (self.head.clone(), self.shutdown.clone());
        self.reading = Some(self.tasks.spawn(async move {
            let read = timeout(HEAD_TIMEOUT, head.head());
            match shutdown.run_until_cancelled(read).await? {
                Ok(Ok(head)) => Some(head),
                Ok(Err(error)) => {
                    warn!(error = &error as &dyn std::error::Error, "cannot confirm the head");
                    None
                }
                Err(_) => {
                    warn!("reading the head took too long");
                    None
                }
            }
        }));
    }

    fn end_reading(&mut self, read: Result<Option<Position>, JoinError>) {
        self.reading = None;
        self.head_read = read.unwrap_or_else(|error| {
            error!(%error, "reading the head failed");
            None
        });
        if self.head_read.is_none() {
            self.answered.clear();
        }
    }

    /// Answers some of those for whom the head was read: commits and acks do not wait for all.
    async fn tell_leases(&mut self) {
        let Some(head) = self.head_read else { return };
        let turn: Vec<Poll> = self.answered.drain(..self.answered.len().min(LEASES)).collect();
        for Poll { to, nonce } in turn {
            self.take(Input::HeadRead { to, nonce, head }).await;
        }
        if self.answered.is_empty() {
            self.head_read = None;
        }
    }

    fn tell(&mut self) {
        let (head, revision, counts) = {
            let brain = self.brain.lock();
            (brain.head(), brain.revision(), brain.counts())
        };
        self.positions.advance(head, head);
        self.changed.send_if_modified(|before| std::mem::replace(before, revision) != revision);
        let metrics = &self.wiring.metrics;
        metrics.applied_seq.set(head.seq);
        metrics.known_seq.set(head.seq);
        if counts != self.counted {
            metrics.add_issuer(self.counted, counts);
            self.counted = counts;
        }
    }
}

/// # Cancel safety
/// Safe: the reading goes on.
async fn finished(
    reading: &mut Option<JoinHandle<Option<Position>>>,
) -> Result<Option<Position>, JoinError> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}
