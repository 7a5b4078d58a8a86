//! What edges report of their origins, by region: a few slots of time in memory.
//!
//! Nodes send counts that only grow; what is new in them is found here, for each start of each node. A
//! report that comes twice, or late, adds nothing. Of a node that is heard for the first time nobody knows
//! when it counted what it counted, so its first report, which has all of its origins, only says where it
//! begins.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use tokio::time::Instant;
use wcdn_proto::{
    BlobId, NodeId, OriginName, Region,
    pb::edge::v1::{Lie, OriginTraffic},
};

use super::counts::Counts;
use crate::tracker::Registered;

/// What all nodes report.
#[derive(Debug)]
pub(crate) struct Traffic {
    nodes: HashMap<NodeId, Node>,
    seen: BTreeMap<(OriginName, Region), Window>,
    slot: Duration,
    began: Instant,
}

/// What one node said so far.
#[derive(Debug)]
struct Node {
    incarnation: u64,
    heard: Instant,
    origins: HashMap<OriginName, Counts>,
    /// The last lie that it told of.
    lies: u64,
}

/// The last slots of a region and an origin.
#[derive(Debug, Default)]
struct Window {
    slots: [(u64, Counts); SLOTS],
    good_at: Option<Instant>,
}

/// What a region saw of an origin lately.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    /// Since it last reported that the origin served.
    pub(crate) good_ago: Option<Duration>,
}

/// A node says that an origin lied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) node: NodeId,
    pub(crate) region: Region,
    pub(crate) origin: OriginName,
    pub(crate) blob: BlobId,
    pub(crate) heard: Instant,
}

/// Whether nodes ask certain origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// No node has said whom it asks.
    Unknown,
    /// All of them ask these alone.
    All,
    /// This node asks another one.
    Stranger(NodeId, OriginName),
}

/// Slots that are kept.
const SLOTS: usize = 3;

/// The shortest slot: several reports of a node.
const SHORTEST_SLOT: Duration = Duration::from_secs(15);

/// Nodes that are remembered, origins of one of them, and pairs of origins and regions.
const MAX_NODES: usize = 10_000;
const MAX_ORIGINS: usize = 1_000;
const MAX_SEEN: usize = 20_000;

/// A node that is not heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

impl Traffic {
    /// Nothing is known yet; rounds come each `interval`.
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        let slot = interval.max(SHORTEST_SLOT);
        Self { nodes: HashMap::new(), seen: BTreeMap::new(), slot, began: now }
    }

    /// Takes a report in; gives what it newly says of lies.
    pub(crate) fn heard(
        &mut self,
        who: &Registered,
        origins: &[OriginTraffic],
        lies: &[Lie],
        now: Instant,
    ) -> Vec<Claim> {
        if origins.is_empty() && lies.is_empty() {
            return Vec::new();
        }
        self.forget(now);
        let has_room = self.nodes.len() < MAX_NODES;
        let (node, is_known) = match self.nodes.entry(who.node.clone()) {
            Entry::Occupied(known) => (known.into_mut(), true),
            Entry::Vacant(new) if has_room => (new.insert(Node::new(who.incarnation, now)), false),
            Entry::Vacant(_) => return Vec::new(),
        };
        if who.incarnation < node.incarnation {
            return Vec::new();
        }
        if who.incarnation > node.incarnation {
            *node = Node::new(who.incarnation, now);
        }
        node.heard = now;
        let claims = node.claims(who, lies);
        let named = origins.iter().filter_map(|report| {
            Some((report.origin.parse::<OriginName>().ok()?, Counts::read(report)))
        });
        let new: Vec<_> = named
            .map(|(origin, told)| (origin.clone(), node.new_in(&origin, &told, is_known)))
            .filter(|(_, new)| *new != Counts::default())
            .collect();
        for (origin, new) in new {
            self.add(origin, who.region.clone(), &new, now);
        }
        claims
    }

    fn add(&mut self, origin: OriginName, region: Region, new: &Counts, now: Instant) {
        let slot = self.slot_at(now);
        if self.seen.len() >= MAX_SEEN {
            self.seen.retain(|_, window| window.is_recent(slot));
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.entry((origin, region)).or_default().add(slot, new, now);
        }
    }

    /// What each region saw of an origin lately.
    pub(crate) fn of(&self, origin: &OriginName, now: Instant) -> Vec<(Region, Seen)> {
        let slot = self.slot_at(now);
        let pairs = self.seen.iter().filter(|((name, _), _)| name == origin);
        let seen = pairs.map(|((_, region), window)| (region.clone(), window.seen(slot, now)));
        seen.filter(|(_, seen)| seen.counts != Counts::default()).collect()
    }

    /// Whether nodes ask these origins and no others, as far as they have said whom they ask.
    pub(crate) fn agreement(&self, names: &BTreeSet<&str>) -> Agreement {
        if self.nodes.is_empty() {
            return Agreement::Unknown;
        }
        let stranger = self.nodes.iter().find_map(|(node, known)| {
            let stranger = known.origins.keys().find(|origin| !names.contains(origin.as_str()))?;
            Some(Agreement::Stranger(node.clone(), stranger.clone()))
        });
        stranger.unwrap_or(Agreement::All)
    }

    fn slot_at(&self, now: Instant) -> u64 {
        // From 1, so that an empty slot is an old one.
        let slots = now.saturating_duration_since(self.began).as_nanos() / self.slot.as_nanos();
        u64::try_from(slots).unwrap_or(u64::MAX - 1) + 1
    }

    fn forget(&mut self, now: Instant) {
        if self.nodes.len() >= MAX_NODES {
            self.nodes.retain(|_, node| now - node.heard < FORGOTTEN);
        }
    }
}

impl Node {
    fn new(incarnation: u64, now: Instant) -> Self {
        Self { incarnation, heard: now, origins: HashMap::new(), lies: 0 }
    }

    /// What is new in a report. An origin that a known node names for the first time began at zero.
    fn new_in(&mut self, origin: &OriginName, now: &Counts, is_known: bool) -> Counts {
        if let Some(before) = self.origins.get_mut(origin) {
            let new = now.since(before);
            *before = before.or(now);
            return new;
        }
        if self.origins.len() < MAX_ORIGINS {
            self.origins.insert(origin.clone(), *now);
        }
        if is_known { *now } else { Counts::default() }
    }

    fn claims(&mut self, who: &Registered, lies: &[Lie]) -> Vec<Claim> {
        let mut claims = Vec::new();
        for lie in lies.iter().filter(|lie| lie.seq > self.lies) {
            if let (Ok(origin), Ok(blob)) = (lie.origin.parse(), BlobId::try_from(&*lie.content)) {
                let (node, region) = (who.node.clone(), who.region.clone());
                claims.push(Claim { node, region, origin, blob, heard: self.heard });
            }
        }
        self.lies = lies.iter().map(|lie| lie.seq).fold(self.lies, u64::max);
        claims
    }
}

impl Window {
    fn add(&mut self, slot: u64, new: &Counts, now: Instant) {
        let place = usize::try_from(slot % SLOTS as u64).unwrap_or(0);
        let (at, counts) = &mut self.slots[place];
        *counts = if *at == slot { counts.plus(new) } else { *new };
        *at = slot;
        if new.requests > new.failures() {
            self.good_at = Some(now);
        }
    }

    fn is_recent(&self, slot: u64) -> bool {
        self.slots.iter().any(|(at, _)| at + SLOTS as u64 > slot)
    }

    fn seen(&self, slot: u64, now: Instant) -> Seen {
        let recent = self.slots.iter().filter(|(at, _)| at + SLOTS as u64 > slot);
        let counts = recent.fold(Counts::default(), |sum, (_, counts)| sum.plus(counts));
        Seen { counts, good_ago: self.good_at.map(|at| now.saturating_duration_since(at)) }
    }
}

#[cfg(test)]
mod tests;
