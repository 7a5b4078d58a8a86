//! What is done next about one pin: pure decisions.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use wcdn_proto::{ByteSize, pb::edge::v1::Keeping};

use crate::cache::{
    Pinning,
    fill::{
        ahead::Fetched,
        error::{Exhaustion, FillError},
    },
};

/// How an attempt to fetch a pinned blob ended.
#[derive(Debug)]
pub enum Attempt {
    /// It is in its place.
    Held,
    /// Others fill the memory for what is pinned.
    OverBudget,
    /// It is to be tried again; nothing is wrong with it.
    Again(&'static str),
    /// There was no room for it at origins or here; it is to be tried again.
    Busy(String),
    /// It could not be had.
    Failed(String),
    /// Nor will it ever be.
    Hopeless(String),
}

/// How often it is tried before a failure is said to be one: blobs appear late at origins.
const PATIENT_TRIES: u32 = 3;

/// Between two attempts, if nothing is wrong or there was no room.
const SOON: Duration = Duration::from_secs(2);

/// After the first failure; three times as long after each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Until what will never be had is tried all the same: a limit may have been raised.
const HOPELESS_PAUSE: Duration = Duration::from_secs(30 * 60);

impl Attempt {
    /// Of what was fetched, offered to its place, and of what `most` bytes are held as a whole.
    pub fn new(
        fetched: &Result<Fetched, Arc<FillError>>,
        pinning: Option<Pinning>,
        most: u64,
    ) -> Self {
        match (fetched, pinning) {
            (Ok(Fetched::Large { total }), _) => {
                let (total, most) = (ByteSize::new(*total), ByteSize::new(most));
                Self::Hopeless(format!("it has {total}; up to {most} are held as a whole"))
            }
            (Ok(Fetched::Whole(..)), Some(Pinning::Held)) => Self::Held,
            (Ok(Fetched::Whole(..)), Some(Pinning::Full)) => Self::OverBudget,
            (Ok(Fetched::Whole(..)), Some(Pinning::Unchecked)) => {
                Self::Again("its bytes wait to be verified")
            }
            (Ok(Fetched::Whole(..)), _) => Self::Again("it was purged while it was fetched"),
            (Err(error), _) => Self::failed(error),
        }
    }

    fn failed(error: &FillError) -> Self {
        let why = error.to_string();
        match error {
            FillError::Shed(_)
            | FillError::Throttled { .. }
            | FillError::Exhausted { kind: Exhaustion::Busy(_), .. } => Self::Busy(why),
            FillError::Unverifiable { .. } => Self::Hopeless(why),
            FillError::Overtaken | FillError::Abandoned => Self::Again("it was purged meanwhile"),
            FillError::NotFound
            | FillError::Blocked
            | FillError::Exhausted { .. }
            | FillError::Corrupt { .. }
            | FillError::Slow { .. }
            | FillError::Withheld => Self::Failed(why),
        }
    }
}

/// What is said of a failure after so many of them in a row.
pub fn keeping(failures: u32) -> Keeping {
    if failures < PATIENT_TRIES { Keeping::Filling } else { Keeping::Failed }
}

/// How long to wait after an attempt, when so many failed in a row.
pub fn pause(attempt: &Attempt, failures: u32) -> Duration {
    let pause = match attempt {
        Attempt::Held | Attempt::OverBudget => Duration::ZERO,
        Attempt::Again(_) | Attempt::Busy(_) => SOON,
        Attempt::Failed(_) => {
            let longer = 3_u32.saturating_pow(failures.saturating_sub(1));
            FIRST_PAUSE.saturating_mul(longer).min(LONGEST_PAUSE)
        }
        Attempt::Hopeless(_) => HOPELESS_PAUSE,
    };
    jittered(pause)
}

/// Anything from half of it on, so that nodes do not do the same at the same time.
pub fn jittered(span: Duration) -> Duration {
    span.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_said_late_and_tried_less_and_less_often() {
        assert_eq!(
            [1, 2, 3, 9].map(keeping),
            [Keeping::Filling, Keeping::Filling, Keeping::Failed, Keeping::Failed]
        );
        let failed = Attempt::Failed(String::new());
        for (failures, seconds) in [(1, 1), (2, 3), (3, 9), (4, 27), (7, 300), (u32::MAX, 300)] {
            let (pause, longest) = (pause(&failed, failures), Duration::from_secs(seconds));
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
    }

    #[test]
    fn what_is_only_busy_is_no_failure_and_what_is_too_large_will_never_be_had() {
        let of = |error| Attempt::new(&Err(Arc::new(error)), None, 1 << 20);
        let tried = crate::cache::fill::error::Tried::default();
        let busy = FillError::Exhausted { tried: tried.clone(), kind: Exhaustion::Busy(None) };
        assert!(matches!(of(busy), Attempt::Busy(_)));
        let broken = FillError::Exhausted { tried, kind: Exhaustion::Broken };
        assert!(matches!(of(broken), Attempt::Failed(_)));
        let not_found = of(FillError::NotFound);
        assert!(matches!(not_found, Attempt::Failed(why) if why == "no origin has the blob"));
        let large = Attempt::new(&Ok(Fetched::Large { total: 3 << 20 }), None, 1 << 20);
        let expected = "it has 3 MiB; up to 1 MiB are held as a whole";
        assert!(matches!(large, Attempt::Hopeless(why) if why == expected));
    }
}
