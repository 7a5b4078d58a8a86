//! A fill from its beginning to its outcome.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use bytes::Bytes;
use http::HeaderValue;
use wcdn_proto::{BlobId, Position};

use super::{
    Fill, Shared,
    assemble::{Assembly, Source as From, Stop},
    course::Course,
    error::FillError,
    regional::Regional,
    state::{Outcome, State},
};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Entry, Key, Level, Part, Record},
        negative::Absence,
    },
    edge::{
        clients::Charge,
        media::{self, MediaType},
        response::Source,
        validator,
    },
    metrics::{FillResult, ShedReason},
    origin::Origin,
    verify::Verdict,
};

/// The work of one fill.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) fill: Arc<Fill>,
    /// Length of the blob, where it was known before.
    pub(super) total: Option<u64>,
    /// The position that was known when an origin was asked first.
    token: OnceLock<Position>,
    /// Tells the fills of one blob apart.
    nonce: u32,
    /// What its client paid.
    pub(super) charge: Charge,
}

/// Bytes that are fetched to the end even if nobody waits: the next viewer will thank us.
const LITTLE: u64 = 1 << 20;

/// A part of a body that several origins together gave and that was not the blob: whose part
/// differs from the truth is known once there is a truth to compare with.
struct Suspect {
    origin: Arc<Origin>,
    source: From,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        fill: Arc<Fill>,
        total: Option<u64>,
        charge: Charge,
    ) -> Self {
        shared.metrics.fills.inc();
        shared.running.fetch_add(1, Relaxed);
        Self { shared, fill, total, token: OnceLock::new(), nonce: rand::random(), charge }
    }

    /// How new the bytes are at least. It is taken before the first origin is asked: whatever is
    /// known by then was committed before. No origin asked means that nothing is known of them.
    pub(super) fn token(&self) -> Position {
        self.token.get().copied().unwrap_or(Position::ORIGIN)
    }

    /// Runs the fill, tells its readers the outcome, and leaves the table.
    pub(super) async fn run(self) {
        let outcome = tokio::select! {
            outcome = self.fetch() => outcome,
            () = self.abandoned() => Err(Stop::Failed(FillError::Abandoned)),
            () = self.shared.shutdown.cancelled() => Err(Stop::Failed(FillError::Abandoned)),
        };
        let (outcome, result) = match outcome {
            Ok((entry, source @ Source::Redis)) => (Outcome::Done(entry, source), "redis"),
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
                self.shared.cache.refuse(id, Absence::NotFound, self.token());
                "not_found"
            }
            FillError::Blocked => {
                self.shared.cache.refuse(id, Absence::Blocked, self.token());
                "blocked"
            }
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

    /// Gets the entry from the region's Redis, else from origins.
    async fn fetch(&self) -> Result<(Arc<Entry>, Source), Stop> {
        if let Regional::Whole(entry) = self.ask_region().await? {
            return Ok((entry, Source::Redis));
        }
        let entry = self.ask_origins().await?;
        self.shared.share(self.fill.key, &entry);
        Ok((entry, Source::Walrus))
    }

    async fn ask_origins(&self) -> Result<Arc<Entry>, Stop> {
        let id = self.fill.key.id;
        let pool = &self.shared.pool;
        self.charge.spend();
        self.token.get_or_init(|| self.shared.cache.log().positions.known());
        let mut course = Course::new(pool.clone(), pool.ranked(&id, self.total));
        let mut suspects = Vec::new();
        loop {
            let assembly = self.assemble(&mut course).await?;
            match self.judge(id, assembly).await? {
                Judged::Kept(entry, sources) => {
                    acquit_or_accuse(&id, &entry, suspects);
                    // The others broke off, which is not forgiven because one went on.
                    sources.last().into_iter().for_each(|part| part.origin.served());
                    self.shared.cache.admit(self.fill.key, Arc::clone(&entry));
                    return Ok(entry);
                }
                Judged::Wrong(sources) => {
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

    /// Checks an assembled body, and makes an entry of it.
    async fn judge(&self, id: BlobId, assembly: Assembly) -> Result<Judged, FillError> {
        let Assembly { sources, digest, held, total } = assembly;
        let slices = self.fill.state.borrow().slices.clone();
        let verdict = match self.fill.key.part {
            Part::Whole => self.shared.verifier.check(id, slices.clone()).await,
            _ => Verdict::Skipped,
        };
        let level = match &verdict {
            Verdict::Match => Level::Full,
            Verdict::Mismatch => return Ok(Judged::Wrong(sources)),
            Verdict::Busy if self.shared.limits.strict => {
                return Err(FillError::Shed(ShedReason::Verify));
            }
            Verdict::Skipped | Verdict::Late(_) | Verdict::Busy => Level::Origin,
        };
        let entry = Arc::new(self.entry(level, total, digest, slices, held));
        if let Verdict::Late(finding) = verdict {
            self.check_later(finding, Arc::clone(&entry), sources.clone());
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
        let inserted = SystemTime::now();
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
                }
                Ok(false) => {
                    shared.cache.remove(&key);
                    if let [source] = &sources[..] {
                        source.origin.lied(&key.id);
                    }
                }
                Err(_stopped) => {}
            }
        });
    }

    /// Blames the one origin that gave the wrong bytes; or, if there were several, has each asked
    /// again for the whole.
    fn accuse(
        &self,
        id: &BlobId,
        course: &mut Course,
        suspects: &mut Vec<Suspect>,
        sources: Vec<From>,
    ) {
        if let [source] = &sources[..] {
            source.origin.lied(id);
            course.lied(&source.origin);
            return;
        }
        if let Some((_, broke_off)) = sources.split_last() {
            broke_off.iter().for_each(|source| source.origin.suspected());
        }
        // The last one did not break off, so it is the likeliest to give the whole.
        course.alone(sources.iter().rev().map(|source| Arc::clone(&source.origin)));
        suspects.extend(
            sources
                .into_iter()
                .map(|source| Suspect { origin: Arc::clone(&source.origin), source }),
        );
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

/// Compares the parts of a body that was wrong with the true one.
fn acquit_or_accuse(id: &BlobId, truth: &Entry, suspects: Vec<Suspect>) {
    if !truth.record().level.is_verified() {
        return;
    }
    for Suspect { origin, source } in suspects {
        let mut hasher = blake3::Hasher::new();
        let mut range = source.range.clone();
        while let Some(piece) = truth.piece(&range) {
            hasher.update(&piece);
            range.start += piece.len() as u64;
        }
        if hasher.finalize() != source.digest() {
            origin.lied(id);
        }
    }
}
