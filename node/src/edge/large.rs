//! Blobs too large to hold: read slice by slice, each slice a fill of its own.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use rand::RngExt as _;
use tokio::time::{Instant, sleep};
use wcdn_proto::BlobId;

use super::{body::BoxStream, clients::Payer};
use crate::{
    cache::{
        Cache, Lookup,
        entry::{Entry, Key, Part},
        fill::{Fills, Had, Joined, Reader, Ready, Want, error::FillError},
    },
    edge::Edge,
    metrics::ShedReason,
};

/// A range of a large blob, read with one slice fetched ahead: memory stays at two slices a
/// viewer, viewers who watch the same scene share them, and an origin that fails costs one slice.
struct Reading {
    cache: Arc<Cache>,
    fills: Fills,
    patience: Duration,
    id: BlobId,
    payer: Payer,
    total: u64,
    range: Range<u64>,
    ahead: Option<(u32, Joined)>,
}

/// What a wait for a fill is prolonged by: many may wait for the same room, which comes and goes
/// within milliseconds.
const RETRY_AFTER: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(100);

/// The bytes of `range` of a blob of `total` bytes.
pub(super) fn stream(
    edge: &Edge,
    id: BlobId,
    payer: Payer,
    total: u64,
    range: Range<u64>,
) -> BoxStream {
    let reading = Reading {
        cache: Arc::clone(&edge.cache),
        fills: edge.fills.clone(),
        patience: edge.patience,
        id,
        payer,
        total,
        range,
        ahead: None,
    };
    let slices = stream::try_unfold(reading, |mut reading| async move {
        Ok::<_, Arc<FillError>>(reading.next().await?.map(|slice| (slice, reading)))
    });
    Box::pin(futures_util::TryStreamExt::try_flatten(slices))
}

impl Reading {
    /// The part of the next slice that is in the range.
    async fn next(&mut self) -> Result<Option<BoxStream>, Arc<FillError>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let size = self.fills.slice();
        let number = self.range.start / size;
        let base = number * size;
        let within = self.range.start - base..(self.range.end - base).min(size);
        self.range.start = base + within.end;
        let n = u32::try_from(number).map_err(|_| Arc::new(FillError::Abandoned))?;
        let joined = match self.ahead.take() {
            Some((ready, joined)) if ready == n => joined,
            _ => self.join_in_time(n).await?,
        };
        self.ahead = match n.checked_add(1) {
            Some(after) if !self.range.is_empty() => self.join(after).ok().map(|it| (after, it)),
            _ => None,
        };
        match joined {
            Joined::Hit(entry) => Ok(Some(Box::pin(of_entry(entry, within)))),
            Joined::Reader { mut reader, .. } => match reader.ready(self.patience).await {
                Ok(ready) => slice(ready, reader, within),
                Err(error) if matches!(*error, FillError::Overtaken) => self.anew(n, within).await,
                Err(error) => Err(error),
            },
        }
    }

    /// The slice from another fill: the blob was purged while this response runs, which goes on.
    async fn anew(&self, n: u32, within: Range<u64>) -> Result<Option<BoxStream>, Arc<FillError>> {
        let (key, want) = (self.key(n), Want::Beginning);
        match self.fills.have(key, Some(self.total), &self.payer, want, self.patience).await? {
            Had::Hit(entry) => Ok(Some(Box::pin(of_entry(entry, within)))),
            Had::Filled { ready, reader, .. } => slice(ready, reader, within),
        }
    }

    fn key(&self, n: u32) -> Key {
        Key { id: self.id, part: Part::Slice(n) }
    }

    /// Joins the fill of a slice. Where the budget is spent, the viewer's or the node's, or too many
    /// fills are under way, it waits for more: the response has begun, and would else be cut for
    /// being fast.
    async fn join_in_time(&self, n: u32) -> Result<Joined, Arc<FillError>> {
        let end = Instant::now() + self.patience;
        loop {
            let error = match self.join(n) {
                Ok(joined) => return Ok(joined),
                Err(error) => error,
            };
            let wait = match *error {
                FillError::Throttled { retry_after } => retry_after,
                FillError::Shed(ShedReason::Misses | ShedReason::Fills) => Duration::ZERO,
                _ => return Err(error),
            };
            let wait = wait + rand::rng().random_range(RETRY_AFTER);
            if Instant::now() + wait >= end {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    fn join(&self, n: u32) -> Result<Joined, Arc<FillError>> {
        let key = self.key(n);
        if let Lookup::Hit(entry) = self.cache.lookup(&key) {
            return Ok(Joined::Hit(entry));
        }
        self.fills.join(key, Some(self.total), &self.payer).map_err(Arc::new)
    }
}

/// The part of a slice that is wanted.
fn slice(
    ready: Ready,
    reader: Reader,
    within: Range<u64>,
) -> Result<Option<BoxStream>, Arc<FillError>> {
    match ready {
        Ready::Entry(entry, _) => Ok(Some(Box::pin(of_entry(entry, within)))),
        Ready::Streaming(_) => Ok(Some(Box::pin(reader.stream(within)))),
        Ready::Large { .. } => Err(Arc::new(FillError::Abandoned)),
    }
}

fn of_entry(
    entry: Arc<Entry>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Arc<FillError>>> + Send + 'static {
    stream::unfold((entry, range), |(entry, mut range)| async move {
        let piece = entry.piece(&range)?;
        range.start += piece.len() as u64;
        Some((Ok(piece), (entry, range)))
    })
}
