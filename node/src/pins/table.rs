//! The pins that a node keeps, and when something is to be done about which.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;
use wcdn_proto::BlobId;

/// Every pin that is kept.
#[derive(Default)]
pub(super) struct Table {
    rows: HashMap<BlobId, Row>,
    due: BTreeSet<(Instant, BlobId)>,
    over_budget: HashSet<BlobId>,
}

struct Row {
    state: State,
    due: Option<Instant>,
    /// Attempts that failed since one succeeded.
    failures: u32,
}

/// How far a pin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Until it is tried again.
    Waiting,
    /// Until one of those that are being fetched is done.
    Ready,
    /// It is being fetched.
    Filling,
    /// It is in its place.
    Held,
    /// It found no room; it would cost so many bytes.
    OverBudget(u64),
    /// It is held, but others are to hold it.
    Leaving,
}

impl Table {
    /// How far a pin is; `None` if it is not kept.
    pub(super) fn state(&self, id: &BlobId) -> Option<State> {
        self.rows.get(id).map(|row| row.state)
    }

    /// Every pin.
    pub(super) fn ids(&self) -> impl Iterator<Item = BlobId> {
        self.rows.keys().copied()
    }

    /// A pin is so far now, and something is to be done about it then.
    pub(super) fn put(&mut self, id: BlobId, state: State, due: Option<Instant>) {
        let row = self.rows.entry(id).or_insert(Row { state, due: None, failures: 0 });
        row.state = state;
        if let Some(before) = std::mem::replace(&mut row.due, due) {
            self.due.remove(&(before, id));
        }
        self.due.extend(due.map(|at| (at, id)));
        match state {
            State::OverBudget(_) => self.over_budget.insert(id),
            _ => self.over_budget.remove(&id),
        };
    }

    /// A pin is not kept any more; whether it was.
    pub(super) fn remove(&mut self, id: &BlobId) -> bool {
        let Some(row) = self.rows.remove(id) else { return false };
        if let Some(due) = row.due {
            self.due.remove(&(due, *id));
        }
        self.over_budget.remove(id);
        true
    }

    /// What is due first.
    pub(super) fn first_due(&self) -> Option<(Instant, BlobId)> {
        self.due.first().copied()
    }

    /// How many attempts failed in a row, now that another one ended, as a failure or not.
    pub(super) fn failures(&mut self, id: &BlobId, is_failure: bool) -> u32 {
        let Some(row) = self.rows.get_mut(id) else { return 0 };
        row.failures = row.failures.saturating_add(u32::from(is_failure));
        row.failures
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self, id: &BlobId) {
        if let Some(row) = self.rows.get_mut(id) {
            row.failures = 0;
        }
    }

    /// Those that found no room whose cost fits.
    pub(super) fn over_budget(&self, mut fits: impl FnMut(&u64) -> bool) -> Vec<BlobId> {
        let fitting = self.over_budget.iter().filter(|id| match self.state(id) {
            Some(State::OverBudget(cost)) => fits(&cost),
            _ => false,
        });
        fitting.copied().collect()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn state(n: u8) -> State {
        match n {
            0 => State::Waiting,
            1 => State::Ready,
            2 => State::Filling,
            3 => State::Held,
            4 => State::OverBudget(7),
            _ => State::Leaving,
        }
    }

    proptest! {
        #[test]
        fn what_is_due_and_what_found_no_room_is_what_was_put_last(
            steps in prop::collection::vec((0u8..5, 0u8..8, prop::option::of(0u64..9)), 0..60),
        ) {
            let (mut table, mut model) = (Table::default(), HashMap::new());
            let begin = Instant::now();
            for (n, what, due) in steps {
                let id = BlobId::from_bytes([n; 32]);
                let due = due.map(|seconds| begin + Duration::from_secs(seconds));
                if what < 6 {
                    table.put(id, state(what), due);
                    model.insert(id, (state(what), due));
                } else {
                    prop_assert_eq!(table.remove(&id), model.remove(&id).is_some());
                }
                let first = model.iter().filter_map(|(id, (_, due))| Some(((*due)?, *id))).min();
                prop_assert_eq!(table.first_due(), first);
                let over = model.values().filter(|(state, _)| matches!(state, State::OverBudget(_)));
                prop_assert_eq!(table.over_budget(|_| true).len(), over.count());
                prop_assert_eq!(table.ids().count(), model.len());
            }
        }
    }
}
