//! Domain types as they travel.

use wcdn_proto::{Position, pb::event::v1 as event};

/// A position, to be sent.
pub(crate) fn position(position: Position) -> event::Position {
    event::Position { epoch: position.epoch, seq: position.seq }
}

/// A position that was sent; none is before everything.
pub(crate) fn read_position(wire: Option<event::Position>) -> Position {
    wire.map_or(Position::ORIGIN, |wire| Position { epoch: wire.epoch, seq: wire.seq })
}
