use proptest::prelude::*;
use wcdn_proto::{BlobId, QuiltPatchId};

use super::*;
use crate::events::{Follows, Lease};

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn blob(n: u8) -> ContentId {
    ContentId::Blob(BlobId::from_bytes([n; 32]))
}

fn file(n: u8) -> ContentId {
    let quilt = BlobId::from_bytes([n; 32]);
    ContentId::Patch(QuiltPatchId::new(quilt, 3, 9).unwrap())
}

fn kept() -> Kept {
    let block = |seq| Word { at: at(2, seq), is_set: true };
    Kept {
        position: at(2, 30),
        removals: Removals { epoch: 2, floor: 4, slots: vec![(1, 7), (9, 30)] },
        words: vec![(blob(1), block(5)), (file(2), block(6))],
        pins: vec![(blob(3).blob(), block(7)), (blob(4).blob(), block(8))],
        origins: Some(Origins {
            epoch: 2,
            revision: 3,
            specs: vec![OriginSpec::new("a".parse().unwrap(), "http://a:1".parse().unwrap())],
        }),
    }
}

fn log(kept: &Kept) -> Arc<Log> {
    let lease = Lease { window: Duration::from_secs(5), is_strict: false };
    Arc::new(Log::new(Follows::Log(lease), Some(kept), Arc::default()))
}

fn open(dir: &Path) -> io::Result<(Disk, Kept)> {
    Disk::open(dir, &"edge-1".parse().unwrap(), Arc::default())
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    let (disk, nothing) = open(&dir).unwrap();
    assert_eq!(nothing, Kept::default());
    disk.keep_origins(kept().origins.unwrap());
    disk.save(&log(&kept())).unwrap();
    let (_, again) = open(&dir).unwrap();
    let sorted = |mut kept: Kept| {
        kept.words.sort_by_key(|(id, _)| *id);
        kept.pins.sort_by_key(|(id, _)| *id);
        kept
    };
    assert_eq!(sorted(again), sorted(kept()));
}

#[test]
fn origins_that_an_older_version_kept_are_of_no_known_log() {
    let kept: Origins = serde_json::from_str(r#"{"revision": 3, "specs": []}"#).unwrap();
    assert_eq!(kept, Origins { epoch: 0, revision: 3, specs: Vec::new() });
}

#[tokio::test]
async fn a_block_is_there_after_a_crash_and_its_end_too() {
    let home = tempfile::tempdir().unwrap();
    let (disk, _) = open(home.path()).unwrap();
    let disk = Arc::new(disk);
    disk.save(&log(&kept())).unwrap();
    disk.journal(vec![(blob(7), Word { at: at(2, 31), is_set: true })]).await;
    disk.journal(vec![(blob(8), Word { at: at(2, 32), is_set: true })]).await;
    disk.journal(vec![(blob(8), Word { at: at(2, 33), is_set: false })]).await;
    let (_, again) = open(home.path()).unwrap();
    let log = log(&again);
    assert!(log.withholds(&blob(7)) && log.withholds(&blob(1)) && log.withholds(&file(2)));
    assert!(!log.withholds(&blob(8)));
}

#[tokio::test]
async fn an_end_that_was_saved_outlasts_the_block_in_the_journal() {
    let home = tempfile::tempdir().unwrap();
    let (disk, _) = open(home.path()).unwrap();
    let (disk, log) = (Arc::new(disk), log(&kept()));
    let (block, end) =
        (Word { at: at(2, 31), is_set: true }, Word { at: at(2, 32), is_set: false });
    disk.journal(vec![(blob(7), block)]).await;
    log.blocked.hear(&[blob(7)], block);
    log.blocked.hear(&[blob(7)], end);
    log.positions.advance(at(2, 32));
    disk.save(&log).unwrap();
    let (_, again) = open(home.path()).unwrap();
    assert!(!super::tests::log(&again).withholds(&blob(7)));
}

#[tokio::test]
async fn damage_at_any_byte_of_one_file_forgets_no_block() {
    let home = tempfile::tempdir().unwrap();
    let (disk, _) = open(home.path()).unwrap();
    let (disk, full) = (Arc::new(disk), kept());
    disk.rewrite_journal(&log(&full)).await;
    disk.save(&log(&full)).unwrap();
    for name in [STATE, JOURNAL] {
        let path = home.path().join(name);
        let sound = fs::read(&path).unwrap();
        for byte in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[byte] ^= 0x40;
            for damaged in [&flipped[..], &sound[..byte]] {
                fs::write(&path, damaged).unwrap();
                let (_, again) = open(home.path()).unwrap();
                let withholds = |id| again.words.iter().any(|(it, word)| *it == id && word.is_set);
                assert!(withholds(blob(1)) && withholds(file(2)), "{name} at {byte}");
                let is_known = again.position == full.position && again.removals == full.removals;
                assert!(is_known || again.position == Position::ORIGIN, "{name} at {byte}");
            }
        }
        fs::write(&path, &sound).unwrap();
    }
}

#[test]
fn what_was_removed_out_of_order_can_be_fetched_again_after_a_restart() {
    let ahead = Kept { removals: Removals { epoch: 2, floor: 4, slots: vec![(0, 41)] }, ..kept() };
    let log = log(&ahead);
    let id = BlobId::from_bytes([0; 32]);
    assert!(log.removed.covers(&id, at(2, 40)));
    assert!(!log.removed.covers(&id, log.positions.known()));
    assert_eq!(log.positions.applied(), at(2, 30));
}

#[tokio::test]
async fn a_torn_record_leaves_room_for_the_next() {
    let home = tempfile::tempdir().unwrap();
    let block = |n| vec![(blob(n), Word { at: at(1, u64::from(n)), is_set: true })];
    let (disk, _) = open(home.path()).unwrap();
    Arc::new(disk).journal(block(1)).await;
    let path = home.path().join(JOURNAL);
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(&journal::encode(&block(2))[..40]);
    fs::write(&path, torn).unwrap();
    let (disk, again) = open(home.path()).unwrap();
    assert_eq!(again.words, block(1));
    Arc::new(disk).journal(block(3)).await;
    let (_, again) = open(home.path()).unwrap();
    assert_eq!(again.words, [block(1), block(3)].concat());
}

#[tokio::test]
async fn what_a_failed_write_left_of_a_record_puts_none_out_of_step() {
    let home = tempfile::tempdir().unwrap();
    let block = |n| vec![(blob(n), Word { at: at(1, u64::from(n)), is_set: true })];
    let (disk, _) = open(home.path()).unwrap();
    let disk = Arc::new(disk);
    disk.journal(block(1)).await;
    let mut torn = File::options().append(true).open(home.path().join(JOURNAL)).unwrap();
    torn.write_all(&journal::encode(&block(2))[..40]).unwrap();
    disk.journal(block(3)).await;
    let (_, again) = open(home.path()).unwrap();
    assert_eq!(again.words, [block(1), block(3)].concat());
}

#[tokio::test]
async fn a_block_that_the_disk_refuses_is_counted() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    let metrics = Arc::<EventMetrics>::default();
    let (disk, _) = Disk::open(&dir, &"edge-1".parse().unwrap(), Arc::clone(&metrics)).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    Arc::new(disk).journal(kept().words).await;
    assert_eq!(metrics.blocks_not_kept.get(), 1);
}

#[tokio::test]
async fn nothing_is_saved_between_two_epochs() {
    let home = tempfile::tempdir().unwrap();
    let (disk, _) = open(home.path()).unwrap();
    let (before, log) = (kept(), log(&kept()));
    disk.save(&log).unwrap();
    // An event of a new log came by datagram; what it begins with has not been read yet.
    log.removed.remove(&[BlobId::from_bytes([3; 32])], at(3, 77));
    disk.save(&log).unwrap();
    let (_, again) = open(home.path()).unwrap();
    assert_eq!((again.position, again.removals), (before.position, before.removals));
    log.positions.advance(at(3, 77));
    disk.save(&log).unwrap();
    assert_eq!(open(home.path()).unwrap().1.position, at(3, 77));
}

#[test]
fn a_large_state_is_written_less_often_but_not_too_late() {
    assert_eq!(pace(0), PACE);
    assert_eq!(pace(12 << 20), Duration::from_secs(24));
    assert_eq!(pace(usize::MAX), LONGEST_PACE);
}

#[test]
fn what_a_process_left_half_written_is_thrown_away_in_time() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (home.path().join("events.state.7.new"), home.path().join("a.8.new"));
    let old = (File::create(&old).unwrap(), old);
    File::create(&new).unwrap();
    old.0.set_modified(std::time::SystemTime::now() - 2 * LEFT_AFTER).unwrap();
    open(home.path()).unwrap();
    assert!(!old.1.exists() && new.exists());
}

#[test]
fn what_a_version_wrote_that_knew_of_no_pins_tells_what_is_withheld_and_no_position() {
    let bytes = state::encode(&Kept { pins: Vec::new(), ..kept() });
    // Without the count of pins and the digest.
    let text = [b"wcdn events 1\n", &bytes[14..bytes.len() - 36]].concat();
    let old = [&text[..], blake3::hash(&text).as_bytes()].concat();
    let expected = Kept { words: kept().words, origins: kept().origins, ..Kept::default() };
    assert_eq!(state::decode(&old), Some(expected));
}

#[tokio::test]
async fn a_journal_of_many_ends_is_written_anew() {
    let home = tempfile::tempdir().unwrap();
    let (disk, _) = open(home.path()).unwrap();
    let (disk, log) = (Arc::new(disk), log(&kept()));
    let words = |seq| Word { at: at(2, seq), is_set: seq % 2 == 1 };
    let many = (31..31 + SPARE_RECORDS as u64 + 2).map(|seq| (blob(9), words(seq))).collect();
    disk.journal(many).await;
    disk.save(&log).unwrap();
    let length = fs::metadata(home.path().join(JOURNAL)).unwrap().len();
    assert_eq!(length, 2 * journal::RECORD as u64);
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(state::decode(&bytes).is_none());
        let _words = journal::decode(&bytes).len();
        for version in [b"wcdn events 1\n", b"wcdn events 2\n"] {
            let _parsed = state::parse(&[&version[..], &bytes[..]].concat()).is_some();
        }
    }
}
