//! A position in the event log.

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
