//! Files of quilts, cut out of the verified quilt.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use wcdn_proto::{BlobId, Position, QuiltPatchId};
use wcdn_walrus::{
    Encoding,
    quilt::{self, QuiltError, QuiltIndex},
};

use crate::{
    cache::{
        Cache, Lookup,
        budget::Reservation,
        entry::{self, Entry, Key, Part, Record, SLICE},
        fill::{Fills, Had, Ready, Want, error::FillError},
    },
    edge::{clients::Payer, media, validator},
    metrics::events::Tier,
};

/// Names and files of quilts.
///
/// A file fetched on its own could not be checked against anything. So the whole quilt is fetched
/// and verified like every blob, and its files are cut out of it and kept as entries.
#[derive(Debug)]
pub struct Quilts {
    encoding: Encoding,
    cache: Arc<Cache>,
    fills: Fills,
    /// Cutting takes a core for milliseconds, and its output memory: a few at a time, and whoever
    /// waited looks again first.
    cutting: Semaphore,
}

/// The index of a quilt, parsed and as it is listed, with the memory it takes.
#[derive(Debug)]
pub struct Indexed {
    index: QuiltIndex,
    listing: Bytes,
    /// Of the quilt that it was read from.
    token: Position,
    held: Reservation,
}

impl Indexed {
    /// The list of files as JSON.
    pub fn listing(&self) -> Bytes {
        self.listing.clone()
    }

    /// The token of the quilt that it was read from.
    pub(crate) fn token(&self) -> Position {
        self.token
    }

    /// Bytes of memory that it takes.
    pub(crate) fn weight(&self) -> u64 {
        self.held.bytes()
    }
}

/// Why a file of a quilt is not served.
#[derive(Debug, thiserror::Error)]
pub enum QuiltServeError {
    /// The quilt could not be had.
    #[error(transparent)]
    Fill(#[from] Arc<FillError>),
    /// It has no such file.
    #[error("no such file")]
    NoSuchPatch,
    /// The blob is not a quilt, or not where the columns say.
    #[error("not a quilt")]
    NotAQuilt(#[source] QuiltError),
    /// It cannot be held as a whole.
    #[error("the quilt has {total} bytes; the most is {most}")]
    TooLarge {
        /// Bytes of the quilt.
        total: u64,
        /// The most that can be held.
        most: u64,
    },
    /// The memory budget has no room for the file.
    #[error("no room")]
    NoRoom,
}

/// How often a request begins anew because its quilt was purged while it was cut.
const MAX_OVERTAKEN: usize = 4;

impl Quilts {
    /// No quilts yet.
    pub fn new(encoding: Encoding, cache: Arc<Cache>, fills: Fills) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { encoding, cache, fills, cutting: Semaphore::new(cores.div_ceil(2)) }
    }

    /// The file of this name, if the quilt's index is in memory; `None` if it must be fetched.
    pub fn known(
        &self,
        quilt: BlobId,
        identifier: &str,
    ) -> Option<Result<QuiltPatchId, QuiltServeError>> {
        let indexed = self.kept(&quilt)?;
        Some(find(&indexed.index, quilt, identifier))
    }

    /// The file of this name.
    ///
    /// # Errors
    /// [`QuiltServeError`], with `NoSuchPatch` only where the verified index has no such name.
    pub async fn resolve(
        &self,
        quilt: BlobId,
        identifier: &str,
        payer: &Payer,
        patience: Duration,
    ) -> Result<QuiltPatchId, QuiltServeError> {
        find(&self.indexed(quilt, payer, patience).await?.index, quilt, identifier)
    }

    /// The list of files, as the aggregator gives it.
    ///
    /// # Errors
    /// [`QuiltServeError`].
    pub async fn list(
        &self,
        quilt: BlobId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Indexed>, QuiltServeError> {
        self.indexed(quilt, payer, patience).await
    }

    /// The entry of a file, cut out of its quilt if need be.
    ///
    /// # Errors
    /// [`QuiltServeError`].
    pub async fn patch(
        &self,
        id: QuiltPatchId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Entry>, QuiltServeError> {
        for _ in 0..MAX_OVERTAKEN {
            let entry = self.cut_out(id, payer, patience).await?;
            if self.cache.log().admits(&id.quilt(), entry.record().token, Tier::Fill) {
                return Ok(entry);
            }
        }
        Err(Arc::new(FillError::Overtaken).into())
    }

    async fn cut_out(
        &self,
        id: QuiltPatchId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Entry>, QuiltServeError> {
        let key = key(id);
        let quilt = self.quilt(id.quilt(), payer, patience).await?;
        let _turn = self.turn(patience).await?;
        if let Lookup::Hit(entry) = self.cache.lookup(&key) {
            return Ok(entry);
        }
        let held = self
            .cache
            .reserve(entry::cost(self.most(id, quilt.record().length)))
            .ok_or(QuiltServeError::NoRoom)?;
        let encoding = self.encoding;
        let is_checked = quilt.record().level.is_verified() || !self.fills.checks();
        let etag = if is_checked { validator::etag(&id) } else { validator::unchecked_etag(&id) };
        let cut = tokio::task::spawn_blocking(move || cut(encoding, id, &quilt, etag, held));
        let entry = Arc::new(cut.await.map_err(|_| QuiltServeError::NoRoom)??);
        self.cache.admit(key, Arc::clone(&entry));
        Ok(entry)
    }

    /// The most bytes a file can have: those of its columns. What is too much is given back once
    /// it is cut.
    fn most(&self, id: QuiltPatchId, quilt_length: u64) -> u64 {
        let column = quilt_length / u64::from(self.encoding.columns());
        (column * u64::from(id.end() - id.start())).min(quilt_length)
    }

    /// The index of a quilt that was not removed since.
    fn kept(&self, quilt: &BlobId) -> Option<Arc<Indexed>> {
        let indexed = self.cache.indexes().get(quilt)?;
        if self.cache.log().admits(quilt, indexed.token, Tier::Index) {
            return Some(indexed);
        }
        self.cache.indexes().remove(quilt);
        None
    }

    async fn indexed(
        &self,
        id: BlobId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Indexed>, QuiltServeError> {
        for _ in 0..MAX_OVERTAKEN {
            let indexed = self.read_index(id, payer, patience).await?;
            if self.cache.log().admits(&id, indexed.token, Tier::Fill) {
                return Ok(indexed);
            }
        }
        Err(Arc::new(FillError::Overtaken).into())
    }

    async fn read_index(
        &self,
        id: BlobId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Indexed>, QuiltServeError> {
        if let Some(indexed) = self.kept(&id) {
            return Ok(indexed);
        }
        let quilt = self.quilt(id, payer, patience).await?;
        let _turn = self.turn(patience).await?;
        if let Some(indexed) = self.kept(&id) {
            return Ok(indexed);
        }
        let (encoding, is_verified) = (self.encoding, quilt.record().level.is_verified());
        let token = quilt.record().token;
        let read = tokio::task::spawn_blocking(move || {
            let index = QuiltIndex::read(encoding, quilt.slices())?;
            let listing = listing(&index, id).to_string().into();
            Ok((index, listing))
        });
        let (index, listing): (QuiltIndex, Bytes) =
            read.await.map_err(|_| QuiltServeError::NoRoom)?.map_err(QuiltServeError::NotAQuilt)?;
        let bytes = weight(&index) + listing.len() as u64;
        let held = self.cache.reserve(bytes).ok_or(QuiltServeError::NoRoom)?;
        let indexed = Arc::new(Indexed { index, listing, token, held });
        // Kept only where verified: the index of an unverified quilt goes with its quilt.
        if is_verified {
            self.cache.indexes().insert(id, Arc::clone(&indexed));
        }
        Ok(indexed)
    }

    /// Waits for a turn to cut, but no longer than a viewer waits for anything.
    async fn turn(&self, patience: Duration) -> Result<SemaphorePermit<'_>, QuiltServeError> {
        match timeout(patience, self.cutting.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(QuiltServeError::NoRoom),
        }
    }

    async fn quilt(
        &self,
        id: BlobId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<Arc<Entry>, QuiltServeError> {
        let key = Key { id, part: Part::Whole };
        if let Lookup::Hit(entry) = self.cache.lookup(&key) {
            return Ok(entry);
        }
        let ready = match self.fills.have(key, None, payer, Want::Whole, patience).await? {
            Had::Hit(entry) => return Ok(entry),
            Had::Filled { ready, .. } => ready,
        };
        match ready {
            Ready::Entry(entry, _) => Ok(entry),
            Ready::Large { total, .. } => {
                Err(QuiltServeError::TooLarge { total, most: self.fills.whole() })
            }
            Ready::Streaming(_) => Err(Arc::new(FillError::Abandoned).into()),
        }
    }
}

/// What a file is kept under.
pub fn key(id: QuiltPatchId) -> Key {
    Key { id: id.quilt(), part: Part::Patch { start: id.start(), end: id.end() } }
}

fn find(
    index: &QuiltIndex,
    quilt: BlobId,
    identifier: &str,
) -> Result<QuiltPatchId, QuiltServeError> {
    let patch = index.find(identifier).ok_or(QuiltServeError::NoSuchPatch)?;
    Ok(patch.id(quilt))
}

fn listing(index: &QuiltIndex, quilt: BlobId) -> serde_json::Value {
    let files = index.patches().iter().map(|patch| {
        serde_json::json!({
            "identifier": patch.identifier,
            "patch_id": patch.id(quilt).to_string(),
            "tags": patch.tags,
        })
    });
    files.collect()
}

/// Bytes a parsed index takes, roughly.
fn weight(index: &QuiltIndex) -> u64 {
    let text = |text: &String| text.len() as u64 + 64;
    let patches = index.patches().iter().map(|patch| {
        let tags: u64 = patch.tags.iter().map(|(key, value)| text(key) + text(value)).sum();
        text(&patch.identifier) + tags + 64
    });
    patches.sum()
}

/// Copies a file out of the quilt's columns.
fn cut(
    encoding: Encoding,
    id: QuiltPatchId,
    quilt: &Entry,
    etag: HeaderValue,
    held: Reservation,
) -> Result<Entry, QuiltServeError> {
    let patch = quilt::read_patch(encoding, quilt.slices(), id.start(), id.end())
        .map_err(QuiltServeError::NotAQuilt)?;
    let declared = patch.tags.get("content-type").map(String::as_str);
    let media = media::sniff(&patch.data, declared);
    let length = patch.data.len() as u64;
    let record = Record {
        length,
        total: length,
        media,
        level: quilt.record().level,
        digest: blake3::hash(&patch.data),
        token: quilt.record().token,
        inserted: quilt.record().inserted,
    };
    let mut rest = patch.data;
    let mut slices = Vec::with_capacity(rest.len().div_ceil(SLICE));
    while !rest.is_empty() {
        slices.push(rest.split_to(rest.len().min(SLICE)));
    }
    let identifier = HeaderValue::from_str(&patch.identifier).ok();
    Ok(Entry::new(record, etag, slices, held).named(identifier))
}
