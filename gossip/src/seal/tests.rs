use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn key(n: u8) -> ClusterKey {
    ClusterKey::new([n; 32])
}

fn opener(current: u8, also: Option<u8>) -> Opener {
    Opener::new(&ClusterKeys { current: key(current), also: also.map(key) }, "test")
}

fn sealed(payload: &[u8]) -> Vec<u8> {
    Sealer::new(&key(1), "test").seal(Plane::Event, payload)
}

proptest! {
    #[test]
    fn what_is_sealed_opens_for_the_same_cluster(
        payload in proptest::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD),
    ) {
        let mut datagram = sealed(&payload);
        prop_assert!(datagram.len() <= MAX_DATAGRAM);
        let mut opener = opener(1, None);
        let opened = opener.open(&mut datagram).unwrap();
        prop_assert_eq!((opened.plane, opened.payload), (Plane::Event, &payload[..]));
    }

    #[test]
    fn a_datagram_with_any_bit_flipped_is_refused_and_the_true_one_still_opens(
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let datagram = sealed(b"twelve bytes");
        let mut opener = opener(1, None);
        let mut changed = datagram.clone();
        changed[at.index(datagram.len())] ^= 1 << bit;
        prop_assert!(opener.open(&mut changed).is_err());
        prop_assert!(opener.senders.is_empty());
        prop_assert!(opener.open(&mut datagram.clone()).is_ok());
    }

    #[test]
    fn a_datagram_cut_anywhere_is_refused(at: prop::sample::Index) {
        let mut datagram = sealed(b"twelve bytes");
        let length = at.index(datagram.len());
        datagram.truncate(length);
        prop_assert!(opener(1, None).open(&mut datagram).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_trace(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1_400),
        has_true_header: bool,
    ) {
        if has_true_header {
            let datagram = sealed(b"");
            let length = bytes.len().min(HEADER);
            bytes[..length].copy_from_slice(&datagram[..length]);
        }
        let mut opener = opener(1, None);
        prop_assert!(opener.open(&mut bytes).is_err());
        prop_assert!(opener.senders.is_empty());
    }
}

#[test]
fn a_datagram_is_taken_once_in_whatever_order_it_comes() {
    let sealer = Sealer::new(&key(1), "test");
    let datagrams: Vec<_> =
        (0..500_u16).map(|n| sealer.seal(Plane::Event, &n.to_be_bytes())).collect();
    let mut opener = opener(1, None);
    let mut taken = HashSet::new();
    for n in (0..500).step_by(3).chain(0..500).chain(0..500) {
        if let Ok(opened) = opener.open(&mut datagrams[n].clone()) {
            assert!(taken.insert(opened.payload.to_vec()), "{n} was taken twice");
        }
    }
    assert_eq!(taken.len(), 500);
    assert_eq!(opener.open(&mut datagrams[7].clone()).unwrap_err(), Rejection::Replayed);
}

#[test]
fn a_foreign_key_is_refused_before_anything_is_derived() {
    let error = opener(2, None).open(&mut sealed(b"")).unwrap_err();
    assert_eq!(error, Rejection::Key);
}

#[test]
fn another_cluster_with_the_same_key_is_refused() {
    let mut datagram = Sealer::new(&key(1), "staging").seal(Plane::Event, b"");
    assert_eq!(opener(1, None).open(&mut datagram).unwrap_err(), Rejection::Forged);
}

#[test]
fn during_a_change_of_keys_both_open() {
    for (current, also) in [(1, Some(2)), (2, Some(1))] {
        assert!(opener(current, also).open(&mut sealed(b"")).is_ok());
    }
}

#[test]
fn an_unknown_version_is_refused_as_such() {
    let mut datagram = sealed(b"");
    datagram[0] = 2;
    assert_eq!(opener(1, None).open(&mut datagram).unwrap_err(), Rejection::Version);
}

#[test]
fn the_table_of_senders_is_bounded_and_forgets_who_is_silent() {
    let mut opener = opener(1, None);
    let (silent, heard) = (Sealer::new(&key(1), "test"), Sealer::new(&key(1), "test"));
    let first = silent.seal(Plane::Event, b"");
    opener.open(&mut first.clone()).unwrap();
    for n in 0..MAX_SENDERS {
        opener.open(&mut sealed(b"")).unwrap();
        if n % 100 == 0 {
            opener.open(&mut heard.seal(Plane::Event, b"")).unwrap();
        }
    }
    assert_eq!(opener.senders.len(), MAX_SENDERS);
    let id = |sealer: &Sealer| (sealer.prefix[5..].try_into().unwrap(), key(1).id());
    assert!(!opener.senders.contains_key(&id(&silent)));
    assert!(opener.senders.contains_key(&id(&heard)));
}

#[test]
fn no_key_is_ever_printed() {
    let printed = format!("{:?}", ClusterKeys { current: key(0xab), also: Some(key(0xcd)) });
    assert_eq!(printed, "ClusterKeys { current: ClusterKey(…), also: Some(ClusterKey(…)) }");
}
