//! A body put together from as many origins as it takes.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{course::Course, error::FillError, state::Head, task::Task};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Level, Part, SLICE},
    },
    edge::{
        self,
        media::{self, SNIFFED},
    },
    metrics::ShedReason,
    origin::{
        Origin,
        attempt::{AttemptError, Download},
    },
};

/// An origin that gave this much before it failed did more good than harm.
const GOOD_PIECE: u64 = 64 << 10;

/// Pieces below this grow before another is begun.
const SMALL_PIECE: usize = 4 << 10;

/// A complete body, whose slices are in the fill's state.
pub(super) struct Assembly {
    /// Who gave which part.
    pub(super) sources: Vec<Source>,
    pub(super) digest: blake3::Hash,
    pub(super) held: Reservation,
    /// Bytes of the whole blob.
    pub(super) total: u64,
}

/// One origin's part of a body.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) origin: Arc<Origin>,
    /// Where the part lies in the body.
    pub(super) range: Range<u64>,
    hasher: blake3::Hasher,
}

impl Source {
    /// The digest of the part.
    pub(super) fn digest(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}

/// Why there is no body.
pub(super) enum Stop {
    /// It is too large to hold.
    Large { total: u64 },
    /// It cannot be had.
    Failed(FillError),
}

impl From<FillError> for Stop {
    fn from(error: FillError) -> Self {
        Self::Failed(error)
    }
}

/// A body so far.
struct Growing {
    /// Where in the blob the body begins.
    base: u64,
    length: u64,
    total: u64,
    got: u64,
    held: Reservation,
    hasher: blake3::Hasher,
    sources: Vec<Source>,
}

fn got(growing: &Option<Growing>) -> u64 {
    growing.as_ref().map_or(0, |growing| growing.got)
}

impl Task {
    /// Gets the body, continuing at the byte reached when an origin fails; or, if it must come
    /// from one origin alone, beginning again.
    pub(super) async fn assemble(&self, course: &mut Course) -> Result<Assembly, Stop> {
        let mut growing: Option<Growing> = None;
        loop {
            let permit = match (course.next(), course.undisputed_length()) {
                (Ok(permit), _) => permit,
                // The others cannot be asked: whoever is left says that it is large.
                (Err(FillError::Exhausted { .. }), Some(total)) if growing.is_none() => {
                    return Err(Stop::Large { total });
                }
                (Err(error), _) => return Err(error.into()),
            };
            if course.is_alone() && growing.take().is_some() {
                self.restart(course)?;
            }
            let wanted = self.wanted(&growing);
            let before = got(&growing);
            let (origin, drawn) = match self.open(permit, course, wanted).await {
                Ok(download) => {
                    course.has_length(download.total());
                    let origin = Arc::clone(download.origin());
                    (origin, self.draw(download, &mut growing).await)
                }
                Err((origin, error)) => (origin, Err(error.into())),
            };
            if let Err(trouble) = drawn {
                let progress = got(&growing).saturating_sub(before);
                self.note_trouble(trouble, &origin, course, &growing, progress)?;
            }
            if let Some(whole) = growing.take_if(|growing| growing.got == growing.length) {
                let Growing { sources, hasher, held, total, .. } = whole;
                return Ok(Assembly { sources, digest: hasher.finalize(), held, total });
            }
        }
    }

    /// Notes what an origin did wrong; stops when no other could do better.
    fn note_trouble(
        &self,
        trouble: Trouble,
        origin: &Arc<Origin>,
        course: &mut Course,
        growing: &Option<Growing>,
        progress: u64,
    ) -> Result<(), Stop> {
        let error = match trouble {
            Trouble::Stop(stop) => return Err(stop),
            Trouble::Large { total } if course.claims_large(origin, total) => {
                return Err(Stop::Large { total });
            }
            Trouble::Large { .. } => return Ok(()),
            Trouble::Attempt(error) => error,
        };
        if progress >= GOOD_PIECE {
            course.broke_off(origin, &error);
        } else {
            course.failed(origin, &error);
        }
        let tried = course.tried().clone();
        self.fill.state.send_modify(|state| state.tried = tried);
        if error.contradicts_beginning() && !self.streams() {
            // Whoever began may have told a wrong length; who does not go on may be right.
            let began = growing.iter().flat_map(|growing| &growing.sources);
            let began = began.map(|source| Arc::clone(&source.origin));
            course.alone(began.chain([Arc::clone(origin)]));
        }
        Ok(())
    }

    /// The part of the blob to ask for next; `None` for all of it.
    fn wanted(&self, growing: &Option<Growing>) -> Option<RangeInclusive<u64>> {
        match growing {
            Some(growing) => Some(growing.base + growing.got..=growing.base + growing.length - 1),
            None => self.slice().map(|slice| slice.start..=slice.end - 1),
        }
    }

    /// Reads from one origin until the body is complete or the origin fails.
    async fn draw(
        &self,
        mut download: Download,
        growing: &mut Option<Growing>,
    ) -> Result<(), Trouble> {
        let growing = match growing {
            Some(growing) if growing.total != download.total() => {
                let (says, began) = (download.total(), growing.total);
                return Err(AttemptError::OtherLength { says, began }.into());
            }
            Some(growing) => growing,
            none => none.insert(self.begin(download.total())?),
        };
        let at = growing.got;
        growing.sources.push(Source {
            origin: Arc::clone(download.origin()),
            range: at..at,
            hasher: blake3::Hasher::new(),
        });
        if growing.length == 0 {
            self.publish_head(growing);
        }
        while let Some(bytes) = download.next().await? {
            self.append(growing, &bytes);
        }
        Ok(())
    }

    /// The bytes of the blob that are wanted, if not all.
    fn slice(&self) -> Option<Range<u64>> {
        match self.fill.key.part {
            Part::Probe => Some(0..1),
            Part::Beginning => Some(0..self.total.unwrap_or(1).min(SNIFFED as u64)),
            Part::Slice(n) => {
                let total = self.total.expect("a slice is asked for when the length is known");
                let start = u64::from(n) * self.shared.limits.slice;
                Some(start..(start + self.shared.limits.slice).min(total))
            }
            Part::Whole | Part::Patch { .. } => None,
        }
    }

    /// Makes room for a body, now that its length is known.
    fn begin(&self, total: u64) -> Result<Growing, Trouble> {
        let limits = &self.shared.limits;
        if total > limits.encodable {
            return Err(AttemptError::ImpossibleLength(total).into());
        }
        let (base, length) = match self.slice() {
            Some(_) if self.total.is_some_and(|began| began != total) => {
                let began = self.total.unwrap_or_default();
                return Err(AttemptError::OtherLength { says: total, began }.into());
            }
            Some(slice) => (slice.start, slice.end - slice.start),
            None => (0, total),
        };
        let decides_how = matches!(self.fill.key.part, Part::Whole | Part::Probe);
        if decides_how && total > limits.whole && limits.strict {
            return Err(FillError::Unverifiable { total }.into());
        }
        if decides_how && total > limits.whole {
            return Err(Trouble::Large { total });
        }
        let held = self
            .shared
            .cache
            .reserve(entry::cost(length))
            .ok_or(FillError::Shed(ShedReason::Memory))?;
        let hasher = blake3::Hasher::new();
        Ok(Growing { base, length, total, got: 0, held, hasher, sources: Vec::new() })
    }

    /// Adds bytes and shows them to readers.
    ///
    /// The bytes are copied: as they come they are windows into the connection's read buffer, and
    /// keeping a small one would keep the whole buffer.
    fn append(&self, growing: &mut Growing, bytes: &[u8]) {
        self.shared.metrics.origin.bytes.inc_by(bytes.len() as u64);
        growing.hasher.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = SLICE - usize::try_from(growing.got % SLICE as u64).expect("below SLICE");
            let (now, later) = rest.split_at(room.min(rest.len()));
            growing.got += now.len() as u64;
            self.show(growing, Bytes::copy_from_slice(now));
            rest = later;
        }
        let source = growing.sources.last_mut().expect("bytes come from a source");
        source.hasher.update(bytes);
        source.range.end = growing.got;
        if growing.got >= growing.length.min(SNIFFED as u64) {
            self.publish_head(growing);
        }
    }

    /// Shows one piece; joins the pieces of a slice once it is full.
    fn show(&self, growing: &Growing, piece: Bytes) {
        let full = growing.got.is_multiple_of(SLICE as u64) || growing.got == growing.length;
        let joined = full.then(|| join(&self.fill.state.borrow().pieces, &piece));
        self.fill.state.send_modify(|state| {
            state.got = growing.got;
            match joined {
                Some(slice) => {
                    state.slices.push(slice);
                    state.pieces.clear();
                }
                None => push(&mut state.pieces, piece),
            }
        });
    }

    fn publish_head(&self, growing: &Growing) {
        if self.fill.state.borrow().head.is_some() {
            return;
        }
        let limits = &self.shared.limits;
        let is_slice = self.slice().is_some();
        let etag = self.etag(Level::Origin);
        self.fill.state.send_modify(|state| {
            state.head = Some(Head {
                total: growing.total,
                media: media::sniff(state.beginning(), None),
                etag,
                streams: is_slice || growing.length > limits.hold,
                holds_tail: limits.checks && !is_slice,
                source: edge::response::Source::Walrus,
                level: Level::Origin,
                token: self.token(),
            });
        });
        // Whether it is worth going on without readers can be told only now.
        self.fill.left.notify_one();
    }
}

/// Adds a piece; to the last one if that is small, or an origin that sends byte by byte would fill
/// memory with handles.
fn push(pieces: &mut Vec<Bytes>, piece: Bytes) {
    match pieces.last_mut() {
        Some(last) if last.len() < SMALL_PIECE => {
            *last = [&last[..], &piece[..]].concat().into();
        }
        _ => pieces.push(piece),
    }
}

/// One contiguous slice of pieces and the last one.
fn join(pieces: &[Bytes], last: &Bytes) -> Bytes {
    if pieces.is_empty() {
        return last.clone();
    }
    let len = pieces.iter().map(Bytes::len).sum::<usize>() + last.len();
    let mut slice = BytesMut::with_capacity(len);
    pieces.iter().chain([last]).for_each(|piece| slice.extend_from_slice(piece));
    slice.freeze()
}

/// What ends the reading from one origin.
enum Trouble {
    /// This origin is at its end; another may go on.
    Attempt(AttemptError),
    /// This origin says that the blob is too large to hold.
    Large { total: u64 },
    /// The fill is at its end.
    Stop(Stop),
}

impl From<AttemptError> for Trouble {
    fn from(error: AttemptError) -> Self {
        Self::Attempt(error)
    }
}

impl From<FillError> for Trouble {
    fn from(error: FillError) -> Self {
        Self::Stop(Stop::Failed(error))
    }
}
