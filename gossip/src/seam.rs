//! What the event plane asks of the program that it runs in.

use std::{error::Error, fmt, future::Future};

use bytes::Bytes;
use wcdn_proto::{Events, Position};

/// Where events become true: the edge.
pub trait Sink: Send + Sync + 'static {
    /// Makes the events true here: a response that begins afterwards holds nothing that they removed,
    /// and nothing that they blocked.
    ///
    /// Frames come out of order and more than once. The first of a higher epoch makes everything
    /// that was fetched under a lower one unproven; those of a lower epoch are not given.
    fn apply(&self, events: &Events);

    /// Returns once whatever was blocked or unblocked by events that were applied before this call is
    /// so through a crash, too. Until then their positions are not told to anybody, and everything
    /// else goes on. One that keeps nothing has nothing to do.
    ///
    /// # Cancel safety
    /// It is dropped at shutdown.
    fn keep(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// How an edge gets what it missed: from the control plane's log.
pub trait Catchup: Send + Sync + 'static {
    /// The frames after `after`, or a snapshot if the log no longer has them or is another one. No
    /// frames say that the log ends there: it must have been read from the store, after this call
    /// began, since that counts as a confirmation of the head.
    ///
    /// # Errors
    /// [`CatchupError`] when no control plane answers; it is asked again later.
    ///
    /// # Cancel safety
    /// It is dropped when it takes more than a minute, and at shutdown: what it did so far must be
    /// true or without effect.
    fn catch_up(
        &self,
        after: Position,
    ) -> impl Future<Output = Result<CaughtUp, CatchupError>> + Send;
}

/// Where an issuer's log ends.
pub trait Head: Send + Sync + 'static {
    /// The position of the last event that is committed, read from the store after the call, or of
    /// the place before the first event if there is none.
    ///
    /// # Errors
    /// [`HeadError`] when the store does not answer; then nothing is confirmed.
    fn head(&self) -> impl Future<Output = Result<Position, HeadError>> + Send;
}

/// What was missed.
#[derive(Debug)]
pub enum CaughtUp {
    /// Encoded frames, in order, the next one first; maybe not yet all of them.
    Frames(Vec<Bytes>),
    /// Everything up to here is true in the sink by now.
    Snapshot(Position),
}

/// No control plane could be asked.
#[derive(Debug)]
pub struct CatchupError(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for CatchupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log cannot be read")
    }
}

impl Error for CatchupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The store does not tell where the log ends.
#[derive(Debug)]
pub struct HeadError(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of the log cannot be read")
    }
}

impl Error for HeadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
