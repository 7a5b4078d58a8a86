//! Blobs that are fetched before anybody asks: which node fetches what, and how far it is.
//!
//! Pure but for a bell. Each region has a queue for each job, and nodes with a session here take from it,
//! piece after piece, as they get done: whoever is fast takes more, and what a node had taken when its
//! session ended is taken by another. Nothing of this is kept: a control plane that restarts has
//! forgotten it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{
    BlobId, NodeId, Region,
    pb::{admin::v1 as admin, edge::v1 as edge},
};

use crate::base32;

/// Blobs that a node is given at once, and that it may have taken.
const PIECE: usize = 64;
const TAKEN: usize = 2 * PIECE;

/// Jobs that are kept, and for how long after they began.
const MAX_JOBS: usize = 64;
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Blobs that are not settled, counted in each region.
const MAX_BLOBS: usize = 200_000;

/// Failures of a job that are told one by one.
const MAX_FAILURES: usize = 100;

/// Characters of a reason that are kept.
const MAX_REASON: usize = 200;

/// Every preload.
#[derive(Debug, Default)]
pub(crate) struct Preloads {
    jobs: BTreeMap<u64, Job>,
    last: u64,
    takers: HashMap<NodeId, Taker>,
    /// Blobs that are not settled, counted in each region.
    unsettled: usize,
    /// Rung when there is something to take, or to tell.
    bell: watch::Sender<()>,
}

/// A node with a session.
#[derive(Debug)]
struct Taker {
    session: u64,
    region: Region,
    taken: usize,
}

#[derive(Debug)]
struct Job {
    id: String,
    begun: Instant,
    begun_at_ms: u64,
    regions: BTreeMap<Region, Share>,
    failures: Vec<admin::PreloadFailure>,
}

/// What one region has to do for a job.
#[derive(Debug, Default)]
struct Share {
    waiting: VecDeque<BlobId>,
    taken: HashMap<BlobId, NodeId>,
    done: u32,
    failed: u32,
    bytes: u64,
}

/// Why a preload is not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No node of this region has a session here; of any, if none is named.
    NoNodes(Option<Region>),
    /// Too many are under way.
    Full,
}

/// What became of blobs, for counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

impl Preloads {
    /// Begins one. Says under which name it is found.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn begin(
        &mut self,
        ids: &[BlobId],
        regions: Vec<Region>,
        now: Instant,
        now_ms: u64,
    ) -> Result<String, Refused> {
        let regions = self.regions(regions)?;
        let count = ids.len().saturating_mul(regions.len());
        self.make_room(count)?;
        let share = || Share { waiting: ids.iter().copied().collect(), ..Share::default() };
        let id = format!("pre_{}", base32::encode(&rand::random::<[u8; 15]>()));
        let job = Job {
            id: id.clone(),
            begun: now,
            begun_at_ms: now_ms,
            regions: regions.into_iter().map(|region| (region, share())).collect(),
            failures: Vec::new(),
        };
        self.last += 1;
        self.jobs.insert(self.last, job);
        self.unsettled += count;
        self.bell.send_replace(());
        Ok(id)
    }

    /// Those that are named, or all: each has a node that can do it.
    fn regions(&self, named: Vec<Region>) -> Result<Vec<Region>, Refused> {
        let is_there = |region: &Region| self.takers.values().any(|taker| taker.region == *region);
        if let Some(region) = named.iter().find(|region| !is_there(region)) {
            return Err(Refused::NoNodes(Some(region.clone())));
        }
        let mut regions = named;
        if regions.is_empty() {
            regions = self.takers.values().map(|taker| taker.region.clone()).collect();
        }
        regions.sort();
        regions.dedup();
        if regions.is_empty() { Err(Refused::NoNodes(None)) } else { Ok(regions) }
    }

    /// Forgets the oldest that is settled, if there are too many.
    fn make_room(&mut self, blobs: usize) -> Result<(), Refused> {
        if self.jobs.len() >= MAX_JOBS {
            let settled = self.jobs.iter().find(|(_, job)| job.is_settled());
            let oldest = settled.map(|(number, _)| *number).ok_or(Refused::Full)?;
            self.jobs.remove(&oldest);
        }
        let is_full = self.unsettled > 0 && self.unsettled.saturating_add(blobs) > MAX_BLOBS;
        if is_full { Err(Refused::Full) } else { Ok(()) }
    }

    /// A node can take from now on, in the session of this number.
    pub(crate) fn entered(&mut self, node: &NodeId, region: &Region, session: u64) {
        self.put_back(node);
        let taker = Taker { session, region: region.clone(), taken: 0 };
        self.takers.insert(node.clone(), taker);
    }

    /// Its session has ended.
    pub(crate) fn left(&mut self, node: &NodeId, session: u64) {
        if self.takers.get(node).is_some_and(|taker| taker.session == session) {
            self.takers.remove(node);
            self.put_back(node);
        }
    }

    /// What a node had taken is for others.
    fn put_back(&mut self, node: &NodeId) {
        for share in self.jobs.values_mut().flat_map(|job| job.regions.values_mut()) {
            let ids = share.taken.iter().filter(|(_, taker)| *taker == node).map(|(id, _)| *id);
            let ids: Vec<BlobId> = ids.collect();
            for id in ids {
                share.taken.remove(&id);
                share.waiting.push_front(id);
            }
        }
        self.bell.send_replace(());
    }

    /// The next piece for a node; `None` if there is nothing to do, or it has enough.
    pub(crate) fn take(&mut self, node: &NodeId, session: u64) -> Option<edge::Preload> {
        let taker = self.takers.get(node).filter(|taker| taker.session == session)?;
        let region = taker.region.clone();
        let nodes = self.takers.values().filter(|other| other.region == region).count();
        let room = TAKEN.saturating_sub(taker.taken).min(PIECE);
        let (job, share, count) = self.jobs.iter_mut().find_map(|(number, job)| {
            let share = job.regions.get_mut(&region)?;
            let count = share.part_of(node, nodes).min(room);
            (count > 0).then_some((*number, share, count))
        })?;
        let ids: Vec<BlobId> = share.waiting.drain(..count).collect();
        share.taken.extend(ids.iter().map(|id| (*id, node.clone())));
        self.takers.get_mut(node)?.taken += ids.len();
        let ids: Vec<_> = ids.iter().map(|id| id.as_bytes().to_vec().into()).collect();
        (!ids.is_empty()).then_some(edge::Preload { job, ids })
    }

    /// A node says what became of blobs that it took in the session of this number.
    pub(crate) fn reported(
        &mut self,
        node: &NodeId,
        session: u64,
        outcomes: &[edge::Preloaded],
    ) -> Settled {
        let mut settled = Settled::default();
        let taker = self.takers.get_mut(node).filter(|taker| taker.session == session);
        let Some(taker) = taker else { return settled };
        for outcome in outcomes {
            let job = self.jobs.get_mut(&outcome.job);
            // Of a job that is forgotten, it still is one less.
            taker.taken = taker.taken.saturating_sub(1);
            if let Some(job) = job {
                settled.add(job.settle(node, &taker.region, outcome));
            }
        }
        let count = usize::try_from(settled.done + settled.failed).unwrap_or(usize::MAX);
        self.unsettled = self.unsettled.saturating_sub(count);
        if !outcomes.is_empty() {
            self.bell.send_replace(());
        }
        settled
    }

    /// How far a job is.
    pub(crate) fn standing(&self, id: &str) -> Option<admin::PreloadJob> {
        self.jobs.values().find(|job| job.id == id).map(Job::to_wire)
    }

    /// Rings when there is something to take, or to tell.
    pub(crate) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Forgets what is old.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let is_young = |job: &Job| now.saturating_duration_since(job.begun) < KEPT;
        let before = self.jobs.len();
        self.jobs.retain(|_, job| is_young(job));
        if self.jobs.len() < before {
            self.unsettled = self.jobs.values().map(Job::unsettled).sum();
            self.bell.send_replace(());
        }
    }
}

impl Share {
    /// How many more are for a node, of so many: a few blobs are not all taken by the first who comes,
    /// and whoever is done with its part has one of the rest.
    fn part_of(&self, node: &NodeId, nodes: usize) -> usize {
        let mine = self.taken.values().filter(|taker| *taker == node).count();
        let fair = (self.waiting.len() + self.taken.len()).div_ceil(nodes.max(1));
        fair.saturating_sub(mine).min(self.waiting.len())
    }
}

impl Job {
    fn settle(&mut self, node: &NodeId, region: &Region, outcome: &edge::Preloaded) -> Settled {
        let mut settled = Settled::default();
        let Some(share) = self.regions.get_mut(region) else { return settled };
        let Ok(id) = BlobId::try_from(&*outcome.id) else { return settled };
        if share.taken.get(&id) != Some(node) {
            return settled;
        }
        share.taken.remove(&id);
        if outcome.failure.is_empty() {
            share.done += 1;
            share.bytes = share.bytes.saturating_add(outcome.length);
            settled.done = 1;
            return settled;
        }
        share.failed += 1;
        settled.failed = 1;
        if self.failures.len() < MAX_FAILURES {
            let plain = outcome.failure.chars().map(|c| if c.is_control() { ' ' } else { c });
            let why: String = plain.take(MAX_REASON).collect();
            let (id, region) = (id.to_string(), region.to_string());
            self.failures.push(admin::PreloadFailure {
                id,
                region,
                reason: format!("{node}: {why}"),
            });
        }
        settled
    }

    fn unsettled(&self) -> usize {
        self.regions.values().map(|share| share.waiting.len() + share.taken.len()).sum()
    }

    fn is_settled(&self) -> bool {
        self.unsettled() == 0
    }

    fn to_wire(&self) -> admin::PreloadJob {
        let wide = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let region = |(region, share): (&Region, &Share)| admin::PreloadedRegion {
            region: region.to_string(),
            wanted: wide(share.waiting.len() + share.taken.len())
                .saturating_add(share.done)
                .saturating_add(share.failed),
            done: share.done,
            failed: share.failed,
            bytes: share.bytes,
        };
        admin::PreloadJob {
            id: self.id.clone(),
            begun_at_ms: self.begun_at_ms,
            regions: self.regions.iter().map(region).collect(),
            settled: self.is_settled(),
            failures: self.failures.clone(),
        }
    }
}

impl Settled {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests;
