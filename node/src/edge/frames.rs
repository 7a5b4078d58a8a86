//! Frames of an HTTP/2 viewer, counted as they arrive.
//!
//! The library answers every PING, SETTINGS and RST_STREAM, and forgets it: what it bounds are
//! CONTINUATION frames, empty DATA frames, header lists, refused streams, and streams reset before
//! it saw them. A viewer who begins a request and resets it, again and again, costs work at no
//! cost of its own. So every frame that is not a request or a body pays a toll here.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use wcdn_daemon::gcra::{Rate, Spent};

use super::{sniff::PREFACE, watch::Standing};

/// Frames that cost toll: what browsers and proxies send is far below.
const PER_SECOND: u32 = 50;

/// A page that is left may cancel as many requests at once as were under way, several times over.
const BURST: u32 = 500;

/// Bytes sent to a viewer that pay for one WINDOW_UPDATE or PING: both come with the bytes a
/// viewer takes, the latter where it measures how fast they arrive.
const PAYS_FOR_ONE: u64 = 64;

/// The head of a frame (RFC 9113 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: u8,
    length: u32,
    flags: u8,
}

impl Frame {
    /// Whether the next frame must go on with the same header block (RFC 9113 §6.10).
    fn is_continued(self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION) && self.flags & END_HEADERS == 0
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 0x4;

/// Finds the heads of frames in a stream of bytes, wherever it is cut.
#[derive(Debug)]
struct Scanner {
    head: [u8; 9],
    have: usize,
    /// Bytes of the preface or of a payload still to come.
    skip: usize,
    /// Whether the frame before left its header block open.
    is_continued: bool,
    /// The number of the latest frame; those of one header block share it.
    number: u64,
}

impl Scanner {
    fn new() -> Self {
        Self { head: [0; 9], have: 0, skip: PREFACE.len(), is_continued: false, number: 1 }
    }

    /// The number of the frame or header block that has begun and not ended; 0 for none.
    fn under_way(&self) -> u64 {
        let is_between = self.have == 0 && self.skip == 0 && !self.is_continued;
        if is_between { 0 } else { self.number }
    }

    fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = (self.head.len() - self.have).min(bytes.len());
            if taken == 0 {
                return;
            }
            if self.have == 0 && !self.is_continued {
                self.number += 1;
            }
            let (head, rest) = bytes.split_at(taken);
            self.head[self.have..self.have + taken].copy_from_slice(head);
            (self.have, bytes) = (self.have + taken, rest);
            if self.have < self.head.len() {
                return;
            }
            let [a, b, c, kind, flags, ..] = self.head;
            let length = u32::from_be_bytes([0, a, b, c]);
            self.have = 0;
            self.skip = usize::try_from(length).unwrap_or(usize::MAX);
            let frame = Frame { kind, length, flags };
            self.is_continued = frame.is_continued();
            found(frame);
        }
    }
}

/// What is to be done about a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Fine,
    /// Asked to go: it has sent too many.
    Unruly,
    /// Cut: it went on all the same.
    Hopeless,
}

/// What a viewer has paid.
#[derive(Debug, Default)]
struct Toll {
    spent: Spent,
    /// Frames that the bytes sent have paid for.
    paid: u64,
    /// Frames beyond what it may send.
    beyond: u32,
}

impl Toll {
    /// Notes a frame, after `written` bytes were sent to the viewer.
    fn note(&mut self, frame: Frame, written: u64, now: impl FnOnce() -> u64) -> Conduct {
        match frame.kind {
            HEADERS => return Conduct::Fine,
            DATA if frame.length > 0 => return Conduct::Fine,
            WINDOW_UPDATE | PING if self.paid < written / PAYS_FOR_ONE => {
                self.paid += 1;
                return Conduct::Fine;
            }
            _ => {}
        }
        let rate = Rate::new(PER_SECOND, BURST).expect("the rate is not 0");
        if self.spent.take(rate, now()).is_ok() {
            return Conduct::Fine;
        }
        self.beyond += 1;
        if self.beyond < BURST { Conduct::Unruly } else { Conduct::Hopeless }
    }
}

/// A stream that counts the frames read from it, notes in its [`Standing`] when they are too many
/// and which has begun and not ended, and fails when they do not end.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    scanner: Scanner,
    toll: Toll,
    standing: Arc<Standing>,
    since: Instant,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, standing: Arc<Standing>) -> Self {
        let (scanner, toll) = (Scanner::new(), Toll::default());
        Self { stream, scanner, toll, standing, since: Instant::now() }
    }

    fn note(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { scanner, toll, standing, since, .. } = self;
        let (written, mut worst) = (standing.written(), Conduct::Fine);
        let now = || u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        scanner.scan(bytes, |frame| match toll.note(frame, written, now) {
            Conduct::Fine => {}
            other => worst = other,
        });
        standing.begin(scanner.under_way());
        match worst {
            Conduct::Fine => Ok(()),
            Conduct::Unruly => {
                standing.misbehave();
                Ok(())
            }
            Conduct::Hopeless => {
                standing.misbehave();
                Err(io::Error::other("the viewer floods the connection"))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.note(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: u32) -> Frame {
        Frame { kind, length, flags: END_HEADERS }
    }

    proptest! {
        #[test]
        fn frames_are_found_wherever_the_bytes_are_cut(
            frames in prop::collection::vec((any::<u8>(), 0u32..300), 0..20),
            cuts in prop::collection::vec(1usize..40, 1..10),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, length) in &frames {
                bytes.extend_from_slice(&length.to_be_bytes()[1..]);
                bytes.extend_from_slice(&[*kind, 0, 0, 0, 0, 1]);
                bytes.extend(std::iter::repeat_n(7, usize::try_from(*length).unwrap()));
            }
            let (mut scanner, mut found) = (Scanner::new(), Vec::new());
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle().take(bytes.len()) {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                scanner.scan(now, |frame| found.push((frame.kind, frame.length)));
                rest = later;
            }
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            Scanner::new().scan(&bytes, |_| {});
        }
    }

    #[test]
    fn a_frame_or_a_header_block_is_under_way_from_its_first_byte_to_its_last() {
        let mut scanner = Scanner::new();
        let mut after = |bytes: &[u8]| {
            scanner.scan(bytes, |_| {});
            scanner.under_way()
        };
        assert_eq!((after(&PREFACE[..5]), after(&PREFACE[5..])), (1, 0));
        let head = |kind, flags| [0, 0, 2, kind, flags, 0, 0, 0, 1];
        let (settings, open, end) = (head(4, 0), head(HEADERS, 0), head(CONTINUATION, END_HEADERS));
        assert_eq!((after(&settings[..1]), after(&settings[1..]), after(b"xy")), (2, 2, 0));
        assert_eq!((after(&open), after(b"xy"), after(&end), after(b"x")), (3, 3, 3, 3));
        assert_eq!((after(b"y"), after(&settings[..4])), (0, 4));
    }

    #[test]
    fn requests_and_bodies_are_free() {
        let mut toll = Toll::default();
        for _ in 0..100_000 {
            assert_eq!(toll.note(frame(HEADERS, 50), 0, || 0), Conduct::Fine);
            assert_eq!(toll.note(frame(DATA, 1), 0, || 0), Conduct::Fine);
        }
    }

    #[test]
    fn resets_beyond_what_a_browser_sends_are_told_to_go_and_then_cut() {
        let mut toll = Toll::default();
        let mut reset = || toll.note(frame(3, 4), u64::MAX, || 0);
        assert!((0..BURST).all(|_| reset() == Conduct::Fine));
        assert!((1..BURST).all(|_| reset() == Conduct::Unruly));
        assert_eq!(reset(), Conduct::Hopeless);
    }

    #[test]
    fn a_viewer_that_takes_bytes_may_say_so_as_often_as_it_likes() {
        let mut toll = Toll::default();
        for n in 1..100_000 {
            let conduct = toll.note(frame(WINDOW_UPDATE, 4), n * 1_000, || 0);
            assert_eq!(conduct, Conduct::Fine);
        }
    }
}
