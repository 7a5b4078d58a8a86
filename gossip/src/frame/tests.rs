use proptest::prelude::*;
use wcdn_proto::{BlobId, ContentId, QuiltPatchId};

use super::*;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn keys(key: &SigningKey) -> IssuerKeys {
    IssuerKeys::new(vec![key.public()])
}

fn purge(ids: usize) -> Change {
    Change::Purge(Purge::Ids(vec![BlobId::from_bytes([7; 32]); ids]))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (1..=MAX_IDS).prop_map(purge),
        Just(Change::Barrier),
        Just(Change::Purge(Purge::All)),
        (1..=MAX_IDS).prop_map(|ids| {
            let patch = QuiltPatchId::new(BlobId::from_bytes([9; 32]), 1, u16::MAX).unwrap();
            Change::Block(vec![ContentId::Patch(patch); ids])
        }),
    ]
}

proptest! {
    #[test]
    fn packed_changes_come_out_in_order_without_a_gap_from_frames_that_fit(
        epoch: u64,
        seq in u64::from(u32::MAX)..u64::MAX / 2,
        changes in proptest::collection::vec(change(), 1..60),
    ) {
        let first = Position { epoch, seq };
        let signer = key(1);
        let frames = Frame::pack(&signer, first, u64::MAX, changes.clone());
        let mut next = first;
        let mut out = Vec::new();
        for frame in frames {
            prop_assert!(frame.encoded().len() <= MAX_FRAME);
            let opened = Frame::open(frame.encoded().clone(), &keys(&signer)).unwrap();
            prop_assert_eq!(opened.first(), next);
            next.seq = opened.last().seq + 1;
            out.extend(opened.events().changes.clone());
        }
        prop_assert_eq!(out, changes);
    }

    #[test]
    fn any_bytes_are_refused_as_a_frame(bytes: Vec<u8>) {
        prop_assert!(Frame::open(bytes.into(), &keys(&key(1))).is_err());
    }

    #[test]
    fn a_frame_with_any_bit_changed_is_refused_or_the_same(at: prop::sample::Index, bit in 0..8) {
        let signer = key(1);
        let frame = Frame::pack(&signer, Position { epoch: 1, seq: 1 }, 5, vec![purge(3)]).remove(0);
        let mut bytes = frame.encoded().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        if let Ok(opened) = Frame::open(bytes.into(), &keys(&signer)) {
            prop_assert_eq!(opened.events(), frame.events());
        }
    }
}

#[test]
fn a_frame_of_another_key_is_refused() {
    let frame = Frame::pack(&key(2), Position { epoch: 1, seq: 1 }, 0, vec![Change::Barrier]);
    let opened = Frame::open(frame[0].encoded().clone(), &keys(&key(1)));
    assert!(matches!(opened, Err(InvalidFrame::Signature)));
}

#[test]
fn either_of_two_keys_is_believed_while_they_change() {
    let both = IssuerKeys::new(vec![key(1).public(), key(2).public()]);
    for n in [1, 2] {
        let frame = Frame::pack(&key(n), Position { epoch: 1, seq: 1 }, 0, vec![Change::Barrier]);
        Frame::open(frame[0].encoded().clone(), &both).unwrap();
    }
}

#[test]
fn a_lease_is_of_one_nonce_one_head_and_one_key() {
    let head = Position { epoch: 3, seq: 9 };
    let signature = key(1).sign_lease(5, head);
    let hint = key(1).public().hint();
    assert!(keys(&key(1)).verify_lease(5, head, &hint, &signature));
    assert!(!keys(&key(1)).verify_lease(6, head, &hint, &signature));
    assert!(!keys(&key(1)).verify_lease(5, Position { epoch: 3, seq: 8 }, &hint, &signature));
    assert!(!keys(&key(2)).verify_lease(5, head, &key(2).public().hint(), &signature));
}

#[test]
fn a_change_of_many_ids_becomes_several_that_fit() {
    let parts = split(purge(MAX_IDS * 2 + 1));
    let sizes: Vec<usize> = parts
        .iter()
        .map(|part| match part {
            Change::Purge(Purge::Ids(ids)) => ids.len(),
            other => panic!("{other:?} is no purge of ids"),
        })
        .collect();
    assert_eq!(sizes, [MAX_IDS, MAX_IDS, 1]);
}

#[test]
fn a_public_key_is_read_as_it_is_printed() {
    let public = key(4).public();
    assert_eq!(public.to_string().parse::<IssuerKey>().unwrap(), public);
    for wrong in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
        assert!(wrong.parse::<IssuerKey>().is_err(), "{wrong:?}");
    }
}
