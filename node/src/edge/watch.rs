//! Where a connection stands, and how long it may stand there.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

use crate::config::Limits;

/// What a connection is doing. HTTP/2 has many requests at once, which
/// [`Streams`](super::streams::Streams) counts instead of phases.
///
/// Each change gives a new number whose two low bits are the phase; a watcher that sees the same
/// number twice knows that nothing happened in between, so that no clock is read to note it. Every
/// access is relaxed: the numbers publish no other memory, and only the connection's own task
/// changes the phase of HTTP/1.1, where one that got lost would matter.
#[derive(Debug, Default)]
pub(super) struct Standing {
    step: AtomicU32,
    written: AtomicU64,
    blocked: AtomicBool,
    /// The number of the HTTP/2 frame that has begun and not ended; 0 for none.
    frame: AtomicU64,
    /// An HTTP/2 viewer sends too many frames of the wrong kind.
    unruly: AtomicBool,
}

/// The phases of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connected; not a byte has come.
    Silent = 0,
    /// In the middle of a request head.
    Head = 1,
    /// A request is being answered.
    Answering = 2,
    /// Between two requests.
    Idle = 3,
}

impl Standing {
    /// Notes that a phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        let next = (self.step.load(Relaxed) | 3).wrapping_add(1) | phase as u32;
        self.step.store(next, Relaxed);
    }

    fn phase(step: u32) -> Phase {
        match step & 3 {
            0 => Phase::Silent,
            1 => Phase::Head,
            2 => Phase::Answering,
            _ => Phase::Idle,
        }
    }

    /// Bytes sent so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Whether the viewer takes no more bytes for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Notes that the viewer is to be asked to go.
    pub(super) fn misbehave(&self) {
        self.unruly.store(true, Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_unruly(&self) -> bool {
        self.unruly.load(Relaxed)
    }

    /// Notes which frame has begun and not ended.
    pub(super) fn begin(&self, frame: u64) {
        self.frame.store(frame, Relaxed);
    }

    /// Which frame has begun and not ended; 0 for none.
    pub(super) fn frame(&self) -> u64 {
        self.frame.load(Relaxed)
    }

    pub(super) fn write(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    pub(super) fn block(&self) {
        self.blocked.store(true, Relaxed);
    }

    fn received(&self) {
        if matches!(Self::phase(self.step.load(Relaxed)), Phase::Silent | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing.
    Fine,
    /// Close it politely: it is merely idle.
    Close,
    /// Cut it: it is stuck.
    Cut,
}

/// Looks at a connection from time to time and finds what has overstayed.
#[derive(Debug)]
pub(super) struct Watcher {
    seen: u32,
    since: Instant,
    sending: Sending,
}

/// Whether a viewer that is owed bytes takes enough.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Since when it is owed some, and how many bytes had been sent by then.
    slow: Option<(Instant, u64)>,
}

impl Watcher {
    /// Looks for the first time.
    pub(super) fn new(now: Instant) -> Self {
        Self { seen: 0, since: now, sending: Sending::default() }
    }

    /// How often to look: often enough that no limit is overrun by more than a quarter.
    pub(super) fn interval(limits: &Limits) -> Duration {
        let least = [
            limits.first_byte_timeout,
            limits.head_timeout,
            limits.idle_timeout,
            limits.send_timeout,
        ]
        .into_iter()
        .min()
        .expect("the list is not empty");
        (least.duration() / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }

    /// Looks again.
    pub(super) fn look(&mut self, at: &Standing, limits: &Limits, now: Instant) -> Finding {
        let step = at.step.load(Relaxed);
        let phase = Standing::phase(step);
        if step != self.seen {
            (self.seen, self.since, self.sending) = (step, now, Sending::default());
        }
        let stood = now - self.since;
        match phase {
            Phase::Silent if stood >= limits.first_byte_timeout.duration() => Finding::Cut,
            Phase::Head if stood >= limits.head_timeout.duration() => Finding::Cut,
            // A response is sent for some time after its body has ended here.
            Phase::Answering | Phase::Idle if at.is_blocked() => self.sending.look(at, limits, now),
            Phase::Idle if stood >= limits.idle_timeout.duration() => Finding::Close,
            _ => {
                self.sending = Sending::default();
                Finding::Fine
            }
        }
    }
}

impl Sending {
    /// Looks at a viewer that is owed bytes.
    pub(super) fn look(&mut self, at: &Standing, limits: &Limits, now: Instant) -> Finding {
        let written = at.written();
        let (since, before) = *self.slow.get_or_insert((now, written));
        let window = now - since;
        if window < limits.send_timeout.duration() {
            return Finding::Fine;
        }
        self.slow = Some((now, written));
        let least = u128::from(limits.min_send_rate.bytes()) * window.as_millis() / 1_000;
        if u128::from(written - before) < least.max(1) { Finding::Cut } else { Finding::Fine }
    }
}

/// A stream that notes in a [`Standing`] what passes through it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    standing: Arc<Standing>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, standing: Arc<Standing>) -> Self {
        Self { stream, standing }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.standing.write(*bytes as u64);
                self.standing.blocked.store(false, Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.standing.block(),
        }
    }
}

impl<S> Watched<S> {
    /// TLS keeps bytes that the socket does not take yet; they are as stuck as any.
    fn flushed(&self, flushed: &Poll<io::Result<()>>) {
        match flushed {
            Poll::Ready(_) => self.standing.blocked.store(false, Relaxed),
            Poll::Pending => self.standing.block(),
        }
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.standing.received();
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushed(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.flushed(&closed);
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> (Standing, Watcher, Limits, Instant) {
        let now = Instant::now();
        (Standing::default(), Watcher::new(now), Limits::default(), now)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_cut() {
        let (standing, mut watcher, limits, now) = start();
        assert_eq!(watcher.look(&standing, &limits, now + 9 * SECOND), Finding::Fine);
        assert_eq!(watcher.look(&standing, &limits, now + 10 * SECOND), Finding::Cut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_is_cut_all_the_same() {
        let (standing, mut watcher, limits, now) = start();
        let mut found = Finding::Fine;
        for second in 0..=10 {
            standing.received();
            found = watcher.look(&standing, &limits, now + second * SECOND);
        }
        assert_eq!(found, Finding::Cut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_and_a_busy_one_kept() {
        let (standing, mut watcher, limits, now) = start();
        for second in 0..600 {
            standing.enter(Phase::Answering);
            standing.enter(Phase::Idle);
            assert_eq!(watcher.look(&standing, &limits, now + second * SECOND), Finding::Fine);
        }
        assert_eq!(watcher.look(&standing, &limits, now + 659 * SECOND), Finding::Close);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_takes_hardly_a_byte_is_cut_and_a_slow_one_is_not() {
        for (bytes_a_second, expected) in [(10, Finding::Cut), (20_000, Finding::Fine)] {
            let (standing, mut watcher, limits, now) = start();
            standing.enter(Phase::Answering);
            standing.block();
            let mut worst = Finding::Fine;
            for second in 0..120 {
                standing.write(bytes_a_second);
                if watcher.look(&standing, &limits, now + second * SECOND) == Finding::Cut {
                    worst = Finding::Cut;
                }
            }
            assert_eq!(worst, expected, "{bytes_a_second} bytes a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_origin_is_not_the_viewers_fault() {
        let (standing, mut watcher, limits, now) = start();
        standing.enter(Phase::Answering);
        assert_eq!(watcher.look(&standing, &limits, now + 300 * SECOND), Finding::Fine);
    }
}
