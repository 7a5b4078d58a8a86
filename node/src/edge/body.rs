//! The body of a response, and what is noted when it ends.

use std::{
    any::Any,
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use super::{connection::Connection, guard::Guard, streams, watch::Phase};
use crate::{
    access_log::Pending,
    cache::{entry::Entry, fill::error::FillError},
    metrics::Metrics,
};

/// A body of known length.
pub struct Body {
    bytes: Content,
    /// Bytes yet to come.
    left: u64,
    end: Option<End>,
}

/// Where the bytes come from. An entry's are sent as they lie in memory, without a copy.
pub(crate) enum Content {
    /// These.
    Bytes(Bytes),
    /// These, charged to something.
    Held(Bytes, Arc<dyn Any + Send + Sync>),
    /// A part of an entry.
    Entry(Arc<Entry>, Range<u64>),
    /// Several parts of an entry, with what stands between them.
    Parts(Arc<Entry>, VecDeque<Part>),
    /// Whatever arrives, and what has arrived and not been sent.
    Stream(BoxStream, Bytes),
    /// Nothing, of a length that a HEAD asked for.
    Nothing,
}

/// Bytes as they arrive.
pub(crate) type BoxStream =
    Pin<Box<dyn Stream<Item = Result<Bytes, Arc<FillError>>> + Send + 'static>>;

/// Bytes on their way, with what their memory is charged to: they lie in the connection's queue
/// after the body that gave them is gone.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    _held: Option<Arc<dyn Any + Send + Sync>>,
    /// Whose response it is a piece of, over HTTP/2.
    stream: Option<Arc<streams::Stream>>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.taken(self.bytes.remaining());
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(stream) = &self.stream {
            stream.taken(count);
        }
    }
}

/// A piece of a multipart body.
#[derive(Debug)]
pub(crate) enum Part {
    /// Framing.
    Bytes(Bytes),
    /// A range of the entry.
    Range(Range<u64>),
}

/// What is done once a body has ended, however it ends.
pub(super) struct End {
    pub(super) metrics: Arc<Metrics>,
    pub(super) connection: Arc<Connection>,
    /// The request, over HTTP/2.
    pub(super) stream: Option<Arc<streams::Stream>>,
    /// What may come to be withheld while it is sent.
    pub(super) guard: Option<Guard>,
    pub(super) log: Option<Box<Pending>>,
    /// Bytes handed to the connection.
    pub(super) sent: u64,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(bytes: Content, length: u64) -> Self {
        Self { bytes, left: length, end: None }
    }

    pub(super) fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::new(Content::Bytes(bytes), length)
    }

    pub(super) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub(super) fn length(&self) -> u64 {
        self.left
    }

    pub(super) fn when_ended(mut self, end: End) -> Self {
        self.end = Some(end);
        self
    }
}

impl Content {
    /// The next piece, of `most` bytes at most.
    pub(crate) fn poll(
        &mut self,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, Arc<FillError>>>> {
        let (bytes, held): (_, Option<Arc<dyn Any + Send + Sync>>) = match self {
            Self::Bytes(bytes) => (take(bytes, most), None),
            Self::Held(bytes, held) => (take(bytes, most), Some(Arc::clone(held) as _)),
            Self::Entry(entry, range) => {
                (next_of(entry, range, most), Some(Arc::clone(entry) as _))
            }
            Self::Parts(entry, parts) => {
                (next_part(entry, parts, most), Some(Arc::clone(entry) as _))
            }
            Self::Nothing => (None, None),
            Self::Stream(stream, rest) => {
                while rest.is_empty() {
                    match ready!(stream.as_mut().poll_next(cx)) {
                        Some(piece) => *rest = piece?,
                        None => break,
                    }
                }
                (take(rest, most), None)
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Piece { bytes, _held: held, stream: None })))
    }
}

fn take(bytes: &mut Bytes, most: usize) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| bytes.split_to(most.min(bytes.len())))
}

fn next_of(entry: &Entry, range: &mut Range<u64>, most: usize) -> Option<Bytes> {
    let mut piece = entry.piece(range)?;
    piece.truncate(most);
    range.start += piece.len() as u64;
    Some(piece)
}

fn next_part(entry: &Entry, parts: &mut VecDeque<Part>, most: usize) -> Option<Bytes> {
    loop {
        match parts.front_mut()? {
            Part::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                parts.pop_front();
                return Some(bytes);
            }
            Part::Range(range) => match next_of(entry, range, most) {
                Some(piece) => return Some(piece),
                None => parts.pop_front(),
            },
        };
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = Arc<FillError>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let is_one_of_many = self.end.as_ref().is_some_and(|end| end.stream.is_some());
        let most = if is_one_of_many { streams::TURN } else { usize::MAX };
        let Some(piece) = ready!(self.bytes.poll(most, cx)) else {
            return Poll::Ready(None);
        };
        let mut piece = piece?;
        if let Some(stream) = self.end.as_ref().and_then(|end| end.stream.as_ref()) {
            stream.handed(piece.remaining());
            piece.stream = Some(Arc::clone(stream));
        }
        if let Some(End { guard: Some(guard), connection, metrics, .. }) = &mut self.end
            && !guard.holds(&connection.log)
        {
            metrics.events.cut.inc();
            return Poll::Ready(Some(Err(Arc::new(FillError::Withheld))));
        }
        self.left = self.left.saturating_sub(piece.remaining() as u64);
        if let Some(end) = &mut self.end {
            end.sent += piece.remaining() as u64;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(End { metrics, connection, stream: _, guard: _, log, sent }) = self.end.take()
        else {
            return;
        };
        connection.standing.enter(Phase::Idle);
        metrics.response_bytes.inc_by(sent);
        if self.left > 0 {
            metrics.responses_cut.inc();
        }
        if let Some(log) = log {
            log.ended(sent, self.left == 0);
        }
    }
}
