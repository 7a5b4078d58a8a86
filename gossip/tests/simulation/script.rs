//! What people, clients and bad luck do to the cluster.

use std::time::Duration;

use wcdn_gossip::{edge_brain, issuer_brain};
use wcdn_proto::{BlobId, Change, ContentId, Position, Purge};

use crate::{
    checks::IDS,
    schedule::{Happening, Step},
    sink::Entry,
    world::{Due, Weather, World},
};

pub(crate) fn blob(id: u8) -> BlobId {
    BlobId::from_bytes([id % IDS; 32])
}

impl World {
    pub(crate) fn play(&mut self, schedule: &[Step]) {
        for Step { pause, happening } in schedule {
            self.run(*pause);
            self.let_happen(happening);
            self.check();
        }
    }

    /// All is well from now on.
    pub(crate) fn heal(&mut self) {
        self.weather = Weather { loss: 0.0, twice: 0.0, delay: Duration::from_millis(40) };
        self.cuts.clear();
        self.log_away = Duration::ZERO;
        self.nodes.iter_mut().for_each(|node| node.disk_away = Duration::ZERO);
    }

    pub(crate) fn commit(&mut self, by: usize, changes: Vec<Change>) {
        let up = (0..self.shape.issuers).map(|n| self.shape.edges + (by + n) % self.shape.issuers);
        let Some(issuer) = up.into_iter().find(|n| self.issuer(*n).is_some()) else { return };
        let frames = self.log.commit(changes, self.now);
        self.tell_issuer(issuer, issuer_brain::Input::Publish(frames));
    }

    pub(crate) fn purge(&mut self, by: usize, id: u8) {
        self.commit(by, vec![Change::Purge(Purge::Ids(vec![blob(id)]))]);
    }

    /// A client asks for a blob.
    pub(crate) fn view(&mut self, edge: usize, id: BlobId, fill: Duration) {
        let Some(brain) = self.edge(edge) else { return };
        let node = &self.nodes[edge];
        let passes = |entry: &&Entry| node.sink.lets_pass(id, entry);
        if node.memory.get(&id).filter(passes).is_some() {
            return;
        }
        let token = brain.known();
        let shared = self.redis[node.region].get(&id).filter(passes).copied();
        if let Some(entry) = shared.filter(|_| self.believes_redis(edge)) {
            self.nodes[edge].memory.insert(id, entry);
            return;
        }
        let (start, entry) = (node.start, Entry { token, fetched_at: self.now });
        self.later(fill, Due::FillEnd { edge, start, id, entry });
    }

    /// A node reads Redis only after it has confirmed the head once since it started.
    pub(crate) fn believes_redis(&self, edge: usize) -> bool {
        self.edge(edge).is_some_and(|brain| brain.confirmed().is_some())
    }

    pub(crate) fn partition(&mut self, mask: u8, lasts: Duration) {
        let side = |node: usize| mask >> (node % 8) & 1;
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| side(*to) != side(from)) {
                self.cuts.insert((from, to), self.now + lasts);
            }
        }
    }

    fn let_happen(&mut self, happening: &Happening) {
        let (edges, all) = (self.shape.edges, self.nodes.len());
        match happening {
            Happening::Purge { by, ids, copies } => {
                let ids: Vec<BlobId> = ids.iter().map(|id| blob(*id)).collect();
                for _ in 0..*copies {
                    self.commit(*by, vec![Change::Purge(Purge::Ids(ids.clone())); 2]);
                }
            }
            Happening::PurgeAll { by } => self.commit(*by, vec![Change::Purge(Purge::All)]),
            Happening::Block { by, id, is_blocked } => {
                let ids = vec![ContentId::Blob(blob(*id))];
                let change = if *is_blocked { Change::Block(ids) } else { Change::Unblock(ids) };
                self.commit(*by, vec![change]);
            }
            Happening::LastWord { by, id, down } => {
                let issuer = edges + by % self.shape.issuers;
                if self.issuer(issuer).is_some() {
                    let purge = Change::Purge(Purge::Ids(vec![blob(*id)]));
                    self.log.commit(vec![purge], self.now);
                    self.crash(issuer, *down, false);
                }
            }
            Happening::View { edge, id, fill } => self.view(edge % edges, blob(*id), *fill),
            Happening::Persist { edge } => {
                let edge = edge % edges;
                if let Some(applied) = self.edge(edge).map(edge_brain::EdgeBrain::applied) {
                    self.nodes[edge].disk = (applied, self.nodes[edge].sink.clone());
                }
            }
            Happening::Crash { node, down, keeps_disk } => {
                self.crash(node % all, *down, *keeps_disk);
            }
            Happening::Cut { from, to, lasts } => {
                self.cuts.insert((from % all, to % all), self.now + *lasts);
            }
            Happening::Partition { mask, lasts } => self.partition(*mask, *lasts),
            Happening::LogAway { lasts } => self.log_away = self.now + *lasts,
            Happening::DiskAway { edge, lasts } => {
                self.nodes[edge % edges].disk_away = self.now + *lasts;
            }
            Happening::Weather { loss, twice, delay } => {
                self.weather = Weather { loss: *loss, twice: *twice, delay: *delay };
            }
            Happening::Truncate => self.log.truncate(),
            Happening::Restore { lost, seq_goes_on } => self.log.restore(*lost, *seq_goes_on),
            Happening::Hint { edge, beyond } => {
                let head = self.log.head;
                let hint = Position { seq: head.seq + beyond, ..head };
                self.tell_edge(edge % edges, edge_brain::Input::Hint(hint));
            }
        }
    }
}
