//! A blob from the region's Redis, slice by slice, each attested by whoever checked the whole.

use std::{pin::pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::{course::Course, error::FillError, giver::Giver, state::Head, task::Task};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Entry, Part, Record, SLICE},
        redis::{FIND_COST, Found},
    },
    edge::response::Source,
    origin::{Origin, attempt::AttemptError},
    verify::Verdict,
};

/// What Redis gave.
pub(super) enum Regional {
    /// All of it, if some of it with the help of origins.
    Whole(Arc<Entry>),
    /// Nothing that can be used.
    Nothing,
}

/// Where the slices come from that Redis lost while it was read.
struct Rest {
    course: Course,
    /// Who gave a slice other than was attested, and its digest.
    odd: Vec<(Arc<Origin>, blake3::Hash)>,
}

/// Slices that are asked for at once: a large blob takes fewer round trips.
const SLICES_AHEAD: usize = 4;

impl Task {
    /// Asks the region's Redis, if there is one and it may have the blob. A node that does not know
    /// yet what was removed before it started leaves Redis alone.
    ///
    /// # Errors
    /// When readers were promised the blob, and neither Redis nor any origin has the rest of it.
    pub(super) async fn ask_region(&self) -> Result<Regional, FillError> {
        let may_ask =
            self.fill.key.part == Part::Whole && self.shared.cache.log().positions.has_caught_up();
        let Some(redis) = self.shared.redis.as_ref().filter(|_| may_ask) else {
            return Ok(Regional::Nothing);
        };
        // Room for whatever is found, before it comes.
        let Some(held) = self.shared.cache.reserve(FIND_COST) else {
            return Ok(Regional::Nothing);
        };
        match redis.find(&self.fill.key.id).await {
            Some(found) if found.attested().record.token >= self.least => {
                self.draw_slices(&found, held).await
            }
            _ => Ok(Regional::Nothing),
        }
    }

    /// Takes slice after slice, each shown to readers as it comes: its digest was attested, so it
    /// need not wait for the others.
    async fn draw_slices(
        &self,
        found: &Found,
        mut held: Reservation,
    ) -> Result<Regional, FillError> {
        let record = found.attested().record.clone();
        let count = found.attested().slices.len();
        let cost = entry::cost(record.length);
        if record.length > self.shared.limits.whole {
            return Ok(Regional::Nothing);
        }
        if cost > held.bytes() {
            let Some(more) = self.shared.cache.reserve(cost) else { return Ok(Regional::Nothing) };
            held = more;
        }
        let mut rest = None;
        let mut slices =
            pin!(stream::iter(0..count).map(|n| found.slice(n)).buffered(SLICES_AHEAD).enumerate());
        while let Some((n, slice)) = slices.next().await {
            let slice = match slice {
                Some(slice) => slice,
                None => self.fetch_slice(&mut rest, found, n).await?,
            };
            self.show_slice(slice, (count > 1).then_some(&record));
        }
        let slices = self.fill.state.borrow().slices.clone();
        let entry = Arc::new(Entry::new(record.clone(), self.etag(record.level), slices, held));
        self.shared.cache.admit(self.fill.key, Arc::clone(&entry));
        if rest.is_some() {
            self.shared.share(self.fill.key, &entry);
        }
        self.recheck_sometimes(&entry, None);
        Ok(Regional::Whole(entry))
    }

    /// Shows readers a slice; with the first one, what they are promised.
    fn show_slice(&self, slice: Bytes, promised: Option<&Record>) {
        let begins = self.fill.state.borrow().head.is_none();
        self.fill.state.send_modify(|state| {
            state.got += slice.len() as u64;
            state.slices.push(slice);
            if let Some(record) = promised {
                state.head.get_or_insert_with(|| self.attested_head(record));
            }
        });
        if begins {
            // Whether it is worth going on without readers can be told only now.
            self.fill.left.notify_one();
        }
    }

    /// A slice that is gone from Redis, from an origin; its digest proves it.
    ///
    /// One origin that gives something else may lie. If two give the same, it was the node that
    /// attested the blob: its record goes.
    async fn fetch_slice(
        &self,
        rest: &mut Option<Rest>,
        found: &Found,
        n: usize,
    ) -> Result<Bytes, FillError> {
        self.charge.spend();
        let id = self.fill.key.id;
        let attested = found.attested();
        let Rest { course, odd } = rest.get_or_insert_with(|| {
            let pool = self.shared.pool.clone();
            let ranked = pool.ranked(&id, Some(attested.record.length));
            Rest { course: Course::new(pool, ranked), odd: Vec::new() }
        });
        loop {
            let permit = match course.next() {
                Ok(permit) => permit,
                Err(error) if odd.is_empty() => return Err(error),
                Err(_) => return Err(self.disprove(course).await),
            };
            let (origin, slice) = self.draw_slice(permit, course, found, n).await;
            match slice {
                Ok(slice) if attested.is_slice(n, &slice) => {
                    odd.drain(..).for_each(|(origin, _)| origin.lied(&id));
                    origin.served();
                    course.put_back(origin);
                    return Ok(slice);
                }
                Ok(slice) => {
                    let digest = blake3::hash(&slice);
                    course.lied(&origin);
                    if odd.iter().any(|(_, other)| *other == digest) {
                        tracing::error!(blob = %id, "a node of this cluster attested wrong bytes");
                        self.shared.metrics.false_attestations.inc();
                        return Err(self.disprove(course).await);
                    }
                    odd.push((origin, digest));
                }
                Err(error) => course.failed(&origin, &error),
            }
        }
    }

    async fn draw_slice(
        &self,
        permit: crate::origin::Permit,
        course: &mut Course,
        found: &Found,
        n: usize,
    ) -> (Arc<Origin>, Result<Bytes, AttemptError>) {
        let start = n as u64 * SLICE as u64;
        let end = start + found.attested().slice_len(n);
        let mut download = match self.open(permit, course, Some(start..=end - 1)).await {
            Ok(download) => download,
            Err((origin, error)) => return (origin, Err(error)),
        };
        let length = usize::try_from(end - start).unwrap_or(SLICE);
        let mut slice = BytesMut::with_capacity(length);
        let drawn = loop {
            match download.next().await {
                Ok(Some(bytes)) => {
                    self.shared.metrics.origin.bytes.inc_by(bytes.len() as u64);
                    slice.extend_from_slice(&bytes);
                }
                Ok(None) => break Ok(slice.freeze()),
                Err(error) => break Err(error),
            }
        };
        (Arc::clone(download.origin()), drawn)
    }

    /// Drops a record that origins contradict: whoever asks next gets the blob from them.
    async fn disprove(&self, course: &Course) -> FillError {
        let id = self.fill.key.id;
        if let Some(redis) = &self.shared.redis {
            let _removed = redis.remove(&id).await;
        }
        FillError::Corrupt { tried: course.tried().clone() }
    }

    fn attested_head(&self, record: &Record) -> Head {
        Head {
            total: record.length,
            media: record.media.clone(),
            etag: self.etag(record.level),
            streams: true,
            holds_tail: false,
            source: Source::Redis,
            level: record.level,
            token: record.token,
        }
    }

    /// Now and then checks in full what another node vouched for: its memory may be bad, or its key
    /// stolen.
    pub(super) fn recheck_sometimes(&self, entry: &Arc<Entry>, giver: Option<Giver>) {
        if rand::random::<f64>() < self.shared.limits.recheck {
            self.recheck(Arc::clone(entry), giver);
        }
    }

    fn recheck(&self, entry: Arc<Entry>, giver: Option<Giver>) {
        let (shared, key) = (Arc::clone(&self.shared), self.fill.key);
        let work = async move {
            let mut verdict = shared.verifier.check(key.id, entry.slices().to_vec()).await;
            if let Verdict::Late(finding) = verdict {
                verdict = match finding.await {
                    Ok(true) => Verdict::Match,
                    Ok(false) => Verdict::Mismatch,
                    Err(_stopped) => return,
                };
            }
            match verdict {
                Verdict::Match => {
                    let etag = entry.etag().clone();
                    shared.cache.admit(key, Arc::new(entry.verified(etag)));
                }
                Verdict::Mismatch => {
                    tracing::error!(blob = %key.id, "a node of this cluster attested wrong bytes");
                    shared.metrics.false_attestations.inc();
                    giver.inspect(|giver| giver.lied(&key.id));
                    shared.cache.remove(&key);
                    shared.notes.iter().for_each(|notes| notes.forget(&key.id));
                    if let Some(redis) = &shared.redis {
                        let _removed = redis.remove(&key.id).await;
                    }
                }
                Verdict::Skipped | Verdict::Late(_) | Verdict::Busy => {}
            }
        };
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(shutdown.run_until_cancelled_owned(work));
    }
}
