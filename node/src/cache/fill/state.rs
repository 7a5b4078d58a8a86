//! How far a fill is: written by its task, read by everybody who waits.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;
use wcdn_proto::Position;

use super::error::{FillError, Tried};
use crate::{
    cache::entry::{self, Entry, Level, SLICE},
    edge::{media::MediaType, response::Source},
};

/// A body that grows, and what is known of it.
///
/// Complete slices are contiguous; the one that is growing is a list of the pieces as they came,
/// so that a reader need not wait for a slice to be full.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) head: Option<Head>,
    pub(super) slices: Vec<Bytes>,
    pub(super) pieces: Vec<Bytes>,
    pub(super) got: u64,
    pub(super) tried: Tried,
    pub(super) outcome: Option<Outcome>,
}

/// What is known once the first bytes are here.
#[derive(Debug, Clone)]
pub struct Head {
    /// Bytes of the whole blob.
    pub total: u64,
    /// What the bytes seem to be.
    pub media: MediaType,
    /// Their validator until they are checked: that of this very fill.
    pub etag: HeaderValue,
    /// Whether readers may have bytes before the fill has ended.
    pub streams: bool,
    /// Whether the end of every response waits for the check.
    pub holds_tail: bool,
    /// Where the bytes come from.
    pub source: Source,
    /// How far they are checked as they come.
    pub level: Level,
    /// The position that was known when their fetch began.
    pub token: Position,
}

/// How a fill ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// With an entry, from there.
    Done(Arc<Entry>, Source),
    /// The blob is too large to hold; it is to be read slice by slice.
    Large { total: u64, token: Position },
    /// Without the bytes.
    Failed(Arc<FillError>),
}

/// Bytes at the end of a response that wait for the check of a body that streams: without them no
/// client takes the response for complete.
const TAIL: u64 = 64 << 10;

impl State {
    /// The piece of `range` that a reader may have now; `None` when it must wait.
    pub(super) fn piece(&self, range: &Range<u64>) -> Option<Bytes> {
        let head = self.head.as_ref().filter(|head| head.streams)?;
        let kept_back = if head.holds_tail { TAIL } else { 0 };
        let end = self.got.min(range.end.saturating_sub(kept_back));
        let range = range.start..end.max(range.start);
        entry::piece(&self.slices, &range).or_else(|| self.growing_piece(&range))
    }

    fn growing_piece(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut base = self.slices.len() as u64 * SLICE as u64;
        for piece in &self.pieces {
            let end = base + piece.len() as u64;
            if range.start < end && base < range.end {
                let from = usize::try_from(range.start - base).ok()?;
                let to = usize::try_from(range.end.min(end) - base).ok()?;
                return (from < to).then(|| piece.slice(from..to));
            }
            base = end;
        }
        None
    }

    /// The first bytes, enough to tell what they are.
    pub(super) fn beginning(&self) -> &[u8] {
        self.slices.first().or(self.pieces.first()).map_or(&[], |bytes| bytes)
    }

    /// Forgets the bytes, keeping what was learned about origins.
    pub(super) fn restart(&mut self) {
        *self = Self { tried: std::mem::take(&mut self.tried), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(slices: usize, pieces: &[usize], holds_tail: bool) -> (State, Vec<u8>) {
        let growing: usize = pieces.iter().sum();
        let body: Vec<u8> = (0..=250).cycle().take(slices * SLICE + growing).collect();
        let mut state = State { got: body.len() as u64, ..State::default() };
        let mut rest = Bytes::from(body.clone());
        state.slices = (0..slices).map(|_| rest.split_to(SLICE)).collect();
        state.pieces = pieces.iter().map(|len| rest.split_to(*len)).collect();
        let media = MediaType::OCTET_STREAM;
        let etag = HeaderValue::from_static("\"x\"");
        let total = body.len() as u64 + 1_000_000;
        state.head = Some(Head {
            total,
            media,
            etag,
            streams: true,
            holds_tail,
            source: Source::Walrus,
            level: Level::Origin,
            token: Position::ORIGIN,
        });
        (state, body)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_in_a_row_give_the_range_as_far_as_it_came(
            slices in 0usize..2,
            pieces in prop::collection::vec(1usize..9_000, 0..5),
            start in 0u64..1_100_000,
            len in 0u64..1_200_000,
        ) {
            let (state, body) = state(slices, &pieces, false);
            let mut range = start..start + len;
            let mut read = Vec::new();
            while let Some(piece) = state.piece(&range) {
                prop_assert!(!piece.is_empty());
                range.start += piece.len() as u64;
                read.extend_from_slice(&piece);
            }
            let clamp = |at: u64| usize::try_from(at).unwrap().min(body.len());
            prop_assert_eq!(read, &body[clamp(start)..clamp(start + len)]);
        }
    }

    #[test]
    fn the_end_of_every_range_is_held_until_the_check() {
        let (state, _) = state(1, &[5_000], true);
        let mut range = 0..SLICE as u64;
        while let Some(piece) = state.piece(&range) {
            range.start += piece.len() as u64;
        }
        assert_eq!(range.start, SLICE as u64 - TAIL);
        assert_eq!(state.piece(&(0..TAIL)), None, "a short range is all end");
    }
}
