use proptest::prelude::*;

use super::*;

fn blob(n: u8) -> BlobId {
    // All share a bit of the filter.
    let mut bytes = [0; 32];
    bytes[31] = n;
    BlobId::from_bytes(bytes)
}

fn file(n: u8, start: u16) -> QuiltPatchId {
    QuiltPatchId::new(blob(n), start, start + 1).unwrap()
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn block(at: Position) -> Word {
    Word { at, is_set: true }
}

fn end(at: Position) -> Word {
    Word { at, is_set: false }
}

#[test]
fn a_blocked_quilt_withholds_its_files_and_a_blocked_file_only_itself() {
    let blocked = Blocked::default();
    blocked.hear(&[ContentId::Blob(blob(1)), ContentId::Patch(file(2, 7))], block(at(1, 1)));
    assert!(blocked.is_blocked(&blob(1)) && blocked.is_file_blocked(&file(1, 3)));
    assert!(blocked.is_file_blocked(&file(2, 7)));
    assert!(!blocked.is_file_blocked(&file(2, 8)) && !blocked.is_blocked(&blob(2)));
    assert!(!blocked.is_blocked(&blob(3)), "it only shares a bit");
    assert_eq!(blocked.count(), 2);
}

#[test]
fn blocks_of_an_older_log_stay_until_an_event_ends_them() {
    let blocked = Blocked::default();
    let ids = [1, 2, 3].map(|n| ContentId::Blob(blob(n)));
    blocked.hear(&ids[..1], block(at(1, 10)));
    blocked.hear(&ids[1..2], block(at(2, 10)));
    blocked.replace(&ids[2..], at(2, 50));
    assert!(blocked.is_blocked(&blob(1)), "no event of the new log ends it");
    assert!(!blocked.is_blocked(&blob(2)), "the snapshot knows of its end");
    assert!(blocked.is_blocked(&blob(3)));
    blocked.replace(&[], at(2, 60));
    assert!(blocked.is_blocked(&blob(1)));
    blocked.hear(&ids[..1], end(at(2, 61)));
    assert!(!blocked.is_blocked(&blob(1)));
}

#[test]
fn a_snapshot_does_not_undo_what_came_after_it() {
    let blocked = Blocked::default();
    let (one, two) = (ContentId::Blob(blob(1)), ContentId::Blob(blob(2)));
    blocked.hear(&[one], block(at(1, 9)));
    blocked.hear(&[two], end(at(1, 9)));
    blocked.replace(&[two], at(1, 5));
    assert!(blocked.is_blocked(&blob(1)) && !blocked.is_blocked(&blob(2)));
    blocked.forget_ends(at(1, 9));
    assert_eq!(blocked.export(), [(one, block(at(1, 9)))]);
}

proptest! {
    #[test]
    fn the_latest_word_counts_in_whatever_order_it_comes(
        says in prop::collection::vec((0u8..4, any::<bool>()), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let word = |n: usize| Word { at: at(1, n as u64 + 1), is_set: says[n].1 };
        let blocked = Blocked::default();
        let all = 0..says.len();
        for n in order.iter().map(|n| n.index(says.len())).chain(all) {
            blocked.hear(&[ContentId::Blob(blob(says[n].0))], word(n));
        }
        for id in 0..4 {
            let last = says.iter().rev().find(|(n, _)| *n == id).is_some_and(|(_, says)| *says);
            prop_assert_eq!(blocked.is_blocked(&blob(id)), last);
        }
    }
}
