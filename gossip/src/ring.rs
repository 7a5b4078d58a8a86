//! The latest frames, to be given to those who missed them.

use std::collections::BTreeMap;

use bytes::Bytes;
use wcdn_proto::Position;

use crate::{
    frame::Frame,
    message::{MAX_MESSAGE, Message, pushes},
    ranges::SeqRange,
};

/// The most datagrams of one answer: 9 kB, little enough to be sent to whoever asks. Whoever lacks
/// more asks again, or reads the log.
pub(crate) const MAX_ANSWER: usize = 8;

/// How much a ring of frames holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize {
    /// Frames.
    pub frames: usize,
    /// Bytes of encoded frames.
    pub bytes: usize,
}

impl Default for RingSize {
    /// 65,536 frames and 64 MiB: 65 s at 1,000 full frames a second, far beyond the 300 ms after
    /// which a hole is mended from the log.
    fn default() -> Self {
        Self { frames: 65_536, bytes: 64 << 20 }
    }
}

/// Encoded frames of one epoch by seq; those of the lowest seq make room.
#[derive(Debug)]
pub(crate) struct Ring {
    size: RingSize,
    epoch: u64,
    /// By first seq. Frames do not overlap: each seq is in one frame, for ever.
    frames: BTreeMap<u64, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    last: u64,
    encoded: Bytes,
}

impl Ring {
    pub(crate) fn new(size: RingSize) -> Self {
        Self { size, epoch: 0, frames: BTreeMap::new(), bytes: 0 }
    }

    /// Keeps a frame; one of a higher epoch takes the place of everything.
    pub(crate) fn insert(&mut self, frame: &Frame) {
        let Position { epoch, seq } = frame.first();
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            self.frames.clear();
            (self.epoch, self.bytes) = (epoch, 0);
        }
        // A copy: the bytes given may be a slice of a larger buffer, which would be kept whole.
        let encoded = Bytes::copy_from_slice(frame.encoded());
        self.bytes += encoded.len();
        let kept = Kept { last: frame.last().seq, encoded };
        if let Some(old) = self.frames.insert(seq, kept) {
            self.bytes -= old.encoded.len();
        }
        while self.frames.len() > self.size.frames || self.bytes > self.size.bytes {
            let Some((_, gone)) = self.frames.pop_first() else { break };
            self.bytes -= gone.encoded.len();
        }
    }

    /// The last position of any frame in it.
    pub(crate) fn highest(&self) -> Position {
        let seq = self.frames.last_key_value().map_or(0, |(_, kept)| kept.last);
        Position { epoch: self.epoch, seq }
    }

    /// The frame that begins at `first`.
    pub(crate) fn frame(&self, first: Position) -> Option<&Bytes> {
        let kept = self.frames.get(&first.seq)?;
        (first.epoch == self.epoch).then_some(&kept.encoded)
    }

    /// The frames that hold any of `range`, in order.
    pub(crate) fn frames(
        &self,
        epoch: u64,
        range: SeqRange,
    ) -> impl Iterator<Item = (SeqRange, &Bytes)> {
        let below = self.frames.range(..range.first).next_back();
        let within = self.frames.range(range.first..=range.last);
        let all = below.filter(move |(_, kept)| kept.last >= range.first).into_iter().chain(within);
        all.filter(move |_| epoch == self.epoch)
            .map(|(&first, kept)| (SeqRange { first, last: kept.last }, &kept.encoded))
    }

    /// Of what somebody is missing, as much as one answer holds.
    pub(crate) fn answer(
        &self,
        epoch: u64,
        missing: impl IntoIterator<Item = SeqRange>,
    ) -> Vec<Message> {
        let mut frames: Vec<(u64, &Bytes)> = Vec::new();
        let mut bytes = 0;
        for (range, encoded) in missing.into_iter().flat_map(|hole| self.frames(epoch, hole)) {
            // Two holes may lie in one frame.
            if frames.last().is_some_and(|(first, _)| *first == range.first) {
                continue;
            }
            bytes += encoded.len();
            if bytes > MAX_ANSWER * MAX_MESSAGE {
                break;
            }
            frames.push((range.first, encoded));
        }
        let mut messages = pushes(frames.into_iter().map(|(_, encoded)| encoded));
        messages.truncate(MAX_ANSWER);
        messages
    }
}

#[cfg(test)]
mod tests {
    use wcdn_proto::Change;

    use super::*;
    use crate::frame::SigningKey;

    fn frame(epoch: u64, seq: u64, events: usize) -> Frame {
        let key = SigningKey::from_seed(&[1; 32]);
        Frame::pack(&key, Position { epoch, seq }, 0, vec![Change::Barrier; events]).remove(0)
    }

    fn held(ring: &Ring, epoch: u64, first: u64, last: u64) -> Vec<u64> {
        ring.frames(epoch, SeqRange { first, last }).map(|(range, _)| range.first).collect()
    }

    #[test]
    fn frames_are_found_by_any_of_their_seqs() {
        let mut ring = Ring::new(RingSize::default());
        for (seq, events) in [(4, 3), (1, 3), (9, 1)] {
            ring.insert(&frame(1, seq, events));
        }
        assert_eq!(held(&ring, 1, 3, 5), [1, 4]);
        assert_eq!(held(&ring, 1, 7, 8), [0; 0]);
        assert_eq!(held(&ring, 1, 1, 20), [1, 4, 9]);
        assert_eq!(held(&ring, 2, 1, 20), [0; 0]);
    }

    #[test]
    fn frames_of_the_lowest_seq_make_room() {
        let mut ring = Ring::new(RingSize { frames: 2, bytes: 1 << 20 });
        for seq in [5, 3, 7, 1] {
            ring.insert(&frame(1, seq, 1));
        }
        assert_eq!(held(&ring, 1, 1, 20), [5, 7]);
        let one = frame(1, 1, 1).encoded().len();
        let mut ring = Ring::new(RingSize { frames: 100, bytes: 3 * one });
        for seq in [1, 2, 2, 3, 4] {
            ring.insert(&frame(1, seq, 1));
        }
        assert_eq!(held(&ring, 1, 1, 20), [2, 3, 4]);
    }

    #[test]
    fn a_higher_epoch_takes_the_place_of_everything_and_a_lower_one_none() {
        let mut ring = Ring::new(RingSize::default());
        for (epoch, seq) in [(1, 8), (2, 3), (1, 9)] {
            ring.insert(&frame(epoch, seq, 1));
        }
        assert_eq!(held(&ring, 2, 1, 20), [3]);
        assert_eq!(held(&ring, 1, 1, 20), [0; 0]);
        assert!(ring.frame(Position { epoch: 2, seq: 3 }).is_some());
    }
}
