//! A body as it grows: what one giver sends is added to it, and shown to readers.

use std::{ops::Range, time::SystemTime};

use bytes::{Bytes, BytesMut};

use super::{
    assemble::{Source, Trouble},
    error::FillError,
    giver::Download,
    state::Head,
    task::Task,
};
use crate::{
    cache::{
        budget::Reservation,
        entry::{self, Level, Part, SLICE},
    },
    edge::{
        media::{self, SNIFFED},
        response,
    },
    metrics::ShedReason,
    origin::attempt::AttemptError,
    peer::{attestation::Attestation, error::PeerError},
};

/// Pieces below this grow before another is begun.
const SMALL_PIECE: usize = 4 << 10;

/// A body so far.
pub(super) struct Growing {
    /// Where in the blob the body begins.
    pub(super) base: u64,
    pub(super) length: u64,
    pub(super) total: u64,
    pub(super) got: u64,
    pub(super) held: Reservation,
    pub(super) hasher: blake3::Hasher,
    pub(super) sources: Vec<Source>,
    pub(super) attested: Option<Attestation>,
}

impl Task {
    /// Reads from one giver until the body is complete or that one fails.
    pub(super) async fn draw(
        &self,
        mut download: Download,
        growing: &mut Option<Growing>,
    ) -> Result<(), Trouble> {
        self.take_token_of(&download)?;
        let growing = match growing {
            Some(growing) if growing.total != download.total() => {
                let (says, began) = (download.total(), growing.total);
                let trouble = Trouble::from(AttemptError::OtherLength { says, began });
                return Err(trouble.of(&download));
            }
            Some(growing) => growing,
            none => {
                let begun = self.begin(download.total());
                none.insert(begun.map_err(|trouble| trouble.of(&download))?)
            }
        };
        let at = growing.got;
        growing.sources.push(Source {
            giver: download.giver(),
            range: at..at,
            hasher: blake3::Hasher::new(),
        });
        if growing.length == 0 {
            self.publish_head(growing);
        }
        while let Some(bytes) = self.piece(&mut download).await? {
            self.append(growing, &bytes);
        }
        growing.attested = self.attested(&download);
        Ok(())
    }

    /// The next piece; from a peer only as long as this node is not asked for the blob itself.
    async fn piece(&self, download: &mut Download) -> Result<Option<Bytes>, Trouble> {
        match download {
            Download::Origin(download) => {
                let piece = download.next().await?;
                let length = piece.as_ref().map_or(0, Bytes::len);
                self.shared.metrics.origin.bytes.inc_by(length as u64);
                Ok(piece)
            }
            Download::Peer(download) => {
                let piece = self.fill.by_itself.run_until_cancelled(download.next()).await;
                Ok(piece.ok_or(Trouble::Alone)??)
            }
        }
    }

    /// The token of a body is that of its first bytes; what is older does not go on with it.
    fn take_token_of(&self, download: &Download) -> Result<(), Trouble> {
        match download {
            Download::Origin(_) => {
                self.adopted.get_or_init(|| self.asked.get().copied().unwrap_or_default());
            }
            Download::Peer(download) => {
                let found = download.found();
                if !self.adopt(found.token) {
                    return Err(PeerError::Older.into());
                }
                let left = SystemTime::now().checked_sub(found.age);
                self.left_origin.get_or_init(|| left.unwrap_or_else(SystemTime::now));
            }
        }
        Ok(())
    }

    /// The bytes of the blob that are wanted, if not all.
    pub(super) fn slice(&self) -> Option<Range<u64>> {
        match self.fill.key.part {
            Part::Probe => Some(0..1),
            part @ (Part::Beginning | Part::Slice(_)) => {
                let total = self.total.expect("a slice is asked for when the length is known");
                Some(part.range(total, self.shared.limits.slice))
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
        if decides_how && total > limits.whole {
            return Err(Trouble::Large { total });
        }
        let held = self
            .shared
            .cache
            .reserve(entry::cost(length))
            .ok_or(FillError::Shed(ShedReason::Memory))?;
        let hasher = blake3::Hasher::new();
        let (sources, attested) = (Vec::new(), None);
        Ok(Growing { base, length, total, got: 0, held, hasher, sources, attested })
    }

    /// Adds bytes and shows them to readers.
    ///
    /// The bytes are copied: as they come they are windows into the connection's read buffer, and
    /// keeping a small one would keep the whole buffer.
    fn append(&self, growing: &mut Growing, bytes: &[u8]) {
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
        let source =
            growing.sources.last().map_or(response::Source::Walrus, |it| it.giver.source());
        self.fill.state.send_modify(|state| {
            state.head = Some(Head {
                total: growing.total,
                media: media::sniff(state.beginning(), None),
                etag,
                streams: is_slice || growing.length > limits.hold,
                holds_tail: limits.checks && !is_slice,
                source,
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
