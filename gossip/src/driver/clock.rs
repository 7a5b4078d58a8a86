//! The clock that leases are measured with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// The Unix time, in nanoseconds, at which [`now`] was zero, as far as the wall clock is right.
pub(crate) fn origin_ns() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.saturating_sub(now()).as_nanos()).unwrap_or(u64::MAX)
}
