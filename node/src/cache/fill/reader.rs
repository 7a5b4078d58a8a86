//! Somebody who waits for a fill, or reads along.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering::AcqRel},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{sync::watch, time::timeout};
use wcdn_proto::Position;

use super::{
    Fill,
    error::FillError,
    state::{Head, Outcome, State},
};
use crate::{cache::entry::Entry, edge::response::Source, metrics::events::Tier};

/// A share in a fill. The fill may be given up once nobody holds one.
#[derive(Debug)]
pub struct Reader {
    pub(super) fill: Arc<Fill>,
    state: watch::Receiver<State>,
}

/// What a reader can answer its viewer with.
#[derive(Debug)]
pub enum Ready {
    /// The whole thing, and where it came from.
    Entry(Arc<Entry>, Source),
    /// The beginning; the rest comes through [`Reader::stream`].
    Streaming(Head),
    /// Only slices of it can be had.
    Large {
        /// Bytes of the blob.
        total: u64,
        /// The position that was known when its length was asked for.
        token: Position,
    },
}

impl Ready {
    /// The position that was known when the fetch began.
    pub(super) fn token(&self) -> Position {
        match self {
            Self::Entry(entry, _) => entry.record().token,
            Self::Streaming(head) => head.token,
            Self::Large { token, .. } => *token,
        }
    }
}

impl Reader {
    pub(super) fn new(fill: Arc<Fill>) -> Self {
        fill.readers.fetch_add(1, AcqRel);
        let state = fill.state.subscribe();
        Self { fill, state }
    }

    /// Waits until there is something to answer with, but no longer than `patience`.
    ///
    /// # Errors
    /// Why the fill failed, [`FillError::Slow`], or [`FillError::Overtaken`] by an event that removed
    /// the bytes: nothing that begins now may come from them. Whoever has begun may read on.
    pub async fn ready(&mut self, patience: Duration) -> Result<Ready, Arc<FillError>> {
        let begun = |state: &State| state.head.as_ref().is_some_and(|head| head.streams);
        self.wait(patience, |state| state.outcome.is_some() || begun(state)).await
    }

    async fn wait(
        &mut self,
        patience: Duration,
        until: impl FnMut(&State) -> bool,
    ) -> Result<Ready, Arc<FillError>> {
        let waited = match timeout(patience, self.state.wait_for(until)).await {
            Ok(Ok(state)) => match (&state.outcome, &state.head) {
                (Some(Outcome::Done(entry, source)), _) => {
                    Ok(Ready::Entry(Arc::clone(entry), *source))
                }
                (Some(Outcome::Large { total, token }), _) => {
                    Ok(Ready::Large { total: *total, token: *token })
                }
                (Some(Outcome::Failed(error)), _) => Err(Arc::clone(error)),
                (None, Some(head)) => Ok(Ready::Streaming(head.clone())),
                (None, None) => unreachable!("waited for an outcome or a head"),
            },
            Ok(Err(_gone)) => Err(Arc::new(FillError::Abandoned)),
            Err(_elapsed) => {
                let tried = self.fill.state.borrow().tried.clone();
                Err(Arc::new(FillError::Slow { waited: patience, tried }))
            }
        };
        let ready = waited?;
        match self.fill.log.admits(&self.fill.key.id, ready.token(), Tier::Fill) {
            true => Ok(ready),
            false => Err(Arc::new(FillError::Overtaken)),
        }
    }

    /// Waits for the end of the fill, not just its beginning.
    ///
    /// # Errors
    /// Why the fill failed, or [`FillError::Slow`].
    pub async fn entry(&mut self, patience: Duration) -> Result<Ready, Arc<FillError>> {
        self.wait(patience, |state| state.outcome.is_some()).await
    }

    /// The bytes of `range` as they arrive; ends early, with an error, when the fill fails.
    pub fn stream(
        self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Arc<FillError>>> + Send + 'static {
        stream::try_unfold((self, range), |(mut reader, mut range)| async move {
            let Some(piece) = reader.next(&range).await? else {
                return Ok(None);
            };
            range.start += piece.len() as u64;
            Ok(Some((piece, (reader, range))))
        })
    }

    /// The next piece of `range`; `None` at its end.
    ///
    /// # Errors
    /// Why the fill failed.
    pub(crate) async fn next(
        &mut self,
        range: &Range<u64>,
    ) -> Result<Option<Bytes>, Arc<FillError>> {
        if range.is_empty() {
            return Ok(None);
        }
        let waited = self
            .state
            .wait_for(|state| state.outcome.is_some() || state.piece(range).is_some())
            .await;
        let Ok(state) = waited else {
            return Err(Arc::new(FillError::Abandoned));
        };
        match &state.outcome {
            Some(Outcome::Done(entry, _)) => Ok(entry.piece(range)),
            Some(Outcome::Failed(error)) => Err(Arc::clone(error)),
            Some(Outcome::Large { .. }) => Err(Arc::new(FillError::Abandoned)),
            None => Ok(state.piece(range)),
        }
    }
}

impl Reader {
    /// What the fill got, once it has ended: after the last byte that may be a moment.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn done(&mut self) -> Result<Arc<Entry>, Arc<FillError>> {
        let Ok(state) = self.state.wait_for(|state| state.outcome.is_some()).await else {
            return Err(Arc::new(FillError::Abandoned));
        };
        match &state.outcome {
            Some(Outcome::Done(entry, _)) => Ok(Arc::clone(entry)),
            Some(Outcome::Failed(error)) => Err(Arc::clone(error)),
            Some(Outcome::Large { .. }) | None => Err(Arc::new(FillError::Abandoned)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.fill.readers.fetch_sub(1, AcqRel) == 1 {
            self.fill.left.notify_one();
        }
    }
}
