//! Who is ejected for all edges, and who returns: pure.
//!
//! An origin should be ejected if it sent wrong bytes to the control plane itself, or gave it no proper
//! answer for some rounds while no region says that it is served. It stays so until it has proved to be
//! well. Of those that should be, liars come first, then those that are ejected already; and never so many
//! are that fewer than half of the pool, by number or by weight, would be left: what cannot be ejected is
//! asked after others all the same, by edges that know it. Who was ejected by hand counts as gone, and
//! returns by hand.

use std::collections::BTreeSet;

use wcdn_proto::pb::edge::v1::{Origin, OriginPool};

/// An aggregator of the pool, and what should become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Why it should be ejected; none if it should not.
    pub(crate) guilt: Option<Guilt>,
    /// For people.
    pub(crate) reason: String,
}

/// Why an origin should be ejected, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guilt {
    /// It lied to the control plane itself.
    Lied,
    /// It gives no proper answer.
    Dead,
}

/// What was done to a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) ejected: Vec<String>,
    pub(crate) returned: Vec<String>,
    /// Who should be ejected and could not be.
    pub(crate) spared: Vec<String>,
}

/// The weight of an origin whose weight is not given.
const DEFAULT_WEIGHT: u32 = 100;

impl Verdict {
    /// Whether nothing was done.
    pub(crate) fn is_empty(&self) -> bool {
        self.ejected.is_empty() && self.returned.is_empty()
    }

    /// Takes in what was done later.
    pub(crate) fn add(&mut self, later: Self) {
        self.ejected.extend(later.ejected);
        self.returned.extend(later.returned);
        self.spared = later.spared;
    }

    /// Ejects and returns aggregators of a pool.
    pub(crate) fn carry_out(pool: &mut OriginPool, cases: &[Case]) -> Self {
        let (wanted, spared) = choose(pool, cases);
        let mut verdict = Self { spared, ..Self::default() };
        for origin in &mut pool.origins {
            if is_by_hand(origin) {
                continue;
            }
            let is_wanted = wanted.contains(origin.name.as_str());
            match (origin.ejected, is_wanted) {
                (false, true) => {
                    let case = cases.iter().find(|case| case.name == origin.name);
                    origin.reason = case.map(|case| case.reason.clone()).unwrap_or_default();
                    verdict.ejected.push(origin.name.clone());
                }
                (true, false) => {
                    origin.reason.clear();
                    verdict.returned.push(origin.name.clone());
                }
                _ => continue,
            }
            (origin.ejected, origin.automatic) = (is_wanted, is_wanted);
        }
        verdict
    }
}

fn is_by_hand(origin: &Origin) -> bool {
    origin.ejected && !origin.automatic
}

fn weight(origin: &Origin) -> u64 {
    u64::from(if origin.weight == 0 { DEFAULT_WEIGHT } else { origin.weight })
}

/// Who is to be ejected by itself, and who would be if there were more of them.
fn choose<'a>(pool: &OriginPool, cases: &'a [Case]) -> (BTreeSet<&'a str>, Vec<String>) {
    let find = |name: &str| pool.origins.iter().find(|origin| origin.name == name);
    let mut guilty: Vec<(Guilt, bool, &Case)> = cases
        .iter()
        .filter_map(|case| {
            let origin = find(&case.name).filter(|origin| !is_by_hand(origin))?;
            Some((case.guilt?, !origin.ejected, case))
        })
        .collect();
    guilty.sort_by_key(|(guilt, is_new, _)| (*guilt, *is_new));
    let all = Share::of(&pool.origins);
    let by_hand: Vec<Origin> =
        pool.origins.iter().filter(|origin| is_by_hand(origin)).cloned().collect();
    let mut left = all.minus(&Share::of(&by_hand));
    let (mut wanted, mut spared) = (BTreeSet::new(), Vec::new());
    for (_, _, case) in guilty {
        let own = find(&case.name).map(std::slice::from_ref).unwrap_or_default();
        let without = left.minus(&Share::of(own));
        if without.is_half_of(&all) {
            left = without;
            wanted.insert(case.name.as_str());
        } else {
            spared.push(case.name.clone());
        }
    }
    (wanted, spared)
}

/// A part of a pool.
#[derive(Debug, Clone, Copy)]
struct Share {
    count: u64,
    weight: u64,
}

impl Share {
    fn of(origins: &[Origin]) -> Self {
        Self { count: origins.len() as u64, weight: origins.iter().map(weight).sum() }
    }

    fn minus(self, other: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(other.count),
            weight: self.weight.saturating_sub(other.weight),
        }
    }

    fn is_half_of(self, all: &Self) -> bool {
        self.count > 0 && self.count * 2 >= all.count && self.weight * 2 >= all.weight
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(name: &str) -> Origin {
        Origin { name: name.to_owned(), ..Origin::default() }
    }

    fn pool(names: &[&str]) -> OriginPool {
        let origins = names.iter().map(|name| origin(name)).collect();
        OriginPool { origins, ..OriginPool::default() }
    }

    fn case(name: &str, guilt: Option<Guilt>) -> Case {
        Case { name: name.to_owned(), guilt, reason: format!("{name} did") }
    }

    const LIED: Option<Guilt> = Some(Guilt::Lied);
    const DEAD: Option<Guilt> = Some(Guilt::Dead);

    #[test]
    fn who_is_guilty_is_ejected_with_why_and_returns_when_it_is_not_any_more() {
        let mut pool = pool(&["a", "b", "c"]);
        let verdict = Verdict::carry_out(&mut pool, &[case("a", LIED), case("b", None)]);
        assert_eq!(verdict.ejected, ["a"]);
        let ejected = &pool.origins[0];
        assert!(ejected.ejected && ejected.automatic && ejected.reason == "a did");
        assert!(Verdict::carry_out(&mut pool, &[case("a", LIED)]).is_empty());
        let verdict = Verdict::carry_out(&mut pool, &[case("a", None)]);
        assert_eq!(verdict.returned, ["a"]);
        assert_eq!(pool.origins[0], origin("a"));
    }

    #[test]
    fn never_below_half_and_a_liar_before_the_dead() {
        let mut pool = pool(&["a", "b", "c", "d"]);
        let dead = [case("a", DEAD), case("b", DEAD), case("c", DEAD)];
        let verdict = Verdict::carry_out(&mut pool, &dead);
        assert_eq!((verdict.ejected.len(), verdict.spared), (2, vec!["c".to_owned()]));
        let and_a_liar = [case("a", DEAD), case("b", DEAD), case("c", DEAD), case("d", LIED)];
        let verdict = Verdict::carry_out(&mut pool, &and_a_liar);
        assert_eq!(
            (verdict.ejected, verdict.returned),
            (vec!["d".to_owned()], vec!["b".to_owned()])
        );
        assert_eq!(verdict.spared, ["b", "c"]);
    }

    #[test]
    fn half_is_half_of_the_weight_too() {
        let mut pool = pool(&["a", "b", "c"]);
        pool.origins[0].weight = 1_000;
        let verdict = Verdict::carry_out(&mut pool, &[case("a", LIED)]);
        assert_eq!((verdict.ejected.len(), verdict.spared), (0, vec!["a".to_owned()]));
        let verdict = Verdict::carry_out(&mut pool, &[case("b", LIED)]);
        assert_eq!(verdict.ejected, ["b"]);
    }

    #[test]
    fn the_only_one_stays() {
        let mut pool = pool(&["a"]);
        assert_eq!(Verdict::carry_out(&mut pool, &[case("a", LIED)]).spared, ["a"]);
    }

    #[test]
    fn who_was_ejected_by_hand_returns_by_hand_and_counts_as_gone() {
        let mut pool = pool(&["a", "b", "c", "d"]);
        (pool.origins[0].ejected, pool.origins[0].reason) = (true, "by hand".to_owned());
        let before = pool.origins[0].clone();
        let cases = [case("a", None), case("b", LIED), case("c", LIED)];
        let verdict = Verdict::carry_out(&mut pool, &cases);
        assert_eq!((verdict.ejected, verdict.spared), (vec!["b".to_owned()], vec!["c".to_owned()]));
        assert_eq!(pool.origins[0], before);
    }

    proptest! {
        #[test]
        fn whatever_they_did_half_are_left_and_doing_it_again_changes_nothing(
            given in prop::collection::vec(
                (0_u32..4, prop::option::of(any::<bool>()), any::<bool>(), any::<bool>()),
                1..12,
            ),
        ) {
            let mut pool = OriginPool::default();
            let mut cases = Vec::new();
            for (n, (weight, guilt, ejected, automatic)) in given.iter().enumerate() {
                let name = format!("o{n}");
                let automatic = *automatic && *ejected;
                let weight = weight * 300;
                pool.origins.push(Origin { weight, ejected: *ejected, automatic, ..origin(&name) });
                let guilt = guilt.map(|lied| if lied { Guilt::Lied } else { Guilt::Dead });
                cases.push(case(&name, guilt));
            }
            let by_hand = |pool: &OriginPool| -> Vec<Origin> {
                pool.origins.iter().filter(|origin| is_by_hand(origin)).cloned().collect()
            };
            let before = by_hand(&pool);
            let verdict = Verdict::carry_out(&mut pool, &cases);
            prop_assert_eq!(by_hand(&pool), before.clone());
            let left: Vec<Origin> =
                pool.origins.iter().filter(|origin| !origin.ejected).cloned().collect();
            let all = Share::of(&pool.origins);
            let is_enough = Share::of(&left).is_half_of(&all);
            let is_untouched = left.len() + before.len() == pool.origins.len();
            prop_assert!(is_enough || is_untouched, "{pool:?} after {verdict:?}");
            prop_assert!(Verdict::carry_out(&mut pool, &cases).is_empty());
        }
    }
}
