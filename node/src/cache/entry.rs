//! What is kept of a blob: a record of facts, and the bytes as slices.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderValue;
use wcdn_proto::{BlobId, Position};

use super::budget::Reservation;
use crate::edge::media::{MediaType, SNIFFED};

/// What the cache finds an entry by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The blob.
    pub id: BlobId,
    /// Which part of it.
    pub part: Part,
}

/// A part of a blob that is kept on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its first byte at most: what matters is how long the blob is.
    Probe,
    /// Its first bytes, fetched to learn what a blob too large to hold is.
    Beginning,
    /// One aligned piece of a blob too large to hold.
    Slice(u32),
    /// One file of a quilt, by its columns.
    Patch {
        /// First column.
        start: u16,
        /// One past the last column.
        end: u16,
    },
}

impl Part {
    /// Where in a blob of `total` bytes it lies, when slices have `slice` bytes.
    pub fn range(self, total: u64, slice: u64) -> Range<u64> {
        match self {
            Self::Whole => 0..total,
            Self::Probe => 0..total.min(1),
            Self::Beginning => 0..total.min(SNIFFED as u64),
            Self::Slice(n) => {
                let start = u64::from(n).saturating_mul(slice).min(total);
                start..start.saturating_add(slice).min(total)
            }
            // Where a file lies, only the index of its quilt knows.
            Self::Patch { .. } => 0..0,
        }
    }
}

/// How far the bytes were checked against the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Not checked: an origin says so.
    Origin,
    /// Another node of the cluster checked them, and its attestation was checked here.
    Attested,
    /// The id was computed from these bytes, here.
    Full,
}

impl Level {
    /// Every level, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Origin, Self::Attested, Self::Full];

    /// The word that operators and viewers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Attested => "attested",
            Self::Full => "full",
        }
    }

    /// Whether a viewer may keep the bytes for ever.
    pub const fn is_verified(self) -> bool {
        !matches!(self, Self::Origin)
    }
}

/// The facts of an entry; they travel with the bytes to other tiers and nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Bytes of the body.
    pub length: u64,
    /// Bytes of the whole blob: `length`, unless this is a part of it.
    pub total: u64,
    /// What the bytes are, decided by us.
    pub media: MediaType,
    /// How far they were checked.
    pub level: Level,
    /// BLAKE3 of the body: what an attestation vouches for.
    pub digest: blake3::Hash,
    /// The position applied when the original fetch began; a removal at a later one ends the entry.
    pub token: Position,
    /// When the original fetch ended.
    pub inserted: SystemTime,
}

/// A record with its bytes, as the memory tier keeps it. Never changed once built.
#[derive(Debug)]
pub struct Entry {
    record: Record,
    etag: HeaderValue,
    /// The file's name, for a file of a quilt.
    identifier: Option<HeaderValue>,
    slices: Box<[Bytes]>,
    held: Arc<Reservation>,
}

/// How long bytes that were not checked are served, here and by caches downstream.
pub const UNCHECKED_TTL: Duration = Duration::from_secs(60);

/// The same for slices of blobs too large to be checked: a lie in one must end some time.
pub const SLICE_TTL: Duration = Duration::from_secs(600);

/// Bytes of one slice of a body, the last one excepted.
pub const SLICE: usize = 1 << 20;

/// Bytes an entry costs beyond its body: the structs here, the engine's node and its key,
/// rounded up.
pub const OVERHEAD: u64 = 512;

impl Entry {
    /// An entry over `slices`, each [`SLICE`] long but the last, charged to `held`.
    pub fn new(
        record: Record,
        etag: HeaderValue,
        slices: Vec<Bytes>,
        mut held: Reservation,
    ) -> Self {
        debug_assert_eq!(slices.iter().map(|slice| slice.len() as u64).sum::<u64>(), record.length);
        held.shrink_to(cost(record.length));
        Self { record, etag, identifier: None, slices: slices.into(), held: Arc::new(held) }
    }

    /// The same entry, named as a file of a quilt.
    pub fn named(mut self, identifier: Option<HeaderValue>) -> Self {
        self.identifier = identifier;
        self
    }

    /// The same bytes, checked in the meantime, under the validator of checked ones.
    pub fn verified(&self, etag: HeaderValue) -> Self {
        Self {
            record: Record { level: Level::Full, ..self.record.clone() },
            etag,
            identifier: self.identifier.clone(),
            slices: self.slices.clone(),
            held: Arc::clone(&self.held),
        }
    }

    /// The same entry, charged to `held` instead.
    pub fn held_by(&self, mut held: Reservation) -> Self {
        held.shrink_to(cost(self.record.length));
        Self {
            record: self.record.clone(),
            etag: self.etag.clone(),
            identifier: self.identifier.clone(),
            slices: self.slices.clone(),
            held: Arc::new(held),
        }
    }

    /// These bytes and their charge, with the facts of another entry of the same bytes.
    pub fn known_as(&self, other: &Self) -> Self {
        Self {
            record: other.record.clone(),
            etag: other.etag.clone(),
            identifier: other.identifier.clone(),
            slices: self.slices.clone(),
            held: Arc::clone(&self.held),
        }
    }

    /// The facts.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The strong validator of the body, quoted.
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// The name within its quilt, if it is a file of one and the name fits a header.
    pub fn identifier(&self) -> Option<&HeaderValue> {
        self.identifier.as_ref()
    }

    /// The body, in order.
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// Whether it may still be served, when unchecked bytes are to be looked at again.
    ///
    /// What was checked is the blob for ever. What was not is fetched again after a while: soon, if
    /// only no worker was free; later, if nothing better can be had of it.
    pub fn is_fresh(&self, key: &Key) -> bool {
        let ttl = match key.part {
            Part::Slice(_) | Part::Beginning => SLICE_TTL,
            Part::Whole | Part::Probe | Part::Patch { .. } => UNCHECKED_TTL,
        };
        self.record.level.is_verified() || self.age() < ttl
    }

    /// How long ago the bytes left their origin. Wall-clock time, since entries travel between
    /// nodes; a clock that was set back makes an entry young, never an error.
    pub fn age(&self) -> Duration {
        self.record.inserted.elapsed().unwrap_or_default()
    }

    /// What the entry weighs in memory.
    pub fn weight(&self) -> u64 {
        self.held.bytes()
    }

    /// The next piece of `range`, without copying; `None` when it is empty.
    pub fn piece(&self, range: &Range<u64>) -> Option<Bytes> {
        piece(&self.slices, range)
    }
}

/// What a body of `length` bytes costs in memory.
pub fn cost(length: u64) -> u64 {
    length.saturating_add(OVERHEAD)
}

/// The longest run of `range` that lies within one of `slices`, each [`SLICE`] long but the last.
pub(super) fn piece(slices: &[Bytes], range: &Range<u64>) -> Option<Bytes> {
    if range.is_empty() {
        return None;
    }
    let index = usize::try_from(range.start / SLICE as u64).ok()?;
    let slice = slices.get(index)?;
    let base = index as u64 * SLICE as u64;
    let from = usize::try_from(range.start - base).ok()?;
    let to = usize::try_from((range.end - base).min(slice.len() as u64)).ok()?;
    (from < to).then(|| slice.slice(from..to))
}
