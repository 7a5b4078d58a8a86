//! The clock that leases are measured with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// Time since the machine was started, sleep included: a node that slept must not take its lease
/// for young, as with the clock that tokio's timers use.
pub(crate) fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
