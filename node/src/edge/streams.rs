//! The requests of one HTTP/2 connection, and which of them stand still.
//!
//! A viewer that gives no window makes no socket block: the bytes of its responses lie in the
//! queue of their stream. So every piece that is handed to the connection is counted until the
//! connection has let go of it. Whoever is owed bytes and takes none is slow by its own fault;
//! a stream that waits for an origin is owed nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    clients::InFlight,
    watch::{Finding, Sending, Standing},
};
use crate::config::Limits;

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
}

impl Stream {
    pub(super) fn handed(&self, bytes: usize) {
        self.bytes.handed.fetch_add(bytes as u64, Relaxed);
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
    sending: Sending,
    /// Those that are owed bytes: how many they had taken, and when that was seen.
    owed: HashMap<u64, (u64, Instant)>,
    /// When the viewer was asked to go.
    closing: Option<Instant>,
}

/// How many times the time of a slow response others may go on beside it.
const PATIENCE: u32 = 3;

impl Watcher {
    /// Looks for the first time.
    pub(super) fn new(now: Instant) -> Self {
        let (sending, owed) = (Sending::default(), HashMap::new());
        Self { begun: 0, since: now, sending, owed, closing: None }
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
        if at.is_blocked() {
            // The socket is full: nobody's turn comes, so no stream can be blamed.
            self.owed.clear();
            return self.sending.look(at, limits, now);
        }
        self.sending = Sending::default();
        if open == 0 {
            return self.look_at_rest(limits, now);
        }
        let stuck = self.stuck(streams, limits, now);
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

    /// How many responses are owed bytes and take fewer than the least, over the time that they
    /// have for it.
    fn stuck(&mut self, streams: &Streams, limits: &Limits, now: Instant) -> usize {
        let before = std::mem::take(&mut self.owed);
        let mut stuck = 0;
        for (number, bytes) in &*streams.open.lock() {
            let taken = bytes.taken.load(Relaxed);
            if bytes.handed.load(Relaxed) <= taken {
                continue;
            }
            let (then, since) = before.get(number).copied().unwrap_or((taken, now));
            let window = now - since;
            let least = u128::from(limits.min_send_rate.bytes()) * window.as_millis() / 1_000;
            if window < limits.send_timeout.duration() {
                self.owed.insert(*number, (then, since));
            } else if u128::from(taken - then) < least.max(1) {
                stuck += 1;
                self.owed.insert(*number, (then, since));
            } else {
                self.owed.insert(*number, (taken, now));
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Scene {
        standing: Standing,
        streams: Arc<Streams>,
        watcher: Watcher,
        begin: Instant,
    }

    fn scene() -> Scene {
        let begin = Instant::now();
        let (standing, streams) = (Standing::default(), Arc::<Streams>::default());
        Scene { standing, streams, watcher: Watcher::new(begin), begin }
    }

    impl Scene {
        /// Looks every second from `from` on; when something was first found other than `Fine`.
        fn first(
            &mut self,
            seconds: std::ops::Range<u32>,
            mut each: impl FnMut(),
        ) -> Option<(u32, Finding)> {
            for second in seconds {
                each();
                let now = self.begin + second * SECOND;
                let found =
                    self.watcher.look(&self.standing, &self.streams, &Limits::default(), now);
                if found != Finding::Fine {
                    return Some((second, found));
                }
            }
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_takes_is_asked_to_go_and_then_cut() {
        let mut scene = scene();
        let stream = scene.streams.begin(None);
        stream.handed(1_000_000);
        assert_eq!(scene.first(0..100, || {}), Some((30, Finding::Close)));
        assert_eq!(scene.first(31..100, || {}), Some((60, Finding::Cut)));
    }

    #[tokio::test(start_paused = true)]
    async fn others_may_finish_beside_it_but_not_for_ever() {
        let mut scene = scene();
        let (stuck, lively) = (scene.streams.begin(None), scene.streams.begin(None));
        stuck.handed(1_000_000);
        lively.handed(100_000_000);
        let take = || lively.taken(50_000);
        assert_eq!(scene.first(0..100, take), Some((30, Finding::Close)));
        assert_eq!(scene.first(31..200, take), Some((120, Finding::Cut)));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_origin_is_not_the_viewers_fault() {
        let mut scene = scene();
        let stream = scene.streams.begin(None);
        stream.handed(1_000);
        stream.taken(1_000);
        assert_eq!(scene.first(0..600, || {}), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_socket_is_no_streams_fault() {
        let mut scene = scene();
        let stream = scene.streams.begin(None);
        stream.handed(1_000_000);
        scene.standing.block();
        let standing = std::mem::take(&mut scene.standing);
        for second in 0..600 {
            standing.write(5_000);
            let now = scene.begin + second * SECOND;
            let limits = Limits::default();
            let found = scene.watcher.look(&standing, &scene.streams, &limits, now);
            assert_eq!(found, Finding::Fine);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_and_cut_if_it_does_not_go() {
        let mut scene = scene();
        drop(scene.streams.begin(None));
        assert_eq!(scene.first(0..100, || {}), Some((60, Finding::Close)));
        scene.first(61..70, || {});
        assert_eq!(scene.first(70..71, || {}), Some((70, Finding::Cut)));
    }

    #[test]
    fn a_request_is_open_until_its_last_piece_is_gone() {
        let streams = Arc::<Streams>::default();
        let stream = streams.begin(None);
        let piece = Arc::clone(&stream);
        drop(stream);
        assert_eq!(streams.open(), 1);
        drop(piece);
        assert_eq!(streams.open(), 0);
    }
}
