//! A cluster in one thread: its clock, its network, its log, and its nodes.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wcdn_gossip::{
    edge_brain::{self, EdgeBrain},
    issuer_brain::{self, IssuerBrain},
    message::Message,
};
use wcdn_proto::{BlobId, Position};

use crate::{
    log::Log,
    sink::{Entry, Sink, Words},
};

/// The lease's window: shorter than in production, so that less time must be simulated.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);

/// By how much clocks differ in speed at most.
pub(crate) const SKEW: f64 = 0.004;

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) edges: usize,
    pub(crate) issuers: usize,
    pub(crate) regions: usize,
}

/// How the network treats a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) twice: f64,
    pub(crate) delay: Duration,
}

/// Something that is going to happen by itself.
pub(crate) enum Due {
    Datagram {
        from: usize,
        to: usize,
        bytes: Bytes,
    },
    Timer {
        node: usize,
        number: u64,
    },
    /// The log is read for an edge.
    LogRead {
        edge: usize,
        start: u64,
        after: Position,
    },
    /// What was read arrives.
    LogAnswer {
        edge: usize,
        start: u64,
        answer: Option<Answer>,
    },
    /// The head is read for an issuer.
    HeadRead {
        issuer: usize,
        start: u64,
        to: SocketAddr,
        nonce: u64,
    },
    HeadAnswer {
        issuer: usize,
        start: u64,
        to: SocketAddr,
        nonce: u64,
        head: Position,
    },
    /// A disk has taken in what is withheld.
    Kept {
        edge: usize,
        start: u64,
        words: Words,
    },
    FillEnd {
        edge: usize,
        start: u64,
        id: BlobId,
        entry: Entry,
    },
    Start {
        node: usize,
        number: u64,
    },
    Detect {
        node: usize,
        is_live: bool,
    },
}

pub(crate) enum Answer {
    Frames(Vec<Bytes>),
    Snapshot(Box<(Position, Sink)>),
}

/// What runs on a node.
pub(crate) enum Brain {
    Edge(Box<EdgeBrain>),
    Issuer(Box<IssuerBrain>),
    Down,
}

/// A node and what it has.
pub(crate) struct Node {
    pub(crate) brain: Brain,
    /// Which start of it this is.
    pub(crate) start: u64,
    pub(crate) is_live: bool,
    pub(crate) region: usize,
    /// Whether it is a node that fences itself.
    pub(crate) is_strict: bool,
    pub(crate) rate: f64,
    pub(crate) timer: u64,
    pub(crate) sink: Sink,
    pub(crate) memory: BTreeMap<BlobId, Entry>,
    pub(crate) disk: (Position, Sink),
    /// What else is on the disk: blocks and their ends.
    pub(crate) journal: Words,
    /// Until when the disk takes nothing in.
    pub(crate) disk_away: Duration,
    /// The highest position that it ever told with this disk.
    pub(crate) said: Position,
    /// The highest position up to which it ever was truly complete.
    pub(crate) ever: Position,
    /// The highest position that an issuer ever said it had applied.
    pub(crate) receipted: Position,
}

pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) now: Duration,
    pub(crate) log: Log,
    pub(crate) nodes: Vec<Node>,
    pub(crate) redis: Vec<BTreeMap<BlobId, Entry>>,
    pub(crate) weather: Weather,
    pub(crate) cuts: BTreeMap<(usize, usize), Duration>,
    pub(crate) log_away: Duration,
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    /// When receipts were checked last, and of which revisions of which issuers.
    pub(crate) receipts_checked: (Duration, Vec<u64>),
    pub(crate) rng: StdRng,
    queue: BTreeMap<(Duration, u64), Due>,
    number: u64,
}

impl World {
    pub(crate) fn new(shape: Shape, weather: Weather, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..shape.edges + shape.issuers).map(|node| Node {
            brain: Brain::Down,
            start: 0,
            is_live: true,
            region: node % shape.regions,
            is_strict: node % 2 == 0,
            rate: rng.random_range(1.0 - SKEW..1.0 + SKEW),
            timer: 0,
            sink: Sink::default(),
            memory: BTreeMap::new(),
            disk: (Position::ORIGIN, Sink::default()),
            journal: Words::new(),
            disk_away: Duration::ZERO,
            said: Position::ORIGIN,
            ever: Position::ORIGIN,
            receipted: Position::ORIGIN,
        });
        let nodes = nodes.collect();
        let mut world = Self {
            shape,
            now: Duration::from_secs(10),
            log: Log::new(),
            nodes,
            redis: vec![BTreeMap::new(); shape.regions],
            weather,
            cuts: BTreeMap::new(),
            log_away: Duration::ZERO,
            datagrams: 0,
            bytes: 0,
            receipts_checked: (Duration::ZERO, Vec::new()),
            rng,
            queue: BTreeMap::new(),
            number: 0,
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        world
    }

    /// Lets time pass, and checks everything after every step.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), due) = next.remove_entry();
            self.now = at;
            self.happen(due);
            self.check();
        }
        self.now = end;
    }

    pub(crate) fn is_issuer(&self, node: usize) -> bool {
        node >= self.shape.edges
    }

    /// A node's own clock.
    pub(crate) fn clock(&self, node: usize) -> Duration {
        self.now.mul_f64(self.nodes[node].rate) + Duration::from_secs(node as u64)
    }

    pub(crate) fn edge(&self, node: usize) -> Option<&EdgeBrain> {
        if let Brain::Edge(brain) = &self.nodes[node].brain { Some(brain) } else { None }
    }

    pub(crate) fn issuer(&self, node: usize) -> Option<&IssuerBrain> {
        if let Brain::Issuer(brain) = &self.nodes[node].brain { Some(brain) } else { None }
    }

    /// Whether an edge serves what needs a lease.
    pub(crate) fn holds_lease(&self, node: usize) -> bool {
        let confirmed = self.edge(node).and_then(EdgeBrain::confirmed);
        confirmed.is_some_and(|at| self.clock(node).saturating_sub(at) < WINDOW)
    }

    pub(crate) fn later(&mut self, after: Duration, due: Due) {
        self.number += 1;
        self.queue.insert((self.now + after, self.number), due);
    }

    pub(crate) fn chance(&mut self, most: Duration) -> Duration {
        self.rng.random_range(Duration::ZERO..=most)
    }

    pub(crate) fn send(&mut self, from: usize, to: SocketAddr, message: &Message) {
        let bytes = Bytes::from(message.encode());
        let to = index(to);
        self.datagrams += 1;
        self.bytes += bytes.len() as u64;
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now);
        if is_cut || self.rng.random_bool(self.weather.loss) {
            return;
        }
        let copies = if self.rng.random_bool(self.weather.twice) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.weather.delay / 4 + self.chance(self.weather.delay * 3 / 4);
            self.later(delay, Due::Datagram { from, to, bytes: bytes.clone() });
        }
    }

    fn happen(&mut self, due: Due) {
        let has_started = |world: &Self, node: usize, start| world.nodes[node].start == start;
        match due {
            Due::Datagram { from, to, bytes } => {
                let (from, message) = (address(from), Message::decode(bytes).expect("we sent it"));
                if self.is_issuer(to) {
                    self.tell_issuer(to, issuer_brain::Input::Received { from, message });
                } else {
                    self.tell_edge(to, edge_brain::Input::Received { from, message });
                }
            }
            Due::Timer { node, number } if self.nodes[node].timer == number => {
                self.tell_issuer(node, issuer_brain::Input::Tick);
                self.tell_edge(node, edge_brain::Input::Tick);
            }
            Due::LogRead { edge, start, after } => {
                let answer = self.read_log(after);
                let delay = self.chance(Duration::from_millis(60));
                self.later(delay, Due::LogAnswer { edge, start, answer });
            }
            Due::LogAnswer { edge, start, answer } if has_started(self, edge, start) => {
                let disk = self.nodes[edge].disk_away.saturating_sub(self.now);
                match answer {
                    // What a snapshot blocks is kept before it counts.
                    Some(Answer::Snapshot(_)) if !disk.is_zero() => {
                        self.later(disk, Due::LogAnswer { edge, start, answer });
                    }
                    answer => self.answer_log(edge, answer),
                }
            }
            Due::Kept { edge, start, words } if has_started(self, edge, start) => {
                self.nodes[edge].keep(words);
                self.tell_edge(edge, edge_brain::Input::Kept);
            }
            Due::HeadRead { issuer, start, to, nonce } => {
                let head = self.log.head;
                let delay = self.chance(Duration::from_millis(10));
                self.later(delay, Due::HeadAnswer { issuer, start, to, nonce, head });
            }
            Due::HeadAnswer { issuer, start, to, nonce, head }
                if has_started(self, issuer, start) =>
            {
                let input = issuer_brain::Input::HeadRead { to, nonce, head };
                self.tell_issuer(issuer, input);
            }
            Due::FillEnd { edge, start, id, entry } => {
                let region = self.nodes[edge].region;
                if has_started(self, edge, start) && self.edge(edge).is_some() {
                    self.nodes[edge].memory.insert(id, entry);
                }
                // Even of a writer that is dead by now.
                self.redis[region].insert(id, entry);
            }
            Due::Start { node, number } if self.nodes[node].timer == number => self.start(node),
            Due::Detect { node, is_live } => {
                if matches!(self.nodes[node].brain, Brain::Down) {
                    self.detect(node, is_live);
                }
            }
            _ => {}
        }
    }
}

impl Node {
    /// Writes to the disk what is withheld.
    pub(crate) fn keep(&mut self, words: Words) {
        for (id, (position, is_blocked)) in words {
            let kept = self.journal.entry(id).or_insert((position, is_blocked));
            *kept = (*kept).max((position, is_blocked));
        }
    }
}

pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).expect("nodes are few")], 7_000))
}

fn index(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => usize::from(address.ip().octets()[3]),
        SocketAddr::V6(_) => panic!("nobody has such an address"),
    }
}
