use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Ids of few slots, and several in each.
fn id(n: u8) -> BlobId {
    let mut bytes = [0; 32];
    bytes[0] = n % 5;
    bytes[31] = n;
    BlobId::from_bytes(bytes)
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

#[derive(Debug, Clone)]
enum Step {
    Remove(Vec<u8>, u64, u64),
    RemoveAll(u64, u64),
    Travel,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (1u64..4, 1u64..60);
    prop_oneof![
        12 => (prop::collection::vec(0u8..30, 1..4), place())
            .prop_map(|(ids, (epoch, seq))| Step::Remove(ids, epoch, seq)),
        2 => place().prop_map(|(epoch, seq)| Step::RemoveAll(epoch, seq)),
        1 => Just(Step::Travel),
    ]
}

/// What a table without bounds would say.
#[derive(Default)]
struct Model {
    epoch: u64,
    floor: u64,
    removed: HashMap<BlobId, u64>,
}

impl Model {
    fn enter(&mut self, epoch: u64) -> bool {
        if epoch > self.epoch {
            *self = Self { epoch, ..Self::default() };
        }
        epoch == self.epoch
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Remove(ids, epoch, seq) if self.enter(*epoch) => {
                for n in ids {
                    let known = self.removed.entry(id(*n)).or_default();
                    *known = (*known).max(*seq);
                }
            }
            Step::RemoveAll(epoch, seq) if self.enter(*epoch) => self.floor = self.floor.max(*seq),
            _ => {}
        }
    }

    fn covers(&self, id: &BlobId, token: Position) -> bool {
        let removed = self.removed.get(id).copied().unwrap_or_default().max(self.floor);
        token < at(self.epoch, removed)
    }
}

fn apply(removed: Removed, step: &Step) -> Removed {
    match step {
        Step::Remove(ids, epoch, seq) => {
            let ids: Vec<_> = ids.iter().map(|n| id(*n)).collect();
            removed.remove(&ids, at(*epoch, *seq));
        }
        Step::RemoveAll(epoch, seq) => removed.remove_all(at(*epoch, *seq)),
        Step::Travel => {
            let other = Removed::default();
            assert!(other.merge(&removed.export()));
            assert_eq!(other.export(), removed.export());
            return other;
        }
    }
    removed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_was_removed_is_never_valid_and_what_was_not_is_as_long_as_it_is_recent(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut removed, mut model) = (Removed::default(), Model::default());
        let mut has_travelled = false;
        for step in steps {
            removed = apply(removed, &step);
            model.apply(&step);
            has_travelled |= matches!(step, Step::Travel);
            prop_assert_eq!(removed.epoch(), model.epoch);
            for n in 0..30 {
                for token in [at(0, 9), at(1, 0), at(1, 20), at(2, 20), at(2, 59), at(3, 7), at(4, 0)] {
                    let (says, is) = (removed.covers(&id(n), token), model.covers(&id(n), token));
                    prop_assert!(says || !is, "{n} of {token:?} is removed");
                    prop_assert!(has_travelled || says == is, "{n} of {token:?} is not removed");
                }
            }
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter(
        steps in prop::collection::vec(step(), 1..12),
        order in any::<prop::sample::Index>(),
    ) {
        let of_one_epoch = |step: &Step| match step {
            Step::Remove(ids, _, seq) => Step::Remove(ids.clone(), 1, *seq),
            Step::RemoveAll(_, seq) => Step::RemoveAll(1, *seq),
            Step::Travel => Step::Remove(vec![0], 1, 1),
        };
        let steps: Vec<_> = steps.iter().map(of_one_epoch).collect();
        let mut turned = steps.clone();
        turned.rotate_left(order.index(steps.len()));
        turned.extend(steps.clone());
        let one = steps.iter().fold(Removed::default(), apply);
        let other = turned.iter().fold(Removed::default(), apply);
        prop_assert_eq!(one.export(), other.export());
    }
}

#[test]
fn a_purge_of_more_than_is_known_by_id_still_removes_all_of_it() {
    let removed = Removed::default();
    let many = |n: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
        bytes[24..28].copy_from_slice(&n.to_le_bytes());
        BlobId::from_bytes(bytes)
    };
    let count = u32::try_from(RECENT).unwrap() + 1000;
    for n in 0..count {
        removed.remove(&[many(n)], at(1, u64::from(n) + 1));
    }
    for n in (0..count).step_by(997) {
        let seq = u64::from(n) + 1;
        assert!(removed.covers(&many(n), at(1, seq - 1)), "{n}");
        assert!(!removed.covers(&many(n), at(1, u64::from(count))), "{n}");
    }
    assert!(removed.recent.read().seqs.len() <= RECENT);
    assert!(!removed.covers(&many(count + 5), at(1, 1000)), "it shares a slot and was not removed");
}

#[test]
fn nobody_sees_an_old_epoch_without_its_removals() {
    let removed = Removed::default();
    removed.remove(&[id(1)], at(1, 50));
    std::thread::scope(|threads| {
        let reading = threads.spawn(|| {
            while removed.epoch() < 12 {
                assert!(removed.covers(&id(1), at(1, 40)));
            }
        });
        for epoch in 2..=12 {
            removed.begin(epoch);
        }
        reading.join().unwrap();
    });
}
