//! A control plane's end of the event plane, and edges, in one process.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::UdpSocket,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_gossip::{
    driver::{EdgePlane, EdgePlaneSettings, IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, IssuerKeys, SigningKey},
    membership::MembershipSettings,
    receipts::Confirmation,
    seal::{ClusterKey, ClusterKeys},
    seam::{Catchup, CatchupError, CaughtUp, Head, HeadError, Sink},
};
use wcdn_proto::{BlobId, Change, Events, Position, Purge};
use wcdn_tests::wan::{Wan, Weather};

/// Regions of the cluster.
pub(super) const REGIONS: [&str; 3] = ["us-west", "eu-west", "asia-pacific"];

/// How long members may take to find each other.
const ASSEMBLY: Duration = Duration::from_secs(60);

/// How long an event may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of the log.
const EPOCH: u64 = 1;

/// A running cluster.
pub(crate) struct Cluster {
    issuer: IssuerPlane,
    key: Arc<SigningKey>,
    log: Arc<Log>,
    applications: Arc<Applications>,
    edges: Vec<EdgePlane>,
    registries: Vec<Registry>,
    wan: Option<Wan>,
    end: CancellationToken,
    tasks: TaskTracker,
}

/// How long an event took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until the last node had applied it.
    pub(crate) complete: Duration,
    /// Until the issuer knew that.
    pub(crate) receipt: Duration,
}

/// The log, in memory: what is timed begins after the commit.
#[derive(Debug, Default)]
struct Log {
    frames: Mutex<Vec<Bytes>>,
    /// Whether edges cannot read it now.
    is_away: AtomicBool,
}

/// Who has applied what.
#[derive(Debug)]
struct Applications {
    began: Instant,
    /// By seq: how many nodes, and when the last of them did, in microseconds.
    events: Mutex<Vec<(usize, u64)>>,
    changed: Notify,
}

/// One node's end of it.
struct Counting {
    all: Arc<Applications>,
    seen: Mutex<HashSet<u64>>,
}

impl Sink for Counting {
    fn apply(&self, events: &Events) {
        let now = self.all.began.elapsed().as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let mut seen = self.seen.lock();
        let mut all = self.all.events.lock();
        for (position, _) in events.iter().filter(|(position, _)| seen.insert(position.seq)) {
            let seq = usize::try_from(position.seq).expect("few events");
            if all.len() <= seq {
                all.resize(seq + 1, (0, 0));
            }
            all[seq].0 += 1;
            all[seq].1 = all[seq].1.max(now);
        }
        self.all.changed.notify_waiters();
    }
}

impl Catchup for Log {
    async fn catch_up(&self, after: Position) -> Result<CaughtUp, CatchupError> {
        if self.is_away.load(Relaxed) {
            return Err(CatchupError("the log is away".into()));
        }
        let frames = self.frames.lock();
        if after.epoch < EPOCH {
            return Ok(CaughtUp::Snapshot(Position { epoch: EPOCH, seq: frames.len() as u64 }));
        }
        let from = usize::try_from(after.seq).expect("few events").min(frames.len());
        Ok(CaughtUp::Frames(frames[from..].to_vec()))
    }
}

impl Head for Log {
    async fn head(&self) -> Result<Position, HeadError> {
        Ok(Position { epoch: EPOCH, seq: self.frames.lock().len() as u64 })
    }
}

impl Cluster {
    /// `count` edges, and what lies between them.
    pub(crate) async fn start(count: usize, weather: Option<Weather>) -> anyhow::Result<Self> {
        let key = Arc::new(SigningKey::from_seed(&[7; 32]));
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (log, wan) = (Arc::new(Log::default()), weather.map(|weather| Wan::new(weather, 1)));
        let applications = Arc::new(Applications {
            began: Instant::now(),
            events: Mutex::default(),
            changed: Notify::new(),
        });
        let mut registries = vec![Registry::with_prefix("wcdn")];
        let (socket, seed) = place(wan.as_ref(), 0).await?;
        let settings = plane("desk", 0, seed, seed)?;
        let issuer = IssuerPlane::start(
            IssuerPlaneSettings::new(settings, key.clone()),
            socket,
            log.clone(),
            &mut registries[0],
            end.clone(),
            tasks.clone(),
        );
        let mut edges = Vec::new();
        for n in 0..count {
            let (socket, advertise) = place(wan.as_ref(), n % REGIONS.len()).await?;
            let settings = plane(&format!("edge-{n}"), n % REGIONS.len(), advertise, seed)?;
            let mut settings =
                EdgePlaneSettings::new(settings, IssuerKeys::new(vec![key.public()]), 1);
            settings.start = Position { epoch: EPOCH, seq: 0 };
            let sink = Counting { all: applications.clone(), seen: Mutex::default() };
            let mut registry = Registry::with_prefix("wcdn");
            edges.push(EdgePlane::start(
                settings,
                socket,
                Arc::new(sink),
                log.clone(),
                &mut registry,
                end.clone(),
                tasks.clone(),
            ));
            registries.push(registry);
            // Rounds of gossip that fall on the same moment would be one burst, each second.
            sleep(Duration::from_secs(1) / u32::try_from(count)?).await;
        }
        let cluster = Self { issuer, key, log, applications, edges, registries, wan, end, tasks };
        cluster.assemble().await?;
        Ok(cluster)
    }

    /// Waits until everybody knows everybody.
    async fn assemble(&self) -> anyhow::Result<()> {
        let all = self.edges.len() + 1;
        let began = Instant::now();
        loop {
            let known = self.edges.iter().map(|edge| edge.members().len()).min().unwrap_or(all);
            let issuer = self.issuer.members().len();
            if known.min(issuer) == all && self.issuer.nodes().len() == all - 1 {
                return Ok(());
            }
            ensure!(began.elapsed() < ASSEMBLY, "{known} and {issuer} of {all} members found");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Commits a purge of one blob, and waits until everybody has it and the issuer knows.
    pub(crate) async fn purge(&self) -> anyhow::Result<Took> {
        let (position, began) = self.commit();
        let complete = self.applied(position, began).await?;
        let receipt = self.receipt(position, began).await?;
        Ok(Took { complete, receipt })
    }

    /// Commits a purge, and returns where it is in the log, and when it was published.
    pub(crate) fn commit(&self) -> (Position, Instant) {
        let (frames, position) = {
            let mut log = self.log.frames.lock();
            let position = Position { epoch: EPOCH, seq: log.len() as u64 + 1 };
            let mut id = [0; 32];
            id[..8].copy_from_slice(&position.seq.to_be_bytes());
            let purge = Change::Purge(Purge::Ids(vec![BlobId::from_bytes(id)]));
            let frames = Frame::pack(&self.key, position, 0, vec![purge]);
            log.extend(frames.iter().map(|frame| frame.encoded().clone()));
            (frames, position)
        };
        let began = Instant::now();
        self.issuer.publish(frames);
        (position, began)
    }

    /// When the last node applied it.
    pub(crate) async fn applied(
        &self,
        position: Position,
        began: Instant,
    ) -> anyhow::Result<Duration> {
        let seq = usize::try_from(position.seq)?;
        let everybody = async {
            loop {
                let changed = self.applications.changed.notified();
                let (count, last) =
                    self.applications.events.lock().get(seq).copied().unwrap_or_default();
                if count == self.edges.len() {
                    return last;
                }
                changed.await;
            }
        };
        let last = timeout(PATIENCE, everybody).await.context("an event was lost")?;
        let last = self.applications.began + Duration::from_micros(last);
        Ok(last.saturating_duration_since(began))
    }

    async fn receipt(&self, position: Position, began: Instant) -> anyhow::Result<Duration> {
        let mut changed = self.issuer.changed();
        let everybody = async {
            loop {
                changed.borrow_and_update();
                let nodes = self.issuer.progress(position);
                let times = nodes.iter().map(|node| match node.state {
                    Confirmation::Applied { after } => Some(after.unwrap_or_default()),
                    _ => None,
                });
                let times: Option<Vec<Duration>> = times.collect();
                if let Some(times) = times.filter(|times| times.len() == self.edges.len()) {
                    return times.into_iter().max().unwrap_or_default();
                }
                if changed.changed().await.is_err() {
                    return began.elapsed();
                }
            }
        };
        timeout(PATIENCE, everybody).await.context("a receipt did not come")
    }

    /// Takes the log away from edges, or gives it back: a partition cuts every way.
    pub(crate) fn take_log_away(&self, is_away: bool) {
        self.log.is_away.store(is_away, Relaxed);
    }

    /// What lies between the nodes.
    pub(crate) fn wan(&self) -> anyhow::Result<&Wan> {
        self.wan.as_ref().context("there is no network between these nodes")
    }

    /// Bytes that all nodes have sent.
    pub(crate) fn bytes_sent(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for registry in &self.registries {
            let mut text = String::new();
            encode(&mut text, registry)?;
            let lines = text.lines().filter(|line| {
                line.starts_with("wcdn_gossip_bytes_total") && line.contains("\"out\"")
            });
            sum +=
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
        }
        Ok(sum)
    }

    pub(crate) async fn stop(self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A socket, and the address by which others know it.
async fn place(wan: Option<&Wan>, region: usize) -> anyhow::Result<(UdpSocket, SocketAddr)> {
    match wan {
        Some(wan) => {
            let (_, socket, advertise) = wan.join(region).await?;
            Ok((socket, advertise))
        }
        None => {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        }
    }
}

fn plane(
    node: &str,
    region: usize,
    advertise: SocketAddr,
    seed: SocketAddr,
) -> anyhow::Result<PlaneSettings> {
    let region = REGIONS[region].parse()?;
    let mut membership = MembershipSettings::new("bench", node.parse()?, region, advertise);
    membership.seeds = vec![seed.to_string()];
    let keys = ClusterKeys { current: ClusterKey::new([9; 32]), also: None };
    Ok(PlaneSettings { membership, keys })
}

/// How late tokio's timers are on this machine now: milliseconds, for sleeps of five.
pub(crate) async fn timer_overshoot() -> Vec<f64> {
    let mut late = Vec::new();
    for _ in 0..400 {
        let began = Instant::now();
        sleep(Duration::from_millis(5)).await;
        late.push((began.elapsed().as_secs_f64() - 0.005) * 1e3);
    }
    late
}
