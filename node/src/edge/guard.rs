//! What keeps withheld bytes in: asked before a response begins, and again before each of its pieces.
//!
//! A response notes how often anything was blocked when it began; before a piece it compares, which
//! is one load of a number that hardly ever changes. Only where it did, it looks whether its own id is
//! the one. What a connection was given before is cut with the connection, which waits for the same
//! number (`connection.rs`): over HTTP/2, too, where others share it, if it owes any of that to its
//! viewer. One that gives no window would have it whenever it wants, and the library takes nothing
//! back.

use wcdn_proto::ContentId;

use super::error::ServeError;
use crate::events::{Confirmation, Log};

/// What a response is of, and when that was looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    content: ContentId,
    /// How often anything had been blocked.
    blocks: u64,
}

impl Guard {
    /// Looks whether `content` may be served.
    ///
    /// # Errors
    /// [`Code::Blocked`](super::error::Code::Blocked).
    pub(crate) fn new(log: &Log, content: ContentId) -> Result<Self, ServeError> {
        // Before the look: what is blocked in between is found before the first piece.
        let blocks = log.blocks();
        match log.withholds(&content) {
            true => Err(withheld(log)),
            false => Ok(Self { content, blocks }),
        }
    }

    /// Looks again, where anything was blocked since; whether it still may be served.
    pub(crate) fn holds(&mut self, log: &Log) -> bool {
        let blocks = log.blocks();
        if blocks == self.blocks {
            return true;
        }
        self.blocks = blocks;
        !log.withholds(&self.content)
    }

    /// What it is of.
    pub(super) fn content(&self) -> &ContentId {
        &self.content
    }
}

/// Whether anything may be served now.
///
/// # Errors
/// [`Code::Unconfirmed`](super::error::Code::Unconfirmed).
pub(super) fn is_confirmed(log: &Log) -> Result<(), ServeError> {
    match log.confirmation() {
        Confirmation::Confirmed | Confirmation::Unconfirmed => Ok(()),
        Confirmation::Fenced => {
            log.metrics.fenced.inc();
            Err(ServeError::unconfirmed())
        }
    }
}

/// Whether `content` may be asked for.
///
/// # Errors
/// [`Code::Blocked`](super::error::Code::Blocked).
pub(super) fn may_ask(log: &Log, content: &ContentId) -> Result<(), ServeError> {
    if log.withholds(content) { Err(withheld(log)) } else { Ok(()) }
}

fn withheld(log: &Log) -> ServeError {
    log.metrics.blocked.inc();
    ServeError::withheld()
}
