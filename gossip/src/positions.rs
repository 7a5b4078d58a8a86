//! How far this node is, for whoever asks.

use parking_lot::RwLock;
use tokio::sync::watch;
use wcdn_proto::Position;

/// Written by whoever drives the brain; read by fills, membership and reports.
#[derive(Debug)]
pub(crate) struct Positions {
    applied: watch::Sender<Position>,
    /// Apart from `applied`, and held for two words: it is read once for each fill.
    known: RwLock<Position>,
}

impl Positions {
    /// Of a node that begins at `start`.
    pub(crate) fn new(start: Position) -> Self {
        Self { applied: watch::Sender::new(start), known: RwLock::new(start) }
    }

    /// Everything up to here is applied.
    pub(crate) fn applied(&self) -> Position {
        *self.applied.borrow()
    }

    /// The same whenever it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.applied.subscribe()
    }

    /// The highest position that a signature vouched for: it is committed.
    pub(crate) fn known(&self) -> Position {
        *self.known.read()
    }

    /// Takes what has become true.
    pub(crate) fn advance(&self, applied: Position, known: Position) {
        if self.known() != known {
            *self.known.write() = known;
        }
        self.applied.send_if_modified(|before| {
            let is_new = *before != applied;
            *before = applied;
            is_new
        });
    }
}
