//! A fill from its beginning to its outcome.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;
use wcdn_proto::Position;

use super::{
    Fill, Shared, Wish,
    assemble::{Assembly, Source as From, Stop},
    blame::acquit_or_accuse,
    course::Course,
    error::FillError,
    giver::Giver,
    regional::Regional,
    state::{Outcome, State},
};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Entry, Key, Level, Part, Record},
        negative::{Absence, Refusal},
    },
    edge::{
        clients::Charge,
        media::{self, MediaType},
        response::Source,
        validator,
    },
    metrics::{FillResult, ShedReason},
    verify::Verdict,
};

/// The work of one fill.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    /// Length of the blob, where it was known before.
    pub(super) total: Option<u64>,
    /// What the bytes must not be older than, by the word of a peer.
    pub(super) least: Position,
    pub(super) began: Instant,
    /// The position that was known when an origin was asked first.
    pub(super) asked: OnceLock<Position>,
    /// That of whoever gave the first bytes; nothing older is added to them.
    pub(super) adopted: OnceLock<Position>,
    /// When the first bytes left their origin, by the word of a peer.
    pub(super) left_origin: OnceLock<SystemTime>,
    /// Tells the fills of one blob apart.
    nonce: u32,
    /// What its client paid.
    pub(super) charge: Charge,
}

/// Bytes that are fetched to the end even if nobody waits: the next viewer will thank us.
const LITTLE: u64 = 1 << 20;

impl Task {
    pub(super) fn new(shared: Arc<Shared>, fill: Arc<Fill>, wish: &Wish, charge: Charge) -> Self {
        shared.metrics.fills.inc();
        shared.running.fetch_add(1, Relaxed);
        let Wish { total, least, .. } = *wish;
        Self {
            shared,
            fill,
            total,
            least,
            began: Instant::now(),
            asked: OnceLock::new(),
            adopted: OnceLock::new(),
            left_origin: OnceLock::new(),
            nonce: rand::random(),
            charge,
        }
    }

    /// How new the bytes are at least. For those of origins it is taken before the first one is asked:
    /// whatever is known by then was committed before. Nobody asked means that nothing is known of them.
    pub(super) fn token(&self) -> Position {
        self.adopted.get().or(self.asked.get()).copied().unwrap_or(Position::ORIGIN)
    }

    /// Runs the fill, tells its readers the outcome, and leaves the table.
    pub(super) async fn run(self) {
        let outcome = tokio::select! {
            outcome = self.fetch() => outcome,
            () = self.abandoned() => Err(Stop::Failed(FillError::Abandoned)),
            () = self.shared.shutdown.cancelled() => Err(Stop::Failed(FillError::Abandoned)),
        };
        let outcome = outcome.map_err(|stop| match stop {
            Stop::Large { total } if self.shared.limits.strict => {
                FillError::Unverifiable { total }.into()
            }
            stop => stop,
        });
        let (outcome, result) = match outcome {
            Ok((entry, source @ Source::Redis)) => (Outcome::Done(entry, source), "redis"),
            Ok((entry, source @ Source::Peer)) => (Outcome::Done(entry, source), "peer"),
            Ok((entry, source)) => (Outcome::Done(entry, source), "filled"),
            Err(Stop::Large { total }) => {
                self.remember_length(total);
                (Outcome::Large { total, token: self.token() }, "large")
            }
            Err(Stop::Failed(error)) => {
                let result = self.note(&error);
                (Outcome::Failed(Arc::new(error)), result)
            }
        };
        self.fill.state.send_modify(|state| {
            if !matches!(outcome, Outcome::Done(..)) {
                // Their room has been given back.
                state.slices.clear();
                state.pieces.clear();
            }
            state.outcome = Some(outcome);
        });
        self.shared.leave(&self.fill);
        self.shared.metrics.fills_total.get_or_create(&FillResult { result }).inc();
    }

    /// Remembers how long a large blob is, so that the next viewer's request goes to its slices.
    fn remember_length(&self, total: u64) {
        let id = self.fill.key.id;
        let Some(held) = self.shared.cache.reserve(entry::cost(0)) else { return };
        let record = Record {
            length: 0,
            total,
            media: MediaType::OCTET_STREAM,
            level: Level::Origin,
            digest: blake3::hash(&[]),
            token: self.token(),
            inserted: SystemTime::now(),
        };
        let entry = Entry::new(record, self.etag(Level::Origin), Vec::new(), held);
        self.shared.cache.admit(Key { id, part: Part::Probe }, Arc::new(entry));
    }

    /// Remembers and logs a failure; says under which word it counts.
    fn note(&self, error: &FillError) -> &'static str {
        let id = self.fill.key.id;
        match error {
            FillError::NotFound => {
                self.refuse(Absence::NotFound);
                "not_found"
            }
            FillError::Blocked => {
                self.refuse(Absence::Blocked);
                "blocked"
            }
            FillError::Withheld => "withheld",
            FillError::Abandoned => "abandoned",
            FillError::Shed(reason) => {
                self.shared.metrics.shed(*reason);
                "shed"
            }
            error => {
                tracing::warn!(blob = %id, error = error as &dyn std::error::Error, "fill failed");
                "failed"
            }
        }
    }

    /// Remembers what origins said. What a peer said was remembered when it was heard.
    fn refuse(&self, absence: Absence) {
        if let Some(asked) = self.asked.get() {
            let refusal = Refusal::new(absence, *asked, Duration::ZERO);
            self.shared.cache.refuse(self.fill.key.id, refusal);
        }
    }

    /// Ends when nobody reads and more than a little is left to fetch.
    async fn abandoned(&self) {
        loop {
            self.fill.left.notified().await;
            // A length not known yet is waited for: otherwise a slow origin and an impatient
            // viewer who tries again and again would never meet.
            let much_left = {
                let state = self.fill.state.borrow();
                state
                    .head
                    .as_ref()
                    .is_some_and(|head| head.total.saturating_sub(state.got) > LITTLE)
            };
            if much_left && self.shared.give_up(&self.fill) {
                return;
            }
        }
    }

    /// Gets the entry from the region's Redis, else through a peer, else from origins.
    async fn fetch(&self) -> Result<(Arc<Entry>, Source), Stop> {
        if let Regional::Whole(entry) = self.ask_region().await? {
            return Ok((entry, Source::Redis));
        }
        let (entry, source) = self.gather().await?;
        if source == Source::Walrus {
            self.shared.share(self.fill.key, &entry);
        }
        Ok((entry, source))
    }

    async fn gather(&self) -> Result<(Arc<Entry>, Source), Stop> {
        let id = self.fill.key.id;
        let pool = &self.shared.pool;
        let mut route = self.route();
        let mut course = Course::new(pool.clone(), pool.ranked(&id, self.total));
        let mut suspects = Vec::new();
        loop {
            let assembly = self.assemble(&mut route, &mut course).await?;
            match self.judge(assembly).await? {
                Judged::Kept(entry, sources) => {
                    acquit_or_accuse(&id, &entry, suspects);
                    // The others broke off, which is not forgiven because one went on.
                    sources.last().into_iter().for_each(|part| part.giver.served());
                    self.shared.cache.admit(self.fill.key, Arc::clone(&entry));
                    return Ok((entry, source_of(&sources)));
                }
                Judged::Wrong(sources) => {
                    route.clear();
                    self.accuse(&id, &mut course, &mut suspects, sources);
                    self.restart(&course)?;
                }
            }
        }
    }

    /// Forgets the bytes so far.
    ///
    /// # Errors
    /// [`FillError::Corrupt`] when readers have some of them already.
    pub(super) fn restart(&self, course: &Course) -> Result<(), FillError> {
        if self.streams() {
            return Err(FillError::Corrupt { tried: course.tried().clone() });
        }
        self.fill.state.send_modify(State::restart);
        Ok(())
    }

    /// Whether readers may have bytes already.
    pub(super) fn streams(&self) -> bool {
        self.fill.state.borrow().head.as_ref().is_some_and(|head| head.streams)
    }

    /// Checks an assembled body, unless another node did, and makes an entry of it.
    async fn judge(&self, assembly: Assembly) -> Result<Judged, FillError> {
        let Assembly { sources, digest, held, total, attested } = assembly;
        let slices = self.fill.state.borrow().slices.clone();
        let verdict = match self.fill.key.part {
            Part::Whole if self.is_vouched_for(attested, total, &digest) => None,
            Part::Whole => self.check(total, &digest, slices.clone()).await,
            _ => Some(Verdict::Skipped),
        };
        let level = match &verdict {
            None => Level::Attested,
            Some(Verdict::Match) => Level::Full,
            Some(Verdict::Mismatch) => return Ok(Judged::Wrong(sources)),
            Some(Verdict::Busy) if self.shared.limits.strict => {
                return Err(FillError::Shed(ShedReason::Verify));
            }
            Some(Verdict::Skipped | Verdict::Late(_) | Verdict::Busy) => Level::Origin,
        };
        let entry = Arc::new(self.entry(level, total, digest, slices, held));
        match verdict {
            None => {
                let giver = sources.last().map(|source| source.giver.clone());
                self.recheck_sometimes(&entry, giver);
            }
            Some(Verdict::Match) => self.shared.tell(self.fill.key, &entry),
            Some(Verdict::Late(finding)) => {
                self.check_later(finding, Arc::clone(&entry), sources.clone());
            }
            Some(_) => {}
        }
        Ok(Judged::Kept(entry, sources))
    }

    fn entry(
        &self,
        level: Level,
        total: u64,
        digest: blake3::Hash,
        slices: Vec<Bytes>,
        held: Reservation,
    ) -> Entry {
        let length = slices.iter().map(|slice| slice.len() as u64).sum();
        let media = media::sniff(self.fill.state.borrow().beginning(), None);
        let inserted = self.left_origin.get().copied().unwrap_or_else(SystemTime::now);
        let record = Record { length, total, media, level, digest, token: self.token(), inserted };
        let etag = self.etag(level);
        Entry::new(record, etag, slices, held)
    }

    /// The validator of what this fill got. Unchecked bytes of another fill may be others, so each
    /// has its own; slices of one blob come from many fills and share one. Where nothing is ever
    /// checked, there are no checked bytes to be told apart.
    pub(super) fn etag(&self, level: Level) -> HeaderValue {
        let id = &self.fill.key.id;
        if level.is_verified() || !self.shared.limits.checks {
            validator::etag(id)
        } else if self.fill.key.part == Part::Whole {
            validator::unchecked_etag(&format_args!("{id}.{:08x}", self.nonce))
        } else {
            validator::unchecked_etag(id)
        }
    }

    /// Raises or removes an entry when its late check ends.
    fn check_later(
        &self,
        finding: tokio::sync::oneshot::Receiver<bool>,
        entry: Arc<Entry>,
        sources: Vec<From>,
    ) {
        let (shared, key) = (Arc::clone(&self.shared), self.fill.key);
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            let found = tokio::select! {
                found = finding => found,
                () = shutdown.cancelled() => return,
            };
            match found {
                Ok(true) => {
                    let entry = Arc::new(entry.verified(validator::etag(&key.id)));
                    shared.cache.admit(key, Arc::clone(&entry));
                    shared.share(key, &entry);
                    shared.tell(key, &entry);
                }
                Ok(false) => {
                    shared.cache.remove(&key);
                    if let [source] = &sources[..] {
                        source.giver.lied(&key.id);
                    }
                }
                Err(_stopped) => {}
            }
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.metrics.fills.dec();
        self.shared.running.fetch_sub(1, Relaxed);
    }
}

enum Judged {
    Kept(Arc<Entry>, Vec<From>),
    Wrong(Vec<From>),
}

/// Where a body came from: through the region, if all of it did.
fn source_of(sources: &[From]) -> Source {
    let is_peers = sources.iter().all(|source| matches!(source.giver, Giver::Peer(_)));
    if is_peers { Source::Peer } else { Source::Walrus }
}
