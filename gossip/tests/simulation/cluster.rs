//! The nodes of a cluster: how they start and crash, and how their brains are driven.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wcdn_gossip::{
    edge_brain::{self, EdgeBrain, EdgeSettings, EdgeTiming},
    issuer_brain::{self, IssuerBrain, IssuerSettings, IssuerTiming},
    member::{Member, Role},
    ring::RingSize,
    seam::CaughtUp,
};
use wcdn_proto::{NodeId, Position, Region};

use crate::{
    sink::Sink,
    world::{Answer, Brain, Due, WINDOW, World, address},
};

/// How long membership needs to notice that a node is gone.
const DETECTION: Duration = Duration::from_secs(2);

impl World {
    pub(crate) fn crash(&mut self, node: usize, down: Duration, keeps_disk: bool) {
        self.nodes[node].brain = Brain::Down;
        self.nodes[node].timer += 1;
        self.nodes[node].memory.clear();
        if !keeps_disk {
            self.nodes[node].disk = (Position::ORIGIN, Sink::default());
            self.nodes[node].journal.clear();
            self.nodes[node].said = Position::ORIGIN;
        }
        let number = self.nodes[node].timer;
        self.later(down, Due::Start { node, number });
        self.later(DETECTION, Due::Detect { node, is_live: false });
    }

    pub(crate) fn start(&mut self, node: usize) {
        let clock = self.clock(node);
        let (log, seed) = (&self.log, self.rng.random());
        let this = &mut self.nodes[node];
        this.start += 1;
        this.sink = this.disk.1.clone();
        this.sink.hear(&this.journal);
        this.brain = if node >= self.shape.edges {
            Brain::Issuer(Box::new(IssuerBrain::new(IssuerSettings {
                node: name(node),
                key: log.key.clone(),
                keys: log.keys(),
                ring: RingSize { frames: 64, bytes: 1 << 20 },
                timing: IssuerTiming::default(),
                clock_origin_ns: 0,
            })))
        } else {
            let settings = EdgeSettings {
                node: name(node),
                region: region(this.region),
                incarnation: this.start,
                is_strict: this.is_strict,
                lease: WINDOW,
                keys: log.keys(),
                start: this.disk.0,
                ring: RingSize { frames: 64, bytes: 1 << 20 },
                timing: EdgeTiming {
                    poll_interval: WINDOW / 5,
                    blind_patience: WINDOW * 3 / 5,
                    max_missing: 40,
                    ..EdgeTiming::default()
                },
            };
            Brain::Edge(Box::new(EdgeBrain::new(settings, StdRng::seed_from_u64(seed), clock)))
        };
        self.detect(node, true);
    }

    pub(crate) fn detect(&mut self, node: usize, is_live: bool) {
        self.nodes[node].is_live = is_live;
        let members: Vec<Member> = (0..self.nodes.len())
            .map(|node| Member {
                node: name(node),
                region: region(self.nodes[node].region),
                address: address(node),
                peer: None,
                role: if self.is_issuer(node) { Role::Issuer } else { Role::Edge },
                is_live: self.nodes[node].is_live,
            })
            .collect();
        for node in 0..self.nodes.len() {
            let members = members.clone();
            if self.is_issuer(node) {
                self.tell_issuer(node, issuer_brain::Input::Members(members));
            } else {
                self.tell_edge(node, edge_brain::Input::Members(members));
            }
        }
    }

    pub(crate) fn tell_edge(&mut self, node: usize, input: edge_brain::Input) {
        let clock = self.clock(node);
        let Brain::Edge(brain) = &mut self.nodes[node].brain else { return };
        for action in brain.handle(input, clock) {
            match action {
                edge_brain::Action::Send { to, message } => self.send(node, to, &message),
                edge_brain::Action::Apply(frame) => self.nodes[node].sink.apply(frame.events()),
                edge_brain::Action::Keep => {
                    let this = &self.nodes[node];
                    let (start, words) = (this.start, this.sink.words().clone());
                    let hangs = this.disk_away.saturating_sub(self.now);
                    let delay = hangs + self.chance(Duration::from_millis(20));
                    self.later(delay, Due::Kept { edge: node, start, words });
                }
                edge_brain::Action::CatchUp { after } => {
                    let start = self.nodes[node].start;
                    let delay = self.chance(Duration::from_millis(60));
                    self.later(delay, Due::LogRead { edge: node, start, after });
                }
            }
        }
        let this = &mut self.nodes[node];
        let complete = this.sink.contiguous(this.sink.epoch).unwrap_or(Position::ORIGIN);
        this.ever = this.ever.max(complete);
        if let Brain::Edge(brain) = &this.brain {
            this.said = this.said.max(brain.applied());
        }
        self.set_timer(node);
    }

    pub(crate) fn tell_issuer(&mut self, node: usize, input: issuer_brain::Input) {
        let clock = self.clock(node);
        let Brain::Issuer(brain) = &mut self.nodes[node].brain else { return };
        for action in brain.handle(input, clock) {
            match action {
                issuer_brain::Action::Send { to, message } => self.send(node, to, &message),
                issuer_brain::Action::ReadHead { to, nonce } => {
                    let start = self.nodes[node].start;
                    let delay = self.chance(Duration::from_millis(10));
                    self.later(delay, Due::HeadRead { issuer: node, start, to, nonce });
                }
            }
        }
        self.set_timer(node);
    }

    pub(crate) fn set_timer(&mut self, node: usize) {
        let deadline = match &self.nodes[node].brain {
            Brain::Edge(brain) => brain.deadline(),
            Brain::Issuer(brain) => brain.deadline(),
            Brain::Down => None,
        };
        self.nodes[node].timer += 1;
        let Some(deadline) = deadline else { return };
        // Up to a millisecond late, as timers are.
        let wait = deadline.saturating_sub(self.clock(node)).mul_f64(1.0 / self.nodes[node].rate);
        let late = Duration::from_micros(1) + self.chance(Duration::from_millis(1));
        let number = self.nodes[node].timer;
        self.later(wait + late, Due::Timer { node, number });
    }

    pub(crate) fn read_log(&self, after: Position) -> Option<Answer> {
        if self.log_away > self.now {
            return None;
        }
        let snapshot = || Answer::Snapshot(Box::new((self.log.head, self.log.snapshot())));
        Some(self.log.replay(after).map_or_else(snapshot, Answer::Frames))
    }

    pub(crate) fn answer_log(&mut self, edge: usize, answer: Option<Answer>) {
        if self.edge(edge).is_none() {
            return;
        }
        let result = answer.map(|answer| match answer {
            Answer::Frames(frames) => CaughtUp::Frames(frames),
            Answer::Snapshot(snapshot) => {
                self.nodes[edge].sink.load(&snapshot.1);
                let words = self.nodes[edge].sink.words().clone();
                self.nodes[edge].keep(words);
                CaughtUp::Snapshot(snapshot.0)
            }
        });
        self.tell_edge(edge, edge_brain::Input::CaughtUp(result));
    }
}

pub(crate) fn name(node: usize) -> NodeId {
    format!("node-{node}").parse().expect("that is a name")
}

fn region(region: usize) -> Region {
    format!("region-{region}").parse().expect("that is a name")
}
