//! A network between nodes on one machine: datagrams take their time, get lost, come twice, or do
//! not pass at all.
//!
//! Each node has two sockets: its own, and its public one, which the network holds. What arrives at
//! the public socket of a node goes on to its own, from the public socket of whoever sent it: so
//! nodes see each other's public addresses only, as behind a router.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the network does to datagrams.
#[derive(Debug, Clone)]
pub struct Weather {
    /// The share that is lost, 0 to 1.
    pub loss: f64,
    /// The share that comes twice.
    pub duplicates: f64,
    /// How long one way takes, from a region to another, by their numbers.
    pub delays: Vec<Vec<Duration>>,
    /// How much longer it takes at times, as a share of the delay.
    pub jitter: f64,
    /// Ways that are cut: from a node, to a node, by their numbers.
    pub cuts: HashSet<(usize, usize)>,
}

/// The network.
#[derive(Debug)]
pub struct Wan {
    state: Arc<State>,
    tasks: TaskTracker,
    end: CancellationToken,
    seed: u64,
}

#[derive(Debug)]
struct State {
    weather: std::sync::RwLock<Weather>,
    places: std::sync::RwLock<Places>,
    passed: AtomicU64,
    bytes: AtomicU64,
    recorded: std::sync::Mutex<Vec<Bytes>>,
}

#[derive(Debug, Default)]
struct Places {
    nodes: Vec<Place>,
    /// Whose own socket this is.
    owners: HashMap<SocketAddr, usize>,
}

#[derive(Debug, Clone)]
struct Place {
    region: usize,
    own: SocketAddr,
    public: Arc<UdpSocket>,
}

/// A datagram on its way, the one due first on top.
type Due = Reverse<(Instant, u64, usize, Bytes)>;

/// Datagrams that are recorded: the first ones.
const RECORDED: usize = 4_096;

/// Datagrams on their way to one node at most; more are lost, as in a router.
const QUEUE: usize = 16_384;

impl Weather {
    /// Nothing is lost, and nothing takes time.
    pub fn fine() -> Self {
        Self { loss: 0.0, duplicates: 0.0, delays: vec![], jitter: 0.0, cuts: HashSet::new() }
    }

    /// Three regions, 20 to 120 ms from each other, and some loss.
    pub fn three_regions(loss: f64) -> Self {
        let ms = |row: [u64; 3]| row.map(Duration::from_millis).to_vec();
        let delays = vec![ms([1, 70, 120]), ms([70, 1, 20]), ms([120, 20, 1])];
        Self { loss, delays, jitter: 0.05, ..Self::fine() }
    }
}

impl Wan {
    /// A network without nodes.
    pub fn new(weather: Weather, seed: u64) -> Self {
        let state = State {
            weather: std::sync::RwLock::new(weather),
            places: std::sync::RwLock::default(),
            passed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            recorded: std::sync::Mutex::default(),
        };
        Self {
            state: Arc::new(state),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
            seed,
        }
    }

    /// A place for a node in `region`: its number, the socket that it is to use, and the address by
    /// which others know it.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub async fn join(&self, region: usize) -> std::io::Result<(usize, UdpSocket, SocketAddr)> {
        let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let public = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let (own_address, advertised) = (own.local_addr()?, public.local_addr()?);
        let number = {
            let mut places = self.state.places.write().expect("no holder panics");
            let place = Place { region, own: own_address, public: Arc::clone(&public) };
            places.nodes.push(place);
            let number = places.nodes.len() - 1;
            places.owners.insert(own_address, number);
            number
        };
        let rng = StdRng::seed_from_u64(self.seed ^ number as u64);
        let (pass, due) = mpsc::channel(QUEUE);
        let arriving = arrivals(Arc::clone(&self.state), public, number, rng, pass);
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(arriving));
        let delivering = deliveries(Arc::clone(&self.state), number, due);
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(delivering));
        Ok((number, own, advertised))
    }

    /// Changes the weather.
    pub fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.state.weather.write().expect("no holder panics"));
    }

    /// Cuts a set of nodes off from all others, both ways.
    pub fn isolate(&self, nodes: &[usize]) {
        let count = self.state.places.read().expect("no holder panics").nodes.len();
        self.change(|weather| {
            for &inside in nodes {
                for outside in (0..count).filter(|other| !nodes.contains(other)) {
                    weather.cuts.extend([(inside, outside), (outside, inside)]);
                }
            }
        });
    }

    /// Opens every way.
    pub fn heal(&self) {
        self.change(|weather| weather.cuts.clear());
    }

    /// The first datagrams that passed, as somebody on the way could have written them down.
    pub fn recorded(&self) -> Vec<Bytes> {
        self.state.recorded.lock().expect("no holder panics").clone()
    }

    /// Datagrams and bytes that passed.
    pub fn traffic(&self) -> (u64, u64) {
        (self.state.passed.load(Relaxed), self.state.bytes.load(Relaxed))
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// What comes to a node's public address, and when it is to go on.
async fn arrivals(
    state: Arc<State>,
    public: Arc<UdpSocket>,
    number: usize,
    mut rng: StdRng,
    pass: mpsc::Sender<(Instant, usize, Bytes)>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        // On loopback a send to a port that was closed comes back as an error of the socket.
        let Ok((length, from)) = public.recv_from(&mut buffer).await else { continue };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        for (delay, sender) in fates(&state, from, number, &mut rng) {
            // No room: lost, as in a router.
            drop(pass.try_send((Instant::now() + delay, sender, bytes.clone())));
        }
    }
}

/// Once, twice, or not at all: after how long, and as whose.
fn fates(state: &State, from: SocketAddr, to: usize, rng: &mut StdRng) -> Vec<(Duration, usize)> {
    let places = state.places.read().expect("no holder panics");
    let Some(&sender) = places.owners.get(&from) else { return Vec::new() };
    let weather = state.weather.read().expect("no holder panics");
    if weather.cuts.contains(&(sender, to)) || rng.random::<f64>() < weather.loss {
        return Vec::new();
    }
    let times = 1 + usize::from(rng.random::<f64>() < weather.duplicates);
    let (here, there) = (places.nodes[sender].region, places.nodes[to].region);
    let delay = weather.delays.get(here).and_then(|row| row.get(there)).copied();
    let delay = delay.unwrap_or_default();
    (0..times)
        .map(|_| (delay.mul_f64(1.0 + rng.random::<f64>() * weather.jitter), sender))
        .collect()
}

/// Passes on what is due.
async fn deliveries(
    state: Arc<State>,
    number: usize,
    mut arriving: mpsc::Receiver<(Instant, usize, Bytes)>,
) {
    let mut waiting: BinaryHeap<Due> = BinaryHeap::new();
    let mut count = 0;
    loop {
        let next = waiting.peek().map(|Reverse((at, ..))| *at);
        tokio::select! {
            biased;
            () = async { match next { Some(at) => sleep_until(at).await, None => future::pending().await } } => {}
            arrived = arriving.recv() => {
                let Some((at, sender, bytes)) = arrived else { return };
                count += 1;
                waiting.push(Reverse((at, count, sender, bytes)));
            }
        }
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, sender, bytes))) = waiting.pop() else { break };
            deliver(&state, number, sender, &bytes).await;
        }
    }
}

async fn deliver(state: &State, to: usize, sender: usize, bytes: &Bytes) {
    let (own, from) = {
        let places = state.places.read().expect("no holder panics");
        (places.nodes[to].own, Arc::clone(&places.nodes[sender].public))
    };
    // Whoever stopped listening loses what was sent.
    if from.send_to(bytes, own).await.is_ok() {
        state.passed.fetch_add(1, Relaxed);
        state.bytes.fetch_add(bytes.len() as u64, Relaxed);
        let mut recorded = state.recorded.lock().expect("no holder panics");
        if recorded.len() < RECORDED {
            recorded.push(bytes.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_datagram_comes_from_the_public_address_after_its_time() {
        let wan = Wan::new(Weather::three_regions(0.0), 1);
        let (_, one, one_public) = wan.join(0).await.unwrap();
        let (_, two, two_public) = wan.join(1).await.unwrap();
        let began = Instant::now();
        one.send_to(b"there", two_public).await.unwrap();
        let mut buffer = [0; 16];
        let (length, from) = two.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"there"[..], one_public));
        assert!(began.elapsed() >= Duration::from_millis(70));
    }

    #[tokio::test]
    async fn what_is_cut_does_not_pass_and_what_is_healed_does() {
        let wan = Wan::new(Weather::fine(), 1);
        let (_, one, _) = wan.join(0).await.unwrap();
        let (two, socket, public) = wan.join(0).await.unwrap();
        wan.isolate(&[two]);
        one.send_to(b"lost", public).await.unwrap();
        // A way of its own tells when the first would have come.
        let (_, other, other_public) = wan.join(0).await.unwrap();
        one.send_to(b"mark", other_public).await.unwrap();
        let mut buffer = [0; 16];
        other.recv_from(&mut buffer).await.unwrap();
        wan.heal();
        one.send_to(b"found", public).await.unwrap();
        let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"found");
    }
}
