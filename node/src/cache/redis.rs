//! The region's Redis: verified blobs, shared by the nodes of a region.
//!
//! Only the node that filled a blob writes it, in the background and within bounds; whoever misses
//! it in memory asks here before any origin. Redis is never needed: what is slow or silent costs
//! one deadline and is then left alone until a probe in the background finds it well (`lanes`).
//! What it says is believed only as far as the cluster's key vouches for it ([`record`]).

mod found;
pub mod keep;
mod keeper;
mod lanes;
mod link;
pub mod record;
mod removal;
pub mod rewarm;
mod settings;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::BlobId;

pub use self::{found::Found, settings::Settings};
use self::{
    lanes::Lanes,
    link::{Ask, Link},
    record::{Attested, Attestor, MAX_RECORD, Place},
};
use super::entry::{Entry, Level, Record, SLICE};
use crate::{
    events::Log,
    metrics::{
        events::Tier,
        redis::{Operation, RedisMetrics, Result as Counted},
    },
};

/// The regional tier. Clones share it.
#[derive(Debug, Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    attestor: Attestor,
    /// What of it may not be served any more.
    log: Arc<Log>,
    /// Set by the keeper, whole or not at all; the first one is for writing, so that nobody who
    /// reads waits behind a large value.
    links: ArcSwapOption<Vec<Link>>,
    /// Turns to write, and to read.
    writing: Semaphore,
    reading: Semaphore,
    /// Until when nothing is written, after a write that was not answered.
    pause: Mutex<Option<Instant>>,
    lanes: Mutex<Lanes>,
    /// Cancelled once connecting has succeeded or failed for the first time.
    tried: CancellationToken,
    /// Wakes the keeper when a lane closes.
    closed: Notify,
    /// Woken when Redis is back after it was away: what it holds may be little or old.
    healed: Notify,
    /// KiB that may wait to be written.
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    metrics: Arc<RedisMetrics>,
}

/// Why Redis did not answer with a value.
#[derive(Debug)]
enum Trouble {
    /// It is left alone for now.
    Closed,
    /// Too many ask it at once.
    Crowded,
    /// It was silent, or cannot be reached.
    Outage,
    /// It refuses this one operation.
    Refused(RedisError),
}

/// Values that are being written at once; the rest wait, within `max_pending`.
const WRITES_AT_ONCE: usize = 2;

/// Reads at once; who waits for a turn longer than an operation may take goes on without Redis. A
/// node that starts beside a full Redis must not take its own haste for an outage.
const READS_AT_ONCE: usize = 8;

/// How long nothing is written after a write that was not answered.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// How many times as long as reading, for which a viewer waits, writing may take.
const WRITE_PATIENCE: u32 = 10;

/// How long the readiness of a node waits for Redis.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that looking for a blob may bring.
pub const FIND_COST: u64 = (MAX_RECORD + SLICE) as u64;

impl Redis {
    /// Begins to connect; until it succeeds everything is a miss.
    pub fn start(
        settings: Settings,
        attestor: Attestor,
        log: Arc<Log>,
        metrics: Arc<RedisMetrics>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let room = usize::try_from(settings.max_pending >> 10).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes::new(settings.cluster)),
            settings,
            attestor,
            log,
            links: ArcSwapOption::empty(),
            writing: Semaphore::new(WRITES_AT_ONCE),
            reading: Semaphore::new(READS_AT_ONCE),
            pause: Mutex::default(),
            tried: CancellationToken::new(),
            closed: Notify::new(),
            healed: Notify::new(),
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            tasks: tasks.clone(),
            metrics,
        });
        tasks.spawn(shutdown.run_until_cancelled_owned(keeper::run(Arc::clone(&shared))));
        Self { shared }
    }

    /// Waits until it is known whether Redis can be reached, but not for long: a node that starts
    /// is ready once its first fills can be shared, or once there is nobody to share them with.
    pub async fn settled(&self) {
        let _in_time = timeout(SETTLE_TIMEOUT, self.shared.tried.cancelled()).await.is_ok();
    }

    /// Looks for a blob. `None` if it is not there, cannot be had now, or is not to be believed.
    /// What comes is at most [`FIND_COST`] bytes.
    pub async fn find(&self, id: &BlobId) -> Option<Found> {
        let began = Instant::now();
        let mut commands = Pipeline::with_capacity(2);
        let place = self.shared.place(id);
        commands.add_command(read(place.record(), MAX_RECORD));
        commands.add_command(read(place.slice(0), SLICE));
        let answer: (Bytes, Bytes) = self.ask(Operation::Get, id, &commands).await?;
        let found = self.believed(place, answer);
        self.shared.metrics.get_seconds.observe(began.elapsed().as_secs_f64());
        found
    }

    /// Whether a blob is there and may be served: what is needed to decide how it is fetched.
    pub async fn holds(&self, id: &BlobId) -> bool {
        self.record(id).await.is_some()
    }

    /// The facts of a blob that is there and may be served.
    pub async fn record(&self, id: &BlobId) -> Option<Record> {
        let command = read(self.shared.place(id).record(), MAX_RECORD);
        let value: Bytes = self.ask(Operation::Exists, id, &command).await?;
        let attested = self.shared.attestor.open(id, &value).ok()?;
        self.admits(id, &attested).then_some(attested.record)
    }

    /// Whether no event removed the blob that a record tells of.
    fn admits(&self, id: &BlobId, attested: &Attested) -> bool {
        self.shared.log.admits_from_others(id, attested.record.token, Tier::Redis)
    }

    fn believed(&self, place: Place, (value, first): (Bytes, Bytes)) -> Option<Found> {
        let (id, count) = (&place.id, |result| self.shared.metrics.count(Operation::Get, result));
        if value.is_empty() {
            count(Counted::Miss);
            return None;
        }
        let attested = match self.shared.attestor.open(id, &value) {
            Ok(attested) => attested,
            Err(error) => {
                tracing::warn!(blob = %id, %error, "a record in redis is not believed");
                count(Counted::Disbelieved);
                return None;
            }
        };
        if attested.record.level == Level::Origin && !self.shared.settings.unchecked {
            count(Counted::Miss);
            return None;
        }
        if !self.admits(id, &attested) {
            count(Counted::Removed);
            return None;
        }
        if attested.record.length > 0 && !attested.is_slice(0, &first) {
            count(Counted::Incomplete);
            return None;
        }
        count(Counted::Hit);
        Some(Found { redis: self.clone(), place, attested, first })
    }

    /// Writes an entry in the background, if it is worth it and there is room.
    pub fn offer(&self, id: BlobId, entry: &Arc<Entry>) {
        let is_paused = self.shared.pause.lock().is_some_and(|end| Instant::now() < end);
        let is_fit = self.shared.is_fit(&id, entry);
        if !is_fit || is_paused || !self.shared.lanes.lock().is_open(&id) {
            return;
        }
        let Some(permit) = self.room(entry.record().length) else {
            self.shared.metrics.count(Operation::Set, Counted::Dropped);
            return;
        };
        let (redis, entry) = (self.clone(), Arc::clone(entry));
        self.shared.tasks.spawn(async move {
            redis.write(&id, &entry).await;
            drop(permit);
        });
    }

    fn room(&self, length: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(length >> 10).ok()?.saturating_add(1);
        Arc::clone(&self.shared.room).try_acquire_many_owned(kib).ok()
    }

    /// Writes slices first, so that whoever sees the record finds them. `false` when it was not
    /// written to its end. What an event removes meanwhile is not: it would only be in the way.
    async fn write(&self, id: &BlobId, entry: &Arc<Entry>) -> bool {
        let Ok(_turn) = self.shared.writing.acquire().await else { return false };
        let Some(record) = self.sealed(id, entry).await else { return false };
        let ttl = self.shared.ttl(id);
        let set = |key: String, value: &[u8]| {
            let mut command = Cmd::with_capacity(5, value.len() + 128);
            command.arg("SET").arg(key).arg(value).arg("EX").arg(ttl);
            command
        };
        let place = self.shared.place(id);
        for (n, slice) in entry.slices().iter().enumerate() {
            let command = set(place.slice(n), slice);
            if self.ask::<()>(Operation::Set, id, &command).await.is_none() {
                return false;
            }
        }
        if !self.shared.log.admits(id, entry.record().token, Tier::Fill) {
            return false;
        }
        let command = set(place.record(), &record);
        let written = self.ask::<()>(Operation::Set, id, &command).await.is_some();
        if written {
            self.shared.metrics.count(Operation::Set, Counted::Stored);
        }
        written
    }

    /// The record of an entry; `None`, told to the operator, if its bytes are no longer those that
    /// were checked. Hashing takes a core for a while, so not one of those that serve.
    async fn sealed(&self, id: &BlobId, entry: &Arc<Entry>) -> Option<Vec<u8>> {
        let (shared, entry, id) = (Arc::clone(&self.shared), Arc::clone(entry), *id);
        let sealing = tokio::task::spawn_blocking(move || shared.attestor.seal(&id, &entry));
        let sealed = sealing.await.ok()?;
        if sealed.is_none() {
            tracing::error!(blob = %id, "bytes in memory have changed; is the memory sound?");
        }
        sealed
    }

    /// Asks, within the deadline, and counts and logs what goes wrong.
    async fn ask<T: FromRedisValue>(
        &self,
        operation: Operation,
        id: &BlobId,
        command: &impl Ask,
    ) -> Option<T> {
        // Whatever no viewer waits for.
        let writes = matches!(operation, Operation::Set | Operation::Remove | Operation::ReadBack);
        let trouble = match self.try_ask(id, command, writes).await {
            Ok(value) => return Some(value),
            Err(trouble) => trouble,
        };
        let counted = match &trouble {
            Trouble::Closed => Counted::Closed,
            Trouble::Crowded => Counted::Crowded,
            Trouble::Outage => Counted::Outage,
            Trouble::Refused(error) => {
                tracing::debug!(blob = %id, %error, "redis refuses an operation");
                Counted::Refused
            }
        };
        self.shared.metrics.count(operation, counted);
        None
    }

    async fn try_ask<T: FromRedisValue>(
        &self,
        id: &BlobId,
        command: &impl Ask,
        writes: bool,
    ) -> Result<T, Trouble> {
        let patience = self.shared.settings.timeout * if writes { WRITE_PATIENCE } else { 1 };
        let _turn = match writes {
            true => None,
            false => Some(self.shared.turn_to_read(patience).await.ok_or(Trouble::Crowded)?),
        };
        let (links, mut link) = self.shared.link(id, writes).ok_or(Trouble::Closed)?;
        let error: &dyn std::fmt::Display = match timeout(patience, link.ask(command)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !link::is_outage(&error) => return Err(Trouble::Refused(error)),
            Ok(Err(error)) => &error.to_string(),
            Err(_elapsed) => &"no answer in time",
        };
        if writes {
            *self.shared.pause.lock() = Some(Instant::now() + WRITE_PAUSE);
        } else {
            self.shared.close(&links, *id, error);
        }
        Err(Trouble::Outage)
    }
}

impl Shared {
    /// Where the keys of a blob stand now.
    fn place(&self, id: &BlobId) -> Place {
        Place { generation: self.log.removed.floor(), id: *id }
    }

    /// Whether an entry is one that is given to Redis.
    fn is_fit(&self, id: &BlobId, entry: &Entry) -> bool {
        let record = entry.record();
        !self.log.removed.covers(id, record.token)
            && record.length <= self.settings.max_blob
            && (record.level.is_verified() || self.settings.unchecked)
    }

    /// A connection, if Redis may be asked for this blob.
    /// With those it is one of.
    fn link(&self, id: &BlobId, writes: bool) -> Option<(Arc<Vec<Link>>, Link)> {
        if !self.lanes.lock().is_open(id) {
            return None;
        }
        let links = self.links.load_full()?;
        let link = if writes { links.first().cloned() } else { reading(&links, id) };
        link.map(|link| (links, link))
    }

    async fn turn_to_read(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        timeout(patience, self.reading.acquire()).await.ok()?.ok()
    }

    /// Leaves the lane of this blob alone, unless the connections are others by now.
    fn close(&self, links: &Arc<Vec<Link>>, id: BlobId, error: &dyn std::fmt::Display) {
        if !self.links.load_full().is_some_and(|now| Arc::ptr_eq(&now, links)) {
            return;
        }
        let newly = self.lanes.lock().close(id, Instant::now());
        if newly {
            tracing::warn!(%error, blob = %id, "redis is left alone for now");
            self.closed.notify_one();
        }
        self.show();
    }

    /// Shows how much of Redis is in use.
    fn show(&self) {
        let share = match self.links.load().is_some() {
            true => self.lanes.lock().share_open(),
            false => 0.0,
        };
        self.metrics.available.set(share);
    }
}

/// A connection to read from: the first one is for writing.
fn reading(links: &[Link], id: &BlobId) -> Option<Link> {
    let (_writing, reading) = links.split_first()?;
    reading.get(usize::from(id.as_bytes()[0]) % reading.len().max(1)).cloned()
}

/// Reads a value, but not more than a byte beyond `most`: whoever can write to Redis must not be
/// able to make a node hold what it has no room for. A missing value is empty.
fn read(key: String, most: usize) -> Cmd {
    let mut command = Cmd::new();
    command.arg("GETRANGE").arg(key).arg(0).arg(most);
    command
}
