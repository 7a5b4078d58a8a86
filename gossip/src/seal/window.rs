//! Which of a sender's last counters were used.

/// Counters that are remembered; reordering beyond them looks like a replay.
const SIZE: u64 = 1_024;

const WORDS: usize = (SIZE / 64) as usize;

/// The highest counter seen, and a bit for each of the [`SIZE`] that end with it.
#[derive(Debug)]
pub(crate) struct Window {
    highest: u64,
    /// The bit of a counter is at its remainder.
    seen: [u64; WORDS],
}

impl Window {
    /// Of a sender whose first datagram had this counter.
    pub(crate) fn beginning_with(counter: u64) -> Self {
        let mut window = Self { highest: counter, seen: [0; WORDS] };
        window.mark(counter);
        window
    }

    /// Whether the counter was noted, or is too old to tell.
    pub(crate) fn has(&self, counter: u64) -> bool {
        if counter > self.highest {
            return false;
        }
        let (word, bit) = place(counter);
        self.highest - counter >= SIZE || self.seen[word] & bit != 0
    }

    /// Notes a counter for which [`Window::has`] is false.
    pub(crate) fn note(&mut self, counter: u64) {
        if counter > self.highest {
            let passed = (counter - self.highest).min(SIZE);
            for gone in counter - (passed - 1)..=counter {
                let (word, bit) = place(gone);
                self.seen[word] &= !bit;
            }
            self.highest = counter;
        }
        self.mark(counter);
    }

    fn mark(&mut self, counter: u64) {
        let (word, bit) = place(counter);
        self.seen[word] |= bit;
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % SIZE;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_counter_is_taken_once_and_never_when_it_is_too_old(
            first: u32,
            steps in proptest::collection::vec(-1_500_i64..1_500, 1..200),
        ) {
            let mut at = u64::from(first);
            let mut window = Window::beginning_with(at);
            let mut taken = HashSet::from([at]);
            let mut highest = at;
            for step in steps {
                at = at.saturating_add_signed(step);
                let is_old = highest.saturating_sub(at) >= SIZE;
                prop_assert_eq!(window.has(at), is_old || taken.contains(&at));
                if !window.has(at) {
                    window.note(at);
                    taken.insert(at);
                    highest = highest.max(at);
                    prop_assert!(window.has(at));
                }
            }
        }
    }

    #[test]
    fn the_last_counter_of_all_is_taken() {
        let mut window = Window::beginning_with(0);
        window.note(u64::MAX);
        assert!(window.has(u64::MAX) && window.has(0) && !window.has(u64::MAX - 1));
    }
}
