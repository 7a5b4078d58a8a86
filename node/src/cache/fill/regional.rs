//! A blob from the region's Redis, slice by slice, each attested by whoever checked the whole.

use std::{pin::pin, sync::Arc};

use futures_util::{StreamExt, stream};

use super::{assemble::Growing, state::Head, task::Task};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Entry, Part, Record},
        redis::{FIND_COST, Found},
    },
    edge::response::Source,
    verify::Verdict,
};

/// What Redis gave.
pub(super) enum Regional {
    /// All of it.
    Whole(Arc<Entry>),
    /// Its beginning; the rest was gone by the time it was asked for.
    Beginning(Box<Growing>),
    /// Nothing that can be used.
    Nothing,
}

/// Slices that are asked for at once: a large blob takes fewer round trips.
const SLICES_AHEAD: usize = 4;

impl Task {
    /// Asks the region's Redis, if there is one and it may have the blob.
    pub(super) async fn ask_region(&self) -> Regional {
        let Some(redis) = self.shared.redis.as_ref().filter(|_| self.fill.key.part == Part::Whole)
        else {
            return Regional::Nothing;
        };
        // Room for whatever is found, before it comes.
        let Some(held) = self.shared.cache.reserve(FIND_COST) else {
            return Regional::Nothing;
        };
        match redis.find(&self.fill.key.id).await {
            Some(found) => self.draw_slices(&found, held).await,
            None => Regional::Nothing,
        }
    }

    /// Takes slice after slice, each shown to readers as it comes: its digest was attested, so it
    /// need not wait for the others.
    async fn draw_slices(&self, found: &Found, mut held: Reservation) -> Regional {
        let record = found.attested().record.clone();
        let count = found.attested().slices.len();
        let cost = entry::cost(record.length);
        if record.length > self.shared.limits.whole {
            return Regional::Nothing;
        }
        if cost > held.bytes() {
            let Some(more) = self.shared.cache.reserve(cost) else { return Regional::Nothing };
            held = more;
        }
        let mut slices =
            pin!(stream::iter(0..count).map(|n| found.slice(n)).buffered(SLICES_AHEAD));
        while let Some(slice) = slices.next().await {
            let Some(slice) = slice else {
                return self.broke_off(record.length, held);
            };
            self.fill.state.send_modify(|state| {
                state.got += slice.len() as u64;
                state.slices.push(slice);
                if count > 1 {
                    state.head.get_or_insert_with(|| self.attested_head(&record));
                }
            });
        }
        let slices = self.fill.state.borrow().slices.clone();
        let entry = Arc::new(Entry::new(record.clone(), self.etag(record.level), slices, held));
        self.shared.cache.admit(self.fill.key, Arc::clone(&entry));
        if rand::random::<f64>() < self.shared.limits.recheck {
            self.recheck(Arc::clone(&entry));
        }
        Regional::Whole(entry)
    }

    fn attested_head(&self, record: &Record) -> Head {
        Head {
            total: record.length,
            media: record.media.clone(),
            etag: self.etag(record.level),
            streams: true,
            holds_tail: false,
            holds_from: None,
            source: Source::Redis,
            level: record.level,
        }
    }

    /// What is here stays; what origins add to it waits until the whole is checked, for readers
    /// were told that all of it is.
    fn broke_off(&self, length: u64, held: Reservation) -> Regional {
        let checks = self.shared.limits.checks;
        self.fill.state.send_modify(|state| {
            let got = state.got;
            if let Some(head) = state.head.as_mut().filter(|_| checks) {
                head.holds_from = Some(got);
            }
        });
        let slices = self.fill.state.borrow().slices.clone();
        Regional::Beginning(Box::new(Growing::from_slices(length, &slices, held)))
    }

    /// Checks in full what another node vouched for: its memory may be bad, or its key stolen.
    fn recheck(&self, entry: Arc<Entry>) {
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
                    shared.cache.remove(&key);
                    if let Some(redis) = &shared.redis {
                        redis.remove(&key.id).await;
                    }
                }
                Verdict::Skipped | Verdict::Late(_) | Verdict::Busy => {}
            }
        };
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(shutdown.run_until_cancelled_owned(work));
    }
}
