//! How far this node is, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use wcdn_proto::Position;

use crate::time::Time;

/// Written by whoever drives the brain; read by fills, membership and reports.
#[derive(Debug)]
pub(crate) struct Positions {
    applied: watch::Sender<Position>,
    /// Apart from `applied`, and held for two words: it is read once for each fill.
    known: RwLock<Position>,
    /// The encoded frame of the highest position that was opened.
    newest: RwLock<Option<Bytes>>,
    /// Nanoseconds; 0 for never.
    confirmed: AtomicU64,
}

impl Positions {
    /// Of a node that begins at `start`.
    pub(crate) fn new(start: Position) -> Self {
        Self {
            applied: watch::Sender::new(start),
            known: RwLock::new(start),
            newest: RwLock::new(None),
            confirmed: AtomicU64::new(0),
        }
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

    /// The last time at which everything committed by then is applied by now.
    pub(crate) fn confirmed(&self) -> Option<Time> {
        let nanos = self.confirmed.load(Ordering::Relaxed);
        (nanos > 0).then(|| Time::from_nanos(nanos))
    }

    /// The encoded frame of the highest position that was opened.
    pub(crate) fn newest(&self) -> Option<Bytes> {
        self.newest.read().clone()
    }

    /// Takes the newest frame, if it is another one.
    pub(crate) fn prove(&self, newest: Option<&Bytes>) {
        let is_same = |held: &Bytes| newest.is_some_and(|newest| newest.as_ptr() == held.as_ptr());
        let is_new = newest.is_some() && !self.newest.read().as_ref().is_some_and(is_same);
        if is_new {
            *self.newest.write() = newest.cloned();
        }
    }

    /// Takes when the head was confirmed last.
    pub(crate) fn confirm(&self, at: Option<Time>) {
        let nanos = at.map_or(0, |at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        self.confirmed.store(nanos, Ordering::Relaxed);
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
