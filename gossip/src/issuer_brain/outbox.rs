//! What was published lately, and to be sent.

use std::collections::VecDeque;

use bytes::Bytes;
use wcdn_proto::Position;

use crate::{
    message::{Message, pushes},
    ranges::SeqRange,
    ring::Ring,
    time::Time,
};

/// The most frames that are sent again by timers; whoever lacks older ones is reminded.
const MAX_SENT: usize = 16_384;

/// A frame that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) epoch: u64,
    pub(super) range: SeqRange,
    pub(super) at: Time,
}

/// Frames of one epoch in the order of their publication, numbered so that each node needs only to
/// remember numbers.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    fresh: VecDeque<(u64, SeqRange)>,
    sent: VecDeque<Sent>,
    /// The number of the first in `sent`.
    base: u64,
}

impl Outbox {
    /// Adds a frame that is to be sent; the oldest makes room if there are too many, and is then
    /// learned of by reminders.
    pub(super) fn publish(&mut self, epoch: u64, range: SeqRange, most: usize) {
        if self.fresh.len() >= most {
            self.fresh.pop_front();
        }
        self.fresh.push_back((epoch, range));
    }

    /// Forgets everything, since there is a new epoch.
    pub(super) fn clear(&mut self) {
        self.base = self.end();
        self.sent.clear();
        self.fresh.clear();
    }

    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// One datagram of frames that were not sent yet, which are sent now.
    pub(super) fn take(&mut self, ring: &Ring, now: Time) -> Option<Message> {
        let mut frames: Vec<&Bytes> = Vec::new();
        while let Some(&(epoch, range)) = self.fresh.front() {
            if let Some(frame) = ring.frame(Position { epoch, seq: range.first }) {
                frames.push(frame);
                if pushes(frames.iter().copied()).len() > 1 {
                    frames.pop();
                    break;
                }
            }
            self.fresh.pop_front();
            self.note(Sent { epoch, range, at: now });
        }
        pushes(frames).pop()
    }

    /// The number of the next frame to be sent.
    pub(super) fn end(&self) -> u64 {
        self.base + self.sent.len() as u64
    }

    /// The frame of a number, or the first that is remembered of a later one.
    pub(super) fn get(&self, number: u64) -> Option<(u64, &Sent)> {
        let number = number.max(self.base);
        let index = usize::try_from(number - self.base).ok()?;
        Some((number, self.sent.get(index)?))
    }

    fn note(&mut self, sent: Sent) {
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
            self.base += 1;
        }
        self.sent.push_back(sent);
    }
}
