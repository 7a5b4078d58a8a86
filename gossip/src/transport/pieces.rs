//! Messages longer than a datagram, cut into pieces and put together again.
//!
//! ```text
//!  byte  0..4   number of the message, big-endian: of this sender's start
//!        4      which piece, from 0
//!        5      of how many, 1 to 58
//!        6..    its bytes
//! ```
//!
//! A message whose pieces do not all come is lost as a whole, as with IP fragments; but these have
//! ports, so that firewalls let them through, and each is sealed.

use std::{borrow::Cow, collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::seal::{BootId, MAX_PAYLOAD, Rejection};

/// The longest message: what fits a UDP datagram, which is what chitchat makes at most.
pub(crate) const MAX_MESSAGE: usize = 65_507;

const HEADER: usize = 6;
const PIECE: usize = MAX_PAYLOAD - HEADER;
const MAX_PIECES: usize = MAX_MESSAGE.div_ceil(PIECE);

/// Messages of one sender that may lack pieces at a time: an answer and a question.
const MAX_OF_SENDER: usize = 2;

/// Messages in all that may lack pieces at a time: 4 MiB.
const MAX_INCOMPLETE: usize = 64;

/// How long pieces are kept. They leave their sender at once, one after another.
const PATIENCE: Duration = Duration::from_secs(1);

/// Messages that lack pieces, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    incomplete: VecDeque<Incomplete>,
}

#[derive(Debug)]
struct Incomplete {
    sender: BootId,
    message: u32,
    began: Instant,
    pieces: Vec<Option<Box<[u8]>>>,
}

/// The pieces of a message.
///
/// # Panics
/// If it is longer than [`MAX_MESSAGE`].
pub(crate) fn cut(message: u32, bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let count = u8::try_from(bytes.len().div_ceil(PIECE).max(1)).expect("a message fits");
    (0..count).map(move |at| {
        let from = usize::from(at) * PIECE;
        let part = &bytes[from..bytes.len().min(from + PIECE)];
        [&message.to_be_bytes(), &[at, count][..], part].concat()
    })
}

impl Reassembly {
    /// Takes a piece that `sender` sealed. The message, once it is whole.
    pub(crate) fn add<'a>(
        &mut self,
        sender: BootId,
        piece: &'a [u8],
        now: Instant,
    ) -> Result<Option<Cow<'a, [u8]>>, Rejection> {
        let (header, bytes) = piece.split_at_checked(HEADER).ok_or(Rejection::Malformed)?;
        let message = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let (at, count) = (usize::from(header[4]), usize::from(header[5]));
        if at >= count || count > MAX_PIECES || bytes.len() > PIECE {
            return Err(Rejection::Malformed);
        }
        if count == 1 {
            return Ok(Some(bytes.into()));
        }
        self.forget(now);
        let found = self.place(sender, message, count, now);
        let incomplete = &mut self.incomplete[found];
        // A sender that says different counts for one message, or one piece twice, gains nothing.
        *incomplete.pieces.get_mut(at).ok_or(Rejection::Malformed)? = Some(bytes.into());
        if incomplete.pieces.iter().any(Option::is_none) {
            return Ok(None);
        }
        let whole = self.incomplete.remove(found).expect("it was found there").pieces;
        let whole: Vec<u8> = whole.into_iter().flatten().flatten().collect();
        if whole.len() > MAX_MESSAGE {
            return Err(Rejection::Malformed);
        }
        Ok(Some(whole.into()))
    }

    /// Forgets messages whose pieces should have come.
    fn forget(&mut self, now: Instant) {
        let is_late = |oldest: &Incomplete| now.duration_since(oldest.began) >= PATIENCE;
        while self.incomplete.front().is_some_and(is_late) {
            self.incomplete.pop_front();
        }
    }

    /// Where the message is; a new one takes the place of an older one if there are too many.
    fn place(&mut self, sender: BootId, message: u32, count: usize, now: Instant) -> usize {
        let same = |known: &Incomplete| known.sender == sender && known.message == message;
        if let Some(found) = self.incomplete.iter().position(same) {
            return found;
        }
        let of_sender = self.incomplete.iter().filter(|known| known.sender == sender);
        if of_sender.count() >= MAX_OF_SENDER {
            let oldest = self.incomplete.iter().position(|known| known.sender == sender);
            self.incomplete.remove(oldest.expect("it has some"));
        } else if self.incomplete.len() >= MAX_INCOMPLETE {
            self.incomplete.pop_front();
        }
        let pieces = vec![None; count];
        self.incomplete.push_back(Incomplete { sender, message, began: now, pieces });
        self.incomplete.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn a_message_is_whole_again_in_whatever_order_its_pieces_come(
            length in 0..=MAX_MESSAGE,
            seed: [u8; 16],
        ) {
            let bytes = long(length);
            let mut pieces: Vec<_> = cut(7, &bytes).collect();
            pieces.sort_by_key(|piece| seed[usize::from(piece[4]) % 16].wrapping_mul(piece[4]));
            let mut reassembly = Reassembly::default();
            let now = Instant::now();
            let last = pieces.pop().unwrap();
            prop_assert!(last.len() <= MAX_PAYLOAD);
            for piece in pieces.iter().chain(&pieces) {
                prop_assert!(piece.len() <= MAX_PAYLOAD);
                prop_assert_eq!(reassembly.add([1; 16], piece, now).unwrap(), None);
            }
            prop_assert_eq!(reassembly.add([1; 16], &last, now).unwrap().unwrap(), bytes);
            prop_assert!(reassembly.incomplete.is_empty());
        }

        #[test]
        fn any_pieces_are_held_within_bounds(
            pieces in proptest::collection::vec(
                (0..90_u8, 0..3_u8, 0..4_u8, 0..70_u8, 0..1_300_usize, 0..400_u64),
                0..300,
            ),
        ) {
            let mut reassembly = Reassembly::default();
            let mut now = Instant::now();
            for (sender, message, at, count, length, later) in pieces {
                now += Duration::from_millis(later);
                let piece = [&[0, 0, 0, message, at, count][..], &long(length)].concat();
                if let Ok(Some(whole)) = reassembly.add([sender; 16], &piece, now) {
                    prop_assert!(whole.len() <= MAX_MESSAGE);
                }
                prop_assert!(reassembly.incomplete.len() <= MAX_INCOMPLETE);
                for known in &reassembly.incomplete {
                    let of_sender = |other: &&Incomplete| other.sender == known.sender;
                    prop_assert!(reassembly.incomplete.iter().filter(of_sender).count() <= 2);
                }
            }
        }

        #[test]
        fn any_bytes_are_a_piece_or_refused(bytes: Vec<u8>) {
            let mut reassembly = Reassembly::default();
            if let Ok(None) = reassembly.add([1; 16], &bytes, Instant::now()) {
                prop_assert_eq!(reassembly.incomplete.len(), 1);
            }
        }
    }

    #[test]
    fn pieces_that_came_too_long_ago_are_forgotten() {
        let bytes = long(3_000);
        let pieces: Vec<_> = cut(1, &bytes).collect();
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        reassembly.add([1; 16], &pieces[0], now).unwrap();
        reassembly.add([1; 16], &pieces[1], now).unwrap();
        assert_eq!(reassembly.add([1; 16], &pieces[2], now + PATIENCE).unwrap(), None);
        assert_eq!(reassembly.incomplete.len(), 1);
    }
}
