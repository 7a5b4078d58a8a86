//! Pins stand as nodes say.

use std::time::Duration;

use proptest::prelude::*;
use wcdn_proto::pb::edge::v1::Keeping;

use super::*;

fn id(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

fn who(node: &str, region: &str, incarnation: u64) -> Registered {
    let (node, region) = (node.parse().unwrap(), region.parse().unwrap());
    Registered { incarnation, ..Registered::unnamed(node, region, false, Duration::from_secs(5)) }
}

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn state(n: u8, keeping: Keeping, reason: &str) -> edge::PinState {
    let id = id(n).as_bytes().to_vec().into();
    edge::PinState { id, keeping: keeping.into(), reason: reason.to_owned() }
}

/// Nodes a1, a2, a3 of region a, and b1 of region b, each with a session of its number.
struct Scene {
    pins: Pins,
    pinned: BTreeSet<BlobId>,
    nodes: Vec<Registered>,
}

impl Scene {
    fn new() -> Self {
        let nodes =
            ["a1", "a2", "a3", "b1"].map(|name| who(name, name.get(..1).unwrap(), 1)).to_vec();
        let mut pins = Pins::new(10);
        for (session, node) in (1..).zip(&nodes) {
            pins.registered(node, session);
        }
        let mut scene = Self { pins, pinned: [id(1), id(2)].into(), nodes };
        scene.expect();
        scene
    }

    fn expect(&mut self) {
        self.pins.expect(self.nodes.iter().map(|node| &node.region));
    }

    fn tell(&mut self, session: u64, states: Vec<edge::PinState>) {
        let node = ["a1", "a2", "a3", "b1"][usize::try_from(session).unwrap() - 1];
        let told = edge::Pins { begins: false, states };
        self.pins.reported(&name(node), session, &told).unwrap();
    }

    fn standing(&mut self, n: u8) -> PinStanding {
        self.pins.settle(&self.pinned);
        self.pins.standing(&id(n))
    }

    fn hold(&mut self, sessions: &[u64]) {
        sessions.iter().for_each(|session| self.tell(*session, vec![state(1, Keeping::Held, "")]));
    }
}

#[test]
fn a_pin_goes_from_requested_to_filling_to_held() {
    let mut scene = Scene::new();
    let standing = scene.standing(1);
    assert_eq!((standing.state(), standing.expected), (PinState::Requested, 3));
    scene.tell(1, vec![state(1, Keeping::Filling, "")]);
    assert_eq!(scene.standing(1).state(), PinState::Filling);
    scene.hold(&[1, 2]);
    let standing = scene.standing(1);
    assert_eq!((standing.state(), standing.held), (PinState::Filling, 2));
    scene.hold(&[4]);
    let standing = scene.standing(1);
    assert_eq!((standing.state(), standing.held, standing.expected), (PinState::Held, 3, 3));
    let counts = Counts { requested: 1, held: 1, ..Counts::default() };
    assert_eq!(scene.pins.counts(), counts);
}

#[test]
fn three_holders_of_one_region_do_not_make_up_for_another_region() {
    let mut scene = Scene::new();
    scene.hold(&[1, 2, 3]);
    let standing = scene.standing(1);
    assert_eq!((standing.held, standing.expected), (2, 3));
    assert_eq!(standing.state(), PinState::Filling);
}

#[test]
fn a_pin_that_lost_a_holder_is_degraded_until_another_holds_it() {
    let mut scene = Scene::new();
    scene.hold(&[1, 2, 4]);
    assert_eq!(scene.standing(1).state(), PinState::Held);
    scene.pins.lost(&name("a2"));
    scene.nodes.remove(1);
    scene.expect();
    let standing = scene.standing(1);
    assert_eq!((standing.state(), standing.held, standing.expected), (PinState::Degraded, 2, 3));
    assert!(!is_settled(&standing));
    scene.tell(3, vec![state(1, Keeping::Failed, "no origin has the blob")]);
    let standing = scene.standing(1);
    assert_eq!((standing.state(), standing.failed), (PinState::Degraded, 1));
    assert_eq!(standing.reason, "a3: no origin has the blob");
    assert!(is_settled(&standing));
    scene.hold(&[3]);
    assert_eq!(scene.standing(1).state(), PinState::Held);
    for node in ["a1", "a3", "b1"] {
        scene.pins.lost(&name(node));
    }
    assert_eq!(scene.standing(1).state(), PinState::Degraded, "nobody holds it any more");
    scene.pinned.clear();
    scene.pins.registered(&who("a1", "a", 2), 9);
    scene.nodes.clear();
    scene.expect();
    scene.pins.settle(&scene.pinned);
    assert!(scene.pins.rows.is_empty(), "what is not pinned is forgotten");
}

#[test]
fn over_budget_is_said_whatever_else_is_wrong() {
    let mut scene = Scene::new();
    scene.tell(1, vec![state(1, Keeping::OverBudget, "64 MiB are full")]);
    scene.tell(2, vec![state(1, Keeping::Failed, "gone")]);
    scene.hold(&[4]);
    let standing = scene.standing(1);
    assert_eq!(standing.state(), PinState::OverBudget);
    assert_eq!((standing.held, standing.over_budget, standing.failed), (1, 1, 1));
    assert!(is_settled(&standing));
}

#[test]
fn a_restarted_node_holds_nothing_and_a_reconnected_one_what_it_held() {
    let mut scene = Scene::new();
    scene.hold(&[1, 2, 4]);
    scene.pins.registered(&who("a1", "a", 1), 11);
    assert_eq!(scene.standing(1).held, 3);
    let late = edge::Pins { begins: true, states: vec![] };
    scene.pins.reported(&name("a1"), 1, &late).unwrap();
    assert_eq!(scene.standing(1).held, 3, "an earlier session says nothing");
    scene.pins.reported(&name("a1"), 11, &late).unwrap();
    assert_eq!(scene.standing(1).held, 2, "it begins anew, and holds nothing");
    scene.hold(&[2]);
    scene.pins.registered(&who("a2", "a", 2), 12);
    assert_eq!(scene.standing(1).held, 1);
}

#[test]
fn no_node_tells_of_more_than_may_be_pinned_or_of_what_is_no_blob() {
    let mut scene = Scene::new();
    let states = (0..11).map(|n| state(n, Keeping::Filling, "")).collect();
    let told = edge::Pins { begins: true, states };
    assert_eq!(scene.pins.reported(&name("a1"), 1, &told), Err(Wrong::TooMany));
    let gone = (0..10).map(|n| state(n, Keeping::Unspecified, "")).collect();
    scene.tell(1, gone);
    scene.hold(&[1]);
    let wrong = edge::PinState { id: vec![1; 31].into(), ..edge::PinState::default() };
    let told = edge::Pins { begins: false, states: vec![state(2, Keeping::Held, ""), wrong] };
    assert_eq!(scene.pins.reported(&name("a1"), 1, &told), Err(Wrong::Id(1)));
}

proptest! {
    /// However reports came, what counts is what each node said last.
    #[test]
    fn only_the_last_word_of_each_node_counts(
        words in prop::collection::vec((1_u64..5, 1_u8..3, 0_i32..5), 0..60),
    ) {
        let mut scene = Scene::new();
        let mut last = HashMap::new();
        for (session, n, keeping) in words {
            let keeping = Keeping::try_from(keeping).unwrap();
            scene.tell(session, vec![state(n, keeping, "why")]);
            last.insert((session, n), keeping);
        }
        for n in 1..3 {
            let standing = scene.standing(n);
            let count = |wanted| {
                last.iter().filter(|((_, of), keeping)| *of == n && **keeping == wanted).count()
            };
            let held_of = |sessions: &[u64]| {
                let holds = |session: &&u64| last.get(&(**session, n)) == Some(&Keeping::Held);
                sessions.iter().filter(holds).count()
            };
            let held = held_of(&[1, 2, 3]).min(2) + held_of(&[4]).min(1);
            prop_assert_eq!(standing.held as usize, held);
            prop_assert_eq!(standing.over_budget as usize, count(Keeping::OverBudget));
            prop_assert_eq!(standing.failed as usize, count(Keeping::Failed));
            prop_assert_eq!(standing.state() == PinState::Held, held == 3);
        }
        let counts = scene.pins.counts();
        prop_assert!(last.is_empty() || counts.sum() == 2);
    }
}
