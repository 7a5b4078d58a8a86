//! A position in the event log.

use crate::pb::event::v1 as event;

/// How far a node has applied the event log: the epoch of the log, then the event's number in it.
///
/// An epoch begins whenever a log is created, restored or promoted with possible loss; positions
/// of a lower epoch prove nothing about a higher one. [`Position::ORIGIN`] is before every event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which log: larger is newer.
    pub epoch: u64,
    /// Which event of it: gapless, from 1.
    pub seq: u64,
}

impl Position {
    /// Before the first event of the first log.
    pub const ORIGIN: Self = Self { epoch: 0, seq: 0 };
}

impl From<Position> for event::Position {
    fn from(Position { epoch, seq }: Position) -> Self {
        Self { epoch, seq }
    }
}

impl From<event::Position> for Position {
    fn from(event::Position { epoch, seq }: event::Position) -> Self {
        Self { epoch, seq }
    }
}

/// One that was not sent is before everything.
impl From<Option<event::Position>> for Position {
    fn from(wire: Option<event::Position>) -> Self {
        wire.map_or(Self::ORIGIN, Self::from)
    }
}
