//! The body of an answer to a peer, with what this node vouches for at its end.

use std::{
    ops::Range,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures_util::stream;
use http_body::{Frame, SizeHint};
use wcdn_proto::BlobId;

use super::{Answer, Held, accounts::Place};
use crate::{
    cache::{
        entry::Record,
        fill::{Reader, error::FillError},
    },
    edge::{
        Guard,
        body::{Content, Piece},
    },
    events::Log,
    peer::{
        attestation::{Attestation, Voucher},
        wire,
    },
};

/// A body of known length, and its trailers.
pub(super) struct Body {
    content: Content,
    /// Bytes yet to come.
    left: u64,
    /// What the bytes turned out to be, once they are complete.
    record: Arc<OnceLock<Record>>,
    end: Option<End>,
}

/// What is needed to the end.
struct End {
    id: BlobId,
    /// Vouches for the bytes, if they are a whole blob.
    voucher: Option<Arc<Voucher>>,
    log: Arc<Log>,
    guard: Guard,
    _place: Place,
}

/// The most bytes that are handed on at once: others wait for their turn.
const TURN: usize = 64 << 10;

impl Body {
    pub(super) fn new(
        id: BlobId,
        answer: Answer,
        voucher: Option<Arc<Voucher>>,
        log: Arc<Log>,
    ) -> Self {
        let Answer { found: _, range, held, guard, place } = answer;
        let left = range.end - range.start;
        let record = Arc::<OnceLock<Record>>::default();
        let content = match held {
            Held::Entry(entry) => {
                record.get_or_init(|| entry.record().clone());
                Content::Entry(entry, range)
            }
            Held::Fill(reader) => read(reader, range, Arc::clone(&record)),
        };
        let end = Some(End { id, voucher, log, guard, _place: place });
        Self { content, left, record, end }
    }

    pub(super) fn empty() -> Self {
        let (content, record) = (Content::Bytes(Bytes::new()), Arc::default());
        Self { content, left: 0, record, end: None }
    }

    /// The trailers, once.
    fn trailers(&mut self) -> Option<Frame<Piece>> {
        let End { id, voucher, .. } = self.end.take()?;
        let attestation = Attestation::of(self.record.get()?);
        Some(Frame::trailers(wire::trailers(&voucher?.seal(&id, &attestation))))
    }
}

/// The bytes as they arrive; after the last one, what they turned out to be.
fn read(reader: Reader, range: Range<u64>, record: Arc<OnceLock<Record>>) -> Content {
    let pieces = stream::try_unfold((reader, range), move |(mut reader, mut range)| {
        let record = Arc::clone(&record);
        async move {
            let Some(piece) = reader.next(&range).await? else {
                let entry = reader.done().await?;
                record.get_or_init(|| entry.record().clone());
                return Ok::<_, Arc<FillError>>(None);
            };
            range.start += piece.len() as u64;
            Ok(Some((piece, (reader, range))))
        }
    });
    Content::Stream(Box::pin(pieces), Bytes::new())
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = Arc<FillError>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let Some(piece) = ready!(self.content.poll(TURN, cx)) else {
            return Poll::Ready(self.trailers().map(Ok));
        };
        let piece = piece?;
        if let Some(End { guard, log, .. }) = &mut self.end
            && !guard.holds(log)
        {
            log.metrics.cut.inc();
            return Poll::Ready(Some(Err(Arc::new(FillError::Withheld))));
        }
        self.left = self.left.saturating_sub(piece.remaining() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
