//! In which state an origin is, and when that changes: pure.
//!
//! ```text
//!           below 70               below 35
//!  healthy ─────────▶ degraded ─────────────▶ unhealthy
//!     ▲                 │   ▲                    │
//!     └─────────────────┘   └────────────────────┘
//!       88 and more             65 and more, each for some rounds in a row
//! ```
//!
//! Getting worse is believed at once. Getting better must last, for two rounds at first, and for twice as
//! many each time that it did not last for a day: so an origin that comes and goes changes its state a few
//! times and then stays in the worse one, whatever the rhythm in which it comes and goes.

use serde::{Deserialize, Serialize};

/// How well an origin does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Unhealthy,
    Degraded,
    #[default]
    Healthy,
}

/// What is remembered of how well it did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    level: Level,
    /// Rounds in a row in which it did better than its level.
    better_for: u32,
    /// So many are needed.
    needed: u32,
    /// When it last got worse: Unix time in milliseconds.
    worse_at_ms: u64,
    /// Whether it got better since.
    recovered: bool,
}

/// Scores below which a level is lost, and from which on it is reached again.
const DEGRADED_BELOW: u8 = 70;
const UNHEALTHY_BELOW: u8 = 35;
const DEGRADED_FROM: u8 = 65;
const HEALTHY_FROM: u8 = 88;

/// Rounds for which it must do better, and the most of them.
const FIRST_NEEDED: u32 = 2;
const MOST_NEEDED: u32 = 64;

/// Rounds after which it is forgotten that it got worse: a day, at the default interval.
const REMEMBERED_ROUNDS: u64 = 288;

impl Standing {
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Notes a round: its score, and a level that it cannot exceed whatever its score is. Rounds come
    /// each `interval_ms`.
    pub(crate) fn note(&mut self, score: u8, most: Level, now_ms: u64, interval_ms: u64) {
        let worst = match score {
            ..UNHEALTHY_BELOW => Level::Unhealthy,
            UNHEALTHY_BELOW..DEGRADED_BELOW => Level::Degraded,
            _ => Level::Healthy,
        };
        let best = match score {
            HEALTHY_FROM.. => Level::Healthy,
            DEGRADED_FROM..HEALTHY_FROM => Level::Degraded,
            _ => Level::Unhealthy,
        };
        let (worst, best) = (worst.min(most), best.min(most));
        if worst < self.level {
            let since = now_ms.saturating_sub(self.worse_at_ms);
            let is_again = since < interval_ms.saturating_mul(REMEMBERED_ROUNDS);
            self.needed = match (is_again, self.recovered) {
                (true, true) => self.needed.saturating_mul(2).min(MOST_NEEDED),
                (true, false) => self.needed,
                (false, _) => 0,
            };
            self.needed = self.needed.max(FIRST_NEEDED);
            (self.level, self.better_for) = (worst, 0);
            (self.worse_at_ms, self.recovered) = (now_ms, false);
        } else if best > self.level {
            self.better_for += 1;
            if self.better_for >= self.needed.max(FIRST_NEEDED) {
                (self.level, self.better_for, self.recovered) = (best, 0, true);
            }
        } else {
            self.better_for = 0;
        }
    }
}

impl Level {
    /// As it is told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: u64 = 300_000;

    /// The levels after each of these scores, one a round.
    fn levels(scores: impl IntoIterator<Item = u8>) -> Vec<Level> {
        let mut standing = Standing::default();
        let noted = (1..).zip(scores).map(|(round, score)| {
            standing.note(score, Level::Healthy, round * INTERVAL, INTERVAL);
            standing.level()
        });
        noted.collect()
    }

    fn changes(levels: &[Level]) -> usize {
        levels.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn worse_is_believed_at_once_and_better_once_it_lasts() {
        use Level::{Degraded, Healthy, Unhealthy};
        assert_eq!(levels([100, 60, 10]), [Healthy, Degraded, Unhealthy]);
        assert_eq!(levels([0, 100, 100, 100]), [Unhealthy, Unhealthy, Healthy, Healthy]);
        assert_eq!(levels([0, 70, 70, 80]), [Unhealthy, Unhealthy, Degraded, Degraded]);
        assert_eq!(levels([100, 71, 80, 71]), [Healthy; 4], "between the two nothing changes");
    }

    #[test]
    fn what_it_cannot_exceed_holds_whatever_the_score() {
        let mut standing = Standing::default();
        standing.note(100, Level::Degraded, 1, INTERVAL);
        assert_eq!(standing.level(), Level::Degraded);
    }

    #[test]
    fn a_day_of_calm_is_forgiven() {
        let day = vec![100; 290];
        let scores = [vec![0, 100, 100, 0, 100, 100, 100, 100], day, vec![0, 100, 100]].concat();
        let levels = levels(scores);
        assert_eq!(levels[5..8], [Level::Unhealthy, Level::Unhealthy, Level::Healthy]);
        assert_eq!(levels[levels.len() - 2..], [Level::Unhealthy, Level::Healthy]);
    }

    proptest! {
        #[test]
        fn however_it_flaps_its_state_changes_a_few_times_only(
            bad in 1_usize..40,
            good in 1_usize..40,
        ) {
            let rhythm = std::iter::repeat_n(0, bad).chain(std::iter::repeat_n(100, good));
            let rhythm: Vec<u8> = rhythm.collect();
            let day = rhythm.into_iter().cycle().take(288);
            prop_assert!(changes(&levels(day)) <= 14);
        }

        #[test]
        fn noise_around_a_bound_changes_nothing_more_than_once(
            scores in prop::collection::vec(66_u8..88, 1..300),
        ) {
            prop_assert!(changes(&[vec![Level::Healthy], levels(scores)].concat()) <= 1);
        }
    }
}
