//! One fetch per key at a time, shared by everybody who wants it.
//!
//! The first to miss begins the fill; the rest join it, and all read the bytes as they arrive. The
//! fill is a task of its own: it outlives the viewer who began it as long as another reads along
//! or little is left to fetch. Where it ends, what it got is in the cache, or what went wrong is
//! told to everybody who waits.

pub mod ahead;
mod assemble;
mod blame;
mod course;
mod draw;
pub mod error;
mod giver;
mod have;
mod hedge;
mod limits;
mod reader;
mod regional;
mod state;
mod task;
mod through;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed},
        },
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;
use wcdn_proto::{BlobId, Position};
use wcdn_walrus::Encoding;

use self::{error::FillError, limits::Limits, state::State, task::Task};
pub use self::{
    have::{Had, Want},
    reader::{Reader, Ready},
    state::Head,
};
use super::{
    Cache,
    entry::{Entry, Key, Part},
    redis::Redis,
};
use crate::{
    config::Config,
    edge::clients::{Charge, Payer, Refusal},
    events::Log,
    metrics::{Metrics, ShedReason},
    origin::Pool,
    peer::{Peers, notes::Notes},
    verify::Verifier,
};

/// The fills under way.
#[derive(Debug, Clone)]
pub struct Fills {
    shared: Arc<Shared>,
}

/// What fills work with.
#[derive(Debug)]
pub struct Means {
    /// Where entries go.
    pub cache: Arc<Cache>,
    /// Where bytes come from.
    pub pool: Pool,
    /// The tier that is asked first, if there is one.
    pub redis: Option<Redis>,
    /// The other nodes of the region, if they are asked.
    pub peers: Option<Peers>,
    /// What other regions vouch for, if anybody tells of it.
    pub notes: Option<Notes>,
    /// Who checks them.
    pub verifier: Verifier,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where the tasks of fills run.
    pub tasks: TaskTracker,
    /// What ends them.
    pub shutdown: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    cache: Arc<Cache>,
    pool: Pool,
    redis: Option<Redis>,
    peers: Option<Peers>,
    notes: Option<Notes>,
    verifier: Verifier,
    limits: Limits,
    /// The fills that may be joined.
    table: Mutex<HashMap<Key, Arc<Fill>>>,
    /// Those, and the ones that an event overtook and that still have readers.
    running: AtomicUsize,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    metrics: Arc<Metrics>,
}

/// One fill. Its task writes the state; readers wait on it.
#[derive(Debug)]
struct Fill {
    key: Key,
    log: Arc<Log>,
    state: watch::Sender<State>,
    /// Readers now; raised only under the table's lock.
    readers: AtomicUsize,
    /// Wakes the task when the last reader left.
    left: Notify,
    /// Cancelled once a peer asked for it: who is asked asks no other peer in turn, or two nodes that
    /// take each other for the owner would wait for each other.
    by_itself: CancellationToken,
}

/// What is to be had.
#[derive(Debug, Clone, Copy)]
struct Wish {
    key: Key,
    /// Bytes of the blob, where they are known.
    total: Option<u64>,
    /// Older bytes will not do.
    least: Position,
    /// Whether a peer asks.
    is_peers: bool,
}

/// How a key that was missed can be had.
#[derive(Debug)]
pub enum Joined {
    /// It has arrived in the meantime.
    Hit(Arc<Entry>),
    /// By reading along.
    Reader {
        /// The share in the fill.
        reader: Reader,
        /// Whether somebody else had begun it.
        collapsed: bool,
    },
}

/// How long a client that has too many fills under way is told to wait: one of them soon ends.
const CLIENT_BUSY: Duration = Duration::from_millis(50);

impl Fills {
    /// No fills yet.
    pub fn new(config: &Config, encoding: Encoding, means: Means) -> Self {
        let limits = Limits::of(config, encoding);
        let Means { cache, pool, redis, peers, notes, verifier, metrics, tasks, shutdown } = means;
        let (table, running) = (Mutex::default(), AtomicUsize::new(0));
        let shared = Shared {
            cache,
            pool,
            redis,
            peers,
            notes,
            verifier,
            limits,
            table,
            running,
            tasks,
            shutdown,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Joins the fill of `key`, beginning it at the cost of `payer` if nobody has. `total` is the
    /// length of the blob, where it is known; slices need it.
    ///
    /// # Errors
    /// [`FillError::Shed`] when too many fills are under way or were begun a moment ago,
    /// [`FillError::Throttled`] when too many are or were by this client.
    pub fn join(&self, key: Key, total: Option<u64>, payer: &Payer) -> Result<Joined, FillError> {
        self.join_for(&Wish::of_viewer(key, total), payer)
    }

    fn join_for(&self, wish: &Wish, payer: &Payer) -> Result<Joined, FillError> {
        let key = wish.key;
        let mut table = self.shared.table.lock();
        if let Some(fill) = table.get(&key) {
            if wish.is_peers {
                fill.by_itself.cancel();
            }
            let reader = Reader::new(Arc::clone(fill));
            return Ok(Joined::Reader { reader, collapsed: true });
        }
        // A fill admits its entry before it leaves the table, so looking again under the lock
        // finds what arrived since the caller's miss.
        if let super::Lookup::Hit(entry) = self.shared.cache.lookup(&key) {
            return Ok(Joined::Hit(entry));
        }
        if self.shared.running.load(Relaxed) >= self.shared.limits.fills_for(wish) {
            self.shared.metrics.shed(ShedReason::Fills);
            return Err(FillError::Shed(ShedReason::Fills));
        }
        let charge = self.charge(payer)?;
        let fill = Arc::new(Fill {
            key,
            log: Arc::clone(self.shared.cache.log()),
            state: watch::Sender::new(State::default()),
            readers: AtomicUsize::new(0),
            left: Notify::new(),
            by_itself: CancellationToken::new(),
        });
        if wish.is_peers {
            fill.by_itself.cancel();
        }
        let reader = Reader::new(Arc::clone(&fill));
        table.insert(key, Arc::clone(&fill));
        let task = Task::new(Arc::clone(&self.shared), fill, wish, charge);
        let span = tracing::info_span!("fill", blob = %key.id);
        self.shared.tasks.spawn(task.run().instrument(span));
        Ok(Joined::Reader { reader, collapsed: false })
    }

    /// Takes the fills of these blobs out of the table: who asks from now on begins anew, who reads
    /// along reads on. What they bring is not kept, for their tokens tell how old it is. How many
    /// there were.
    pub fn forget(&self, ids: &[BlobId]) -> u64 {
        // Who begins a fill after this look knows of the event.
        if self.shared.table.lock().is_empty() {
            return 0;
        }
        let ids: HashSet<_, foldhash::fast::RandomState> = ids.iter().collect();
        self.forget_if(|key| ids.contains(&key.id))
    }

    /// The same for all fills.
    pub fn forget_all(&self) -> u64 {
        self.forget_if(|_| true)
    }

    fn forget_if(&self, is_removed: impl Fn(&Key) -> bool) -> u64 {
        let mut table = self.shared.table.lock();
        let before = table.len();
        table.retain(|key, _| !is_removed(key));
        (before - table.len()) as u64
    }

    /// Whether a blob is being fetched.
    pub fn is_filling(&self, id: &BlobId) -> bool {
        self.shared.table.lock().contains_key(&Key { id: *id, part: Part::Whole })
    }

    /// Has a client pay for asking origins.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub(crate) fn charge(&self, payer: &Payer) -> Result<Charge, FillError> {
        payer.charge().map_err(|refusal| match refusal {
            Refusal::Client(retry_after) => {
                self.shared.metrics.shed(ShedReason::ClientMisses);
                FillError::Throttled { retry_after }
            }
            Refusal::Busy => {
                self.shared.metrics.shed(ShedReason::ClientFills);
                FillError::Throttled { retry_after: CLIENT_BUSY }
            }
            Refusal::Node(_) => {
                self.shared.metrics.shed(ShedReason::Misses);
                FillError::Shed(ShedReason::Misses)
            }
        })
    }

    /// Whether viewers would find half of the room for fills.
    fn has_room_behind(&self) -> bool {
        self.shared.running.load(Relaxed) < self.shared.limits.fills_behind()
    }

    /// Bytes of a slice of a blob too large to hold.
    pub fn slice(&self) -> u64 {
        self.shared.limits.slice
    }

    /// The largest blob that is held as a whole.
    pub fn whole(&self) -> u64 {
        self.shared.limits.whole
    }

    /// Whether bytes are checked at all.
    pub fn checks(&self) -> bool {
        self.shared.limits.checks
    }

    /// Whether a length may be taken from an origin's word, as slices of large blobs need it.
    pub fn probes(&self) -> bool {
        !self.shared.limits.strict
    }

    /// Whether the region's Redis has a blob: then nothing needs to be asked of origins.
    pub async fn region_holds(&self, id: &BlobId) -> bool {
        match &self.shared.redis {
            Some(redis) if self.shared.cache.log().positions.has_caught_up() => {
                redis.holds(id).await
            }
            _ => false,
        }
    }

    /// The region's Redis, if there is one.
    pub fn redis(&self) -> Option<&Redis> {
        self.shared.redis.as_ref()
    }

    /// What may not be served any more.
    pub fn log(&self) -> &Arc<Log> {
        self.shared.cache.log()
    }

    /// The origins.
    pub fn pool(&self) -> &Pool {
        &self.shared.pool
    }
}

impl Wish {
    fn of_viewer(key: Key, total: Option<u64>) -> Self {
        Self { key, total, least: Position::ORIGIN, is_peers: false }
    }
}

impl Shared {
    /// Gives the region what was filled from origins.
    fn share(&self, key: Key, entry: &Arc<Entry>) {
        if let Some(redis) = &self.redis
            && key.part == Part::Whole
            && self.cache.log().positions.has_caught_up()
        {
            redis.offer(key.id, entry);
        }
    }

    /// Has other regions told of a check.
    fn tell(&self, key: Key, entry: &Entry) {
        if let Some(notes) = &self.notes
            && key.part == Part::Whole
        {
            notes.tell(key.id, entry.record());
        }
    }

    /// Takes a fill nobody reads out of the table; `false` if somebody does after all.
    fn give_up(&self, fill: &Fill) -> bool {
        let mut table = self.table.lock();
        let idle = fill.readers.load(Acquire) == 0;
        if idle {
            remove(&mut table, fill);
        }
        idle
    }

    /// Takes a fill that has ended out of the table.
    fn leave(&self, fill: &Fill) {
        remove(&mut self.table.lock(), fill);
    }
}

/// Removes `fill`, and not another one that was begun for the same key since.
fn remove(table: &mut HashMap<Key, Arc<Fill>>, fill: &Fill) {
    if table.get(&fill.key).is_some_and(|there| std::ptr::eq(Arc::as_ptr(there), fill)) {
        table.remove(&fill.key);
    }
}
