//! When the log grew, so that it is known since when a node lacks what it lacks.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use wcdn_proto::Position;

/// Commits that are closer than this count as the later one: nodes are never said to lack anything
/// earlier than they do.
const STEP: Duration = Duration::from_millis(10);

/// Steps that are remembered: eleven minutes of a log that never rests, longer than any lease.
const MOST: usize = 65_536;

/// The ends that the log had, and when.
#[derive(Debug)]
pub(super) struct Heads {
    last: Position,
    /// Everything up to here is older than the first step, and was committed by then.
    base: (Position, Instant),
    /// In order. Each has when its step began, its last event, and when that was committed.
    steps: VecDeque<(Instant, Position, Instant)>,
}

impl Heads {
    pub(super) fn new(head: Position, now: Instant) -> Self {
        Self { last: head, base: (head, now), steps: VecDeque::new() }
    }

    /// The last event.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// The log ends here since then.
    pub(super) fn grow(&mut self, head: Position, since: Instant) {
        if head <= self.last {
            return;
        }
        self.last = head;
        match self.steps.back_mut() {
            Some((began, last, at)) if since.saturating_duration_since(*began) < STEP => {
                (*last, *at) = (head, since.max(*at));
            }
            _ => self.steps.push_back((since, head, since)),
        }
        if self.steps.len() > MOST {
            self.base = self.steps.pop_front().map_or(self.base, |(_, last, at)| (last, at));
        }
    }

    /// When the first event was committed that is not among those up to `applied`; none at the head.
    pub(super) fn lacked_since(&self, applied: Position) -> Option<Instant> {
        if applied >= self.last {
            return None;
        }
        let (base, began) = self.base;
        if applied < base {
            return Some(began);
        }
        let next = self.steps.partition_point(|(_, last, _)| *last <= applied);
        Some(self.steps.get(next).map_or(began, |(_, _, at)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    #[tokio::test]
    async fn what_a_node_lacks_first_tells_since_when_it_lacks_anything() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut heads = Heads::new(at(5), began);
        assert_eq!(heads.lacked_since(at(5)), None);
        assert_eq!(heads.lacked_since(at(4)), Some(began));
        heads.grow(at(6), after(100));
        heads.grow(at(7), after(105));
        heads.grow(at(9), after(200));
        heads.grow(at(9), after(300));
        assert_eq!(heads.lacked_since(at(5)), Some(after(105)), "never earlier than it was");
        assert_eq!(heads.lacked_since(at(7)), Some(after(200)));
        assert_eq!(heads.lacked_since(at(9)), None);
    }

    #[tokio::test]
    async fn a_log_that_grows_without_end_is_remembered_up_to_a_bound() {
        let began = Instant::now();
        let mut heads = Heads::new(at(0), began);
        let steps = MOST as u64 + 10;
        for seq in 1..=steps {
            heads.grow(at(seq), began + STEP * u32::try_from(seq).unwrap());
        }
        assert_eq!(heads.steps.len(), MOST);
        assert_eq!(heads.lacked_since(at(3)), Some(began + STEP * 10));
        assert_eq!(heads.lacked_since(at(10)), Some(began + STEP * 11));
    }
}
