//! How far the log is known here, which tells how new bytes are that are fetched now.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Release},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use wcdn_proto::Position;

/// Places in the log, and how long ago it was made sure that there is none beyond.
#[derive(Debug)]
pub struct Positions {
    /// The highest place that a signature vouches for: what has one up to here was committed before.
    known: Mutex<Position>,
    /// The highest place up to which everything is true here.
    applied: watch::Sender<Position>,
    /// Where the log ended when it was first asked, if it was.
    first_head: Mutex<Option<Position>>,
    has_caught_up: AtomicBool,
    /// The highest place where the log is said to end.
    head: watch::Sender<Position>,
    /// When the head was confirmed, in milliseconds of the clock below, and one more; 0 for never.
    confirmed: AtomicU64,
}

impl Positions {
    /// Begins at what is true already. Without a log to follow there is nothing to catch up with.
    pub fn new(applied: Position, follows: bool) -> Self {
        Self {
            known: Mutex::new(applied),
            applied: watch::Sender::new(applied),
            first_head: Mutex::default(),
            has_caught_up: AtomicBool::new(!follows),
            head: watch::Sender::new(applied),
            confirmed: AtomicU64::new(0),
        }
    }

    /// The token of bytes whose fetch from an origin begins now.
    pub fn known(&self) -> Position {
        *self.known.lock()
    }

    /// Everything up to here is true here.
    pub fn applied(&self) -> Position {
        *self.applied.borrow()
    }

    /// Where [`Self::applied`] can be waited for.
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.applied.subscribe()
    }

    /// A signature vouches for this place: one of a frame, or of a lease.
    pub fn hear(&self, position: Position) {
        let mut known = self.known.lock();
        *known = position.max(*known);
    }

    /// Everything up to here is true here. Called after it is.
    pub fn advance(&self, position: Position) {
        self.hear(position);
        self.applied.send_if_modified(|applied| {
            let is_later = position > *applied;
            *applied = position.max(*applied);
            is_later
        });
        self.catch_up();
    }

    /// The log ended here, a moment ago. The end of an older log than is followed means nothing.
    pub fn head(&self, head: Position) {
        if head.epoch < self.applied().epoch {
            return;
        }
        let mut first = self.first_head.lock();
        if first.is_none_or(|first| first.epoch < head.epoch) {
            *first = Some(head);
        }
        drop(first);
        self.head.send_if_modified(|known| {
            let is_later = head > *known;
            *known = head.max(*known);
            is_later
        });
        self.catch_up();
    }

    /// Where it can be waited for that the log is said to end further on: whoever reads it has reason
    /// to, then. Nothing vouches for it but the session.
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    fn catch_up(&self) {
        let head = *self.first_head.lock();
        if head.is_some_and(|head| self.applied() >= head) {
            self.has_caught_up.store(true, Release);
        }
    }

    /// Whether everything was true here once that the log held then: before, what other nodes keep
    /// cannot be told to be removed.
    pub fn has_caught_up(&self) -> bool {
        self.has_caught_up.load(Acquire)
    }

    /// A poll that was sent `at`, by [`since_boot`], was answered with a head which is true here by now.
    /// A time, not an age: however late the word comes, the lease begins when it was asked for.
    pub fn confirm_at(&self, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.confirmed.fetch_max(at.saturating_add(1), Release);
    }

    /// How long ago the head was confirmed.
    pub fn confirmed_ago(&self) -> Option<Duration> {
        let at = self.confirmed.load(Acquire).checked_sub(1)?;
        Some(since_boot().saturating_sub(Duration::from_millis(at)))
    }
}

/// A clock that runs on while the machine sleeps, and that nobody sets; the event plane reads the same.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn places_only_rise_and_what_is_applied_is_known() {
        let positions = Positions::new(at(1, 5), true);
        positions.hear(at(1, 9));
        positions.advance(at(1, 7));
        positions.advance(at(1, 6));
        assert_eq!((positions.applied(), positions.known()), (at(1, 7), at(1, 9)));
        positions.advance(at(2, 1));
        positions.hear(at(1, 50));
        assert_eq!((positions.applied(), positions.known()), (at(2, 1), at(2, 1)));
    }

    #[test]
    fn catching_up_means_the_first_head_that_was_heard_and_lasts() {
        let positions = Positions::new(at(1, 5), true);
        assert!(!positions.has_caught_up());
        positions.head(at(1, 8));
        positions.head(at(1, 20));
        positions.advance(at(1, 7));
        assert!(!positions.has_caught_up());
        positions.advance(at(1, 8));
        positions.head(at(2, 3));
        assert!(positions.has_caught_up());
        let newer = Positions::new(at(3, 5), true);
        newer.head(at(2, 3));
        assert!(!newer.has_caught_up(), "the head of an older log says nothing of this one");
        assert!(Positions::new(Position::ORIGIN, false).has_caught_up(), "there is no log");
    }

    #[test]
    fn a_node_is_confirmed_by_when_it_asked() {
        let positions = Positions::new(at(1, 5), true);
        assert_eq!(positions.confirmed_ago(), None);
        let now = since_boot();
        positions.confirm_at(now.saturating_sub(Duration::from_millis(300)));
        let ago = positions.confirmed_ago().unwrap();
        assert!(ago >= Duration::from_millis(299) && ago < Duration::from_secs(60), "{ago:?}");
        positions.confirm_at(now.saturating_sub(Duration::from_secs(30)));
        assert!(positions.confirmed_ago().unwrap() < Duration::from_secs(20), "the latest counts");
    }
}
