//! The requests of one HTTP/2 connection, and which of them stand still.
//!
//! A viewer that gives no window makes no socket block: the bytes of its responses lie in the
//! queue of their stream. So every piece that is handed to the connection is counted until the
//! connection has let go of it. A stream that waits for an origin is owed nothing. How fast a viewer
//! is, only all its streams together tell, for they share one way; a stream is blamed where it takes
//! nothing while as many bytes leave as would have been enough for each to have its turn.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_proto::ContentId;

use super::{
    clients::InFlight,
    watch::{Finding, Sending, Standing},
};
use crate::{config::Limits, events::Log};

/// The requests under way on a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    begun: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Bytes>>>,
}

/// Bytes of one response.
#[derive(Debug, Default)]
struct Bytes {
    /// Given to the connection.
    handed: AtomicU64,
    /// Let go by it.
    taken: AtomicU64,
    /// What they are of, if that may come to be withheld.
    content: OnceLock<ContentId>,
}

/// One request, open until its response has left in full or was given up.
#[derive(Debug)]
pub(super) struct Stream {
    number: u64,
    bytes: Arc<Bytes>,
    of: Arc<Streams>,
    _in_flight: Option<InFlight>,
}

impl Streams {
    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, in_flight: Option<InFlight>) -> Arc<Stream> {
        let number = self.begun.fetch_add(1, Relaxed);
        let bytes = Arc::<Bytes>::default();
        self.open.lock().insert(number, Arc::clone(&bytes));
        Arc::new(Stream { number, bytes, of: Arc::clone(self), _in_flight: in_flight })
    }

    /// Requests under way.
    pub(super) fn open(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether any is owed bytes of what is withheld by now, as far as is known.
    pub(super) fn owe_withheld(&self, log: &Log) -> bool {
        self.open.lock().values().any(|bytes| {
            bytes.handed.load(SeqCst) > bytes.taken.load(Relaxed)
                && bytes.content.get().is_some_and(|content| log.withholds(content))
        })
    }
}

impl Stream {
    /// Notes what the response is of, before any of it is handed over.
    pub(super) fn sends(&self, content: ContentId) {
        let _is_first = self.bytes.content.set(content).is_ok();
    }

    /// Notes bytes before it is looked whether they are withheld: so that, whenever something is
    /// blocked, either that look finds it or [`Streams::owe_withheld`] finds the bytes.
    pub(super) fn handed(&self, bytes: usize) {
        self.bytes.handed.fetch_add(bytes as u64, SeqCst);
    }

    pub(super) fn taken(&self, bytes: usize) {
        self.bytes.taken.fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.of.open.lock().remove(&self.number);
    }
}

/// Looks at a connection from time to time and finds what has overstayed.
#[derive(Debug)]
pub(super) struct Watcher {
    begun: u64,
    /// Since when there is no request.
    since: Instant,
    /// The frame that the viewer is in the midst of, and since when.
    frame: (u64, Instant),
    sending: Sending,
    owed: HashMap<u64, Owed>,
    /// When the viewer was asked to go.
    closing: Option<Instant>,
}

/// A stream that is owed bytes, as it was when that was seen first, or when it last had taken some.
#[derive(Debug, Clone, Copy)]
struct Owed {
    since: Instant,
    bytes: u64,
    taken: u64,
    /// Bytes sent on the whole connection by then.
    written: u64,
}

/// How many times the time of a slow response others may go on beside it.
const PATIENCE: u32 = 3;

/// The most bytes of one stream that are sent before the next has its turn: a piece is no longer, so
/// that no stream claims more of a window that all share.
pub(super) const TURN: usize = 64 << 10;

/// What a stream that has had its turn has taken at least, if it was owed that: a frame of the size
/// that viewers must accept (RFC 9113 §4.2).
const LEAST: u64 = 16 << 10;

impl Watcher {
    /// Looks for the first time.
    pub(super) fn new(now: Instant) -> Self {
        let (sending, owed) = (Sending::default(), HashMap::new());
        Self { begun: 0, since: now, frame: (0, now), sending, owed, closing: None }
    }

    /// Looks again.
    pub(super) fn look(
        &mut self,
        at: &Standing,
        streams: &Streams,
        limits: &Limits,
        now: Instant,
    ) -> Finding {
        let begun = streams.begun.load(Relaxed);
        let open = streams.open();
        if open > 0 || begun != self.begun {
            (self.begun, self.since) = (begun, now);
        }
        if self.is_stuck_in_a_frame(at, limits, now) {
            return Finding::Cut;
        }
        let stuck = self.stuck(at, streams, limits, now);
        let is_slow = self.is_slow(at, limits, now);
        match at.is_blocked() {
            true if is_slow => return Finding::Cut,
            true if open == 0 => return Finding::Fine,
            false if open == 0 => return self.look_at_rest(limits, now),
            _ => {}
        }
        // Slow though the socket takes bytes: no stream that is owed some has a window.
        let stuck = if is_slow { self.owed.len() } else { stuck };
        let slow = limits.send_timeout.duration();
        match self.closing {
            None if stuck == 0 => Finding::Fine,
            None => {
                self.closing = Some(now);
                Finding::Close
            }
            Some(asked) if stuck == open && now - asked >= slow => Finding::Cut,
            Some(asked) if stuck > 0 && now - asked >= PATIENCE * slow => Finding::Cut,
            Some(_) => Finding::Fine,
        }
    }

    fn look_at_rest(&mut self, limits: &Limits, now: Instant) -> Finding {
        if now - self.since < limits.idle_timeout.duration() {
            return Finding::Fine;
        }
        let asked = *self.closing.get_or_insert(now);
        if now - asked >= limits.head_timeout.duration() { Finding::Cut } else { Finding::Close }
    }

    /// Whether the viewer has begun a frame or a header block and does not end it. While the socket
    /// is full nothing is read, so that it may have.
    fn is_stuck_in_a_frame(&mut self, at: &Standing, limits: &Limits, now: Instant) -> bool {
        let frame = at.frame();
        if frame == 0 || at.is_blocked() || frame != self.frame.0 {
            self.frame = (frame, now);
        }
        now - self.frame.1 >= limits.head_timeout.duration() && frame != 0
    }

    /// Whether the viewer takes less than the least of what it is owed, over all streams.
    fn is_slow(&mut self, at: &Standing, limits: &Limits, now: Instant) -> bool {
        if self.owed.is_empty() && !at.is_blocked() {
            self.sending = Sending::default();
        }
        (at.is_blocked() || !self.owed.is_empty())
            && self.sending.look(at, limits, now) == Finding::Cut
    }

    /// How many streams are owed bytes and took none when it was their turn.
    fn stuck(&mut self, at: &Standing, streams: &Streams, limits: &Limits, now: Instant) -> usize {
        let (before, written) = (std::mem::take(&mut self.owed), at.written());
        let open = streams.open.lock();
        let all_turns = (TURN as u64).saturating_mul(open.len() as u64);
        let mut stuck = 0;
        for (number, bytes) in &*open {
            let taken = bytes.taken.load(Relaxed);
            let bytes = bytes.handed.load(Relaxed).saturating_sub(taken);
            if bytes == 0 {
                continue;
            }
            let seen = Owed { since: now, bytes, taken, written };
            let then = before.get(number).copied().unwrap_or(seen);
            let had_its_turn = now - then.since >= limits.send_timeout.duration()
                && written - then.written >= all_turns;
            let took_some = taken - then.taken >= then.bytes.min(LEAST);
            stuck += usize::from(had_its_turn && !took_some);
            self.owed.insert(*number, if had_its_turn && took_some { seen } else { then });
        }
        stuck
    }
}

#[cfg(test)]
mod tests;
