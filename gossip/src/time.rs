//! The clock that brains are told.

use std::time::Duration;

/// Time since some start that does not change while the process lives.
///
/// In production `CLOCK_BOOTTIME`, which goes on while a machine sleeps: a node that slept must not
/// believe that its lease is young.
pub type Time = Duration;
