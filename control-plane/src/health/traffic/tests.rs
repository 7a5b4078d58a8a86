use proptest::prelude::*;

use super::*;

fn who(node: &str, incarnation: u64) -> Registered {
    Registered {
        node: node.parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        incarnation,
        version: String::new(),
        edge_url: String::new(),
        strict: false,
        lease: Duration::ZERO,
    }
}

fn report(origin: &str, requests: u64, unreachable: u64) -> OriginTraffic {
    OriginTraffic { origin: origin.to_owned(), requests, unreachable, ..OriginTraffic::default() }
}

fn name(text: &str) -> OriginName {
    text.parse().unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

fn requests(traffic: &Traffic, now: Instant) -> u64 {
    traffic.of(&name("a"), now).iter().map(|(_, seen)| seen.counts.requests).sum()
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_counts_and_only_for_a_while() {
    let now = Instant::now();
    let mut traffic = Traffic::new(5 * MINUTE, now);
    let node = who("n", 7);
    traffic.heard(&node, &[report("a", 100, 0)], &[], now);
    assert_eq!(requests(&traffic, now), 0, "nobody knows when these were");
    traffic.heard(&node, &[report("a", 112, 5)], &[], now);
    traffic.heard(&node, &[report("a", 112, 5)], &[], now);
    traffic.heard(&node, &[report("a", 105, 1)], &[], now);
    let (region, seen) = traffic.of(&name("a"), now).remove(0);
    assert_eq!(
        (region.as_str(), seen.counts.requests, seen.counts.unreachable),
        ("eu-west", 12, 5)
    );
    traffic.heard(&who("n", 8), &[report("a", 3, 0)], &[], now + MINUTE);
    assert_eq!(requests(&traffic, now + MINUTE), 15, "it began again at zero");
    traffic.heard(&node, &[report("a", 900, 0)], &[], now + MINUTE);
    assert_eq!(
        requests(&traffic, now + MINUTE),
        15,
        "an earlier start of it says nothing any more"
    );
    traffic.heard(&who("n", 8), &[report("b", 4, 0)], &[], now + MINUTE);
    assert_eq!(traffic.of(&name("b"), now + MINUTE)[0].1.counts.requests, 4, "it is new there");
    assert_eq!(requests(&traffic, now + 14 * MINUTE), 15);
    assert_eq!(requests(&traffic, now + 16 * MINUTE), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lie_is_told_once() {
    let now = Instant::now();
    let mut traffic = Traffic::new(MINUTE, now);
    let lie = |seq| Lie { origin: "a".to_owned(), content: vec![7; 32].into(), seq, at_ms: 0 };
    let node = who("n", 1);
    assert_eq!(traffic.heard(&node, &[], &[lie(1), lie(2)], now).len(), 2);
    assert_eq!(traffic.heard(&node, &[], &[lie(1), lie(2), lie(3)], now).len(), 1);
    assert_eq!(traffic.heard(&who("n", 2), &[], &[lie(1)], now).len(), 1, "it started again");
    let odd = Lie { content: vec![7; 31].into(), ..lie(9) };
    assert_eq!(traffic.heard(&who("n", 2), &[], &[odd], now), []);
}

#[tokio::test(start_paused = true)]
async fn who_asks_others_than_these_is_found() {
    let now = Instant::now();
    let mut traffic = Traffic::new(MINUTE, now);
    assert_eq!(traffic.agreement(&BTreeSet::from(["a"])), Agreement::Unknown);
    traffic.heard(&who("n", 1), &[report("a", 0, 0), report("z", 0, 0)], &[], now);
    assert_eq!(traffic.agreement(&BTreeSet::from(["a", "b", "z"])), Agreement::All);
    let stranger = Agreement::Stranger("n".parse().unwrap(), name("z"));
    assert_eq!(traffic.agreement(&BTreeSet::from(["a", "b"])), stranger);
}

proptest! {
    /// Reports of a node that counts up, as they may arrive: some lost, some twice, some late.
    #[test]
    fn nothing_is_counted_twice_or_more_than_there_was(
        steps in prop::collection::vec(0_u64..50, 1..20),
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let now = Instant::now();
        let mut traffic = Traffic::new(MINUTE, now);
        let mut counted = vec![0];
        steps.iter().for_each(|step| counted.push(counted.last().unwrap() + step));
        let node = who("n", 1);
        traffic.heard(&node, &[report("a", 0, 0)], &[], now);
        let mut highest = 0;
        for arrival in arrivals {
            let told = counted[arrival.index(counted.len())];
            traffic.heard(&node, &[report("a", told, 0)], &[], now);
            highest = highest.max(told);
        }
        prop_assert_eq!(requests(&traffic, now), highest);
    }
}
