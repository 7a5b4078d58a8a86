//! What the control plane's log says of content, and how it becomes true here.
//!
//! - [`removed`]: the reader's fence, asked before bytes are served, wherever they lie
//! - [`blocked`]: what is answered with 451
//! - [`pins`]: what is to be kept ready
//! - [`keys`]: who is known by an API key
//! - [`words`]: the latest word on an id
//! - [`positions`]: how far the log is known, and when its head was confirmed
//! - [`apply`]: events become true: [`apply::Applier`] is what the event plane drives
//! - [`outcome`]: what came of each event, for the control plane to report
//! - [`redis`]: what was removed goes from the region's Redis too, in its own time
//! - [`disk`]: what a node must still know after a crash
//!
//! The cost for a hit: two loads for the fence, one for blocks, one for whether the node has begun;
//! where a lease is kept, one reading of a clock.

pub mod apply;
pub mod blocked;
pub mod disk;
pub mod keys;
pub mod outcome;
pub mod pins;
pub mod positions;
pub mod redis;
pub mod removed;
pub mod words;

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Release, SeqCst},
        },
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wcdn_proto::{BlobId, ContentId, Position};

use self::{
    blocked::Blocked, disk::Kept, keys::ApiKeys, pins::Pins, positions::Positions, removed::Removed,
};
use crate::metrics::events::{EventMetrics, Tier};

/// What this node knows of the log.
#[derive(Debug)]
pub struct Log {
    /// What was removed.
    pub removed: Removed,
    /// What is withheld.
    pub blocked: Blocked,
    /// What is pinned.
    pub pins: Pins,
    /// API keys.
    pub keys: ApiKeys,
    /// How far it is known.
    pub positions: Positions,
    /// What came of it.
    pub metrics: Arc<EventMetrics>,
    lease: Option<Lease>,
    /// Whether enough is known to answer anybody.
    has_begun: AtomicBool,
    /// How often something was blocked; responses that run compare it before each piece.
    blocks: AtomicU64,
    /// Cancelled, and another put in its place, whenever something is blocked. Each connection waits
    /// for a child of its own, so that none waits for a lock that another holds.
    blocking: Mutex<CancellationToken>,
}

/// How a log is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// There is none: what a node knows, it knows.
    None,
    /// From a control plane, and its head is confirmed again and again.
    Log(Lease),
}

/// For how long the log's head is taken for confirmed, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// From when it was asked for.
    pub window: Duration,
    /// Whether nothing is served after that.
    pub is_strict: bool,
}

/// Whether what is known of the log is recent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It is, or there is no log.
    Confirmed,
    /// It may not be; what is served says so.
    Unconfirmed,
    /// It may not be, or nothing is known yet: nothing is served.
    Fenced,
}

impl Log {
    /// Begins with what was kept.
    pub fn new(follows: Follows, kept: Option<&Kept>, metrics: Arc<EventMetrics>) -> Self {
        let position = kept.map_or(Position::ORIGIN, |kept| kept.position);
        let (removed, blocked, pins) = (Removed::default(), Blocked::default(), Pins::default());
        if let Some(kept) = kept {
            removed.begin(position.epoch);
            removed.merge(&kept.removals);
            for (id, word) in &kept.words {
                blocked.hear(&[*id], *word);
            }
            for (id, word) in &kept.pins {
                pins.hear(&[*id], *word);
            }
        }
        // Removals are kept as they came, out of order: what is fetched now is newer than all of them.
        let latest = kept.map_or(0, |kept| kept.removals.latest());
        let lease = match follows {
            Follows::Log(lease) => Some(lease),
            Follows::None => None,
        };
        let positions = Positions::new(position, lease.is_some());
        positions.hear(Position { epoch: removed.epoch(), seq: latest });
        Self {
            removed,
            blocked,
            pins,
            keys: ApiKeys::default(),
            positions,
            metrics,
            lease,
            has_begun: AtomicBool::new(lease.is_none() || position > Position::ORIGIN),
            blocks: AtomicU64::new(0),
            blocking: Mutex::default(),
        }
    }

    /// What a node knows that follows no log: nothing is removed or withheld.
    pub fn none() -> Arc<Self> {
        Arc::new(Self::new(Follows::None, None, Arc::default()))
    }

    /// Whether bytes of `id` whose fetch began at `token` may be served; counted where not.
    pub fn admits(&self, id: &BlobId, token: Position, tier: Tier) -> bool {
        let is_removed = self.removed.covers(id, token);
        if is_removed {
            self.metrics.rejected(tier);
        }
        !is_removed
    }

    /// The same of bytes that another node vouches for. It may know more of the log than this one,
    /// and then its bytes are not believed yet: whoever stole the cluster's key could else make bytes
    /// that no removal reaches.
    pub fn admits_from_others(&self, id: &BlobId, token: Position, tier: Tier) -> bool {
        let is_possible = token <= self.positions.known();
        if !is_possible {
            self.metrics.rejected(tier);
        }
        is_possible && self.admits(id, token, tier)
    }

    /// Whether it is withheld.
    pub fn withholds(&self, content: &ContentId) -> bool {
        self.blocked.is_content_blocked(content)
    }

    /// Cuts responses that are withheld by now.
    pub fn cut(&self) {
        // After the ids stand in the set: whoever sees the new number looks there.
        self.blocks.fetch_add(1, SeqCst);
        std::mem::take(&mut *self.blocking.lock()).cancel();
    }

    /// How often something was blocked; read before a response is checked, it is how the response
    /// finds out later that it must be checked again.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(SeqCst)
    }

    /// Cancelled once something is blocked.
    pub fn next_block(&self) -> CancellationToken {
        self.blocking.lock().child_token()
    }

    /// Enough is known to answer, or it cannot be had.
    pub fn begin(&self) {
        self.has_begun.store(true, Release);
    }

    /// Whether enough is known to answer.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Acquire)
    }

    /// Whether what is known of the log is recent enough.
    pub fn confirmation(&self) -> Confirmation {
        if !self.has_begun() {
            return Confirmation::Fenced;
        }
        match self.lease {
            None => Confirmation::Confirmed,
            Some(lease) if self.positions.confirmed_ago().is_some_and(|ago| ago < lease.window) => {
                Confirmation::Confirmed
            }
            Some(Lease { is_strict: true, .. }) => Confirmation::Fenced,
            Some(_) => Confirmation::Unconfirmed,
        }
    }
}
