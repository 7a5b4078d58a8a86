//! The log keeps its promises.

mod replicas;

use std::{collections::BTreeSet, time::Duration};

use parking_lot::Mutex;
use wcdn_gossip::frame::IssuerKeys;
use wcdn_proto::{BlobId, Change, ContentId, Purge, pb::edge::v1::Origin};

use super::*;
use crate::{
    auth::Author,
    change::Asked,
    store::{
        Place,
        stores::{Fresh, On, on_both},
    },
};

on_both!(
    changes_of_many_callers_are_in_the_log_once_each_without_a_gap,
    what_waits_at_shutdown_is_written_and_what_comes_later_is_refused,
    a_hundred_thousand_ids_are_one_transaction_and_one_change,
    a_token_makes_two_requests_one_and_is_not_for_another,
    of_two_that_replace_the_same_pool_one_is_told_the_other_was_first,
    a_queue_that_is_full_refuses_at_once,
    a_new_log_begins_above_what_is_asked_for_and_keeps_what_is_withheld_or_pinned,
    of_blocks_that_are_asked_for_at_once_those_beyond_the_room_are_refused,
    of_pins_that_are_asked_for_at_once_those_beyond_the_room_are_refused,
    what_is_pinned_is_purged_by_force_alone_and_stays_pinned,
    after_a_write_that_may_be_lost_nothing_is_written_until_the_log_is_known,
    a_log_that_ends_before_its_head_or_has_a_gap_is_not_served,
);

struct Bench {
    fresh: Arc<Fresh>,
    store: Store,
    log: Log,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    told: Arc<Mutex<Vec<Position>>>,
    /// Of others and of its own, and since when.
    changes: Arc<Mutex<Vec<(Recorded, Instant)>>>,
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&[7; 32]))
}

const MOST: Most = Most { blocks: 3, pins: 3 };

async fn bench(on: On) -> Bench {
    let fresh = on.fresh().await;
    replica(Arc::new(fresh)).await
}

/// A log of its own on a store that others may have open.
async fn replica(fresh: Arc<Fresh>) -> Bench {
    let store = fresh.open().await;
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let told = Arc::new(Mutex::new(Vec::new()));
    let changes = Arc::new(Mutex::new(Vec::new()));
    let (heard, noted) = (Arc::clone(&told), Arc::clone(&changes));
    let tell: Tell = Box::new(move |news| {
        heard.lock().push(news.head);
        noted.lock().extend(news.changes.iter().map(|change| (change.clone(), news.since)));
    });
    let (metrics, _) = Metrics::new();
    let room = Room { max_waiting: 4_096, most: MOST };
    let log = Log::start(store.clone(), key(), room, tell, metrics, shutdown.clone(), &tasks).await;
    Bench { fresh, store, log: log.unwrap(), tasks, shutdown, told, changes }
}

/// Waits until something is true.
async fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

fn blob(n: u32) -> BlobId {
    BlobId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

fn purge(n: u32) -> Request {
    request(Asked::Purge(Purge::Ids(vec![blob(n)])))
}

fn request(asked: Asked) -> Request {
    Request { asked, by: Author::program("test"), token: None }
}

async fn events(store: &Store) -> Vec<(u64, Change)> {
    let keys = IssuerKeys::new(vec![key().public()]);
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let frames = store.frames_after(after).await.unwrap();
        for frame in &frames {
            let opened = Frame::open(frame.bytes.clone(), &keys).unwrap();
            after = frame.last_seq;
            events.extend(opened.events().iter().map(|(at, change)| (at.seq, change.clone())));
        }
        if frames.is_empty() {
            return events;
        }
    }
}

async fn changes_of_many_callers_are_in_the_log_once_each_without_a_gap(on: On) {
    let bench = bench(on).await;
    let callers: Vec<_> = (0..300)
        .map(|n| {
            let log = bench.log.clone();
            bench.tasks.spawn(async move { (n, log.append(purge(n)).await.unwrap()) })
        })
        .collect();
    let mut places = BTreeSet::new();
    for caller in callers {
        let (n, change) = caller.await.unwrap();
        assert_eq!(change.first, change.last);
        places.insert((change.first.seq, n));
    }
    let written = events(&bench.store).await;
    assert_eq!(written.len(), 300);
    for ((place, n), (seq, change)) in places.iter().zip(&written) {
        assert_eq!(place, seq);
        assert_eq!(*change, Change::Purge(Purge::Ids(vec![blob(*n)])));
    }
    assert_eq!(
        written.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        (1..=300).collect::<Vec<_>>()
    );
    let told = bench.told.lock();
    assert!(told.len() < 300, "{} transactions for 300 changes", told.len());
    assert!(told.is_sorted());
    assert_eq!(bench.log.head().seq, 300);
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file_when_the_process_is_gone() {
    let bench = bench(On::Sqlite).await;
    let change = bench.log.append(purge(1)).await.unwrap();
    let copy = bench.fresh.folder.path().join("crashed.db");
    for suffix in ["", "-wal"] {
        let from = bench.fresh.folder.path().join(format!("a.db{suffix}"));
        std::fs::copy(from, format!("{}{suffix}", copy.display())).unwrap();
    }
    let reopened = Store::open(&Place::File(copy)).await.unwrap();
    assert_eq!(reopened.head().await.unwrap(), change.last);
    assert_eq!(events(&reopened).await.len(), 1);
    assert!(reopened.change(&change.id).await.unwrap().is_some());
}

async fn what_waits_at_shutdown_is_written_and_what_comes_later_is_refused(on: On) {
    let bench = bench(on).await;
    let waiting: Vec<_> = (0..50)
        .map(|n| {
            let log = bench.log.clone();
            bench.tasks.spawn(async move { log.append(purge(n)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    bench.shutdown.cancel();
    let mut written = 0;
    for caller in waiting {
        written += usize::from(caller.await.unwrap().is_ok());
    }
    assert_eq!(events(&bench.store).await.len(), written);
    bench.tasks.close();
    bench.tasks.wait().await;
    assert!(matches!(bench.log.append(purge(1)).await, Err(LogError::Closed)));
}

async fn a_hundred_thousand_ids_are_one_transaction_and_one_change(on: On) {
    let bench = bench(on).await;
    let ids: Vec<_> = (0..100_000).map(blob).collect();
    let change = bench.log.append(request(Asked::Purge(Purge::Ids(ids)))).await.unwrap();
    assert_eq!((change.ids, change.events()), (100_000, 4_167));
    assert_eq!(bench.told.lock().len(), 1);
    assert_eq!(bench.log.state().read().position(), change.last);
    assert_eq!(events(&bench.store).await.len(), 4_167);
}

async fn a_token_makes_two_requests_one_and_is_not_for_another(on: On) {
    let bench = bench(on).await;
    let with_token = |n| Request { token: Some("once".to_owned()), ..purge(n) };
    let (first, same) = (bench.log.append(with_token(1)), bench.log.append(with_token(1)));
    let (first, same) = tokio::join!(first, same);
    let first = first.unwrap();
    assert_eq!(first, same.unwrap());
    assert_eq!(bench.log.append(with_token(1)).await.unwrap(), first);
    let other = bench.log.append(with_token(2)).await;
    let reused = Refused::TokenReused { change: first.id };
    assert!(matches!(other, Err(LogError::Refused(refused)) if refused == reused));
    assert_eq!(bench.log.head().seq, 1);
    let of_another = Request { by: Author::program("other"), ..with_token(2) };
    assert_eq!(bench.log.append(of_another).await.unwrap().first.seq, 2);
}

async fn of_two_that_replace_the_same_pool_one_is_told_the_other_was_first(on: On) {
    let bench = bench(on).await;
    let pool = |name: &str| {
        let origin = Origin { name: name.into(), url: "http://a".into(), ..Origin::default() };
        let origins = vec![origin];
        request(Asked::Origins(OriginPool { origins, ..OriginPool::default() }))
    };
    let (one, other) = tokio::join!(bench.log.append(pool("a")), bench.log.append(pool("b")));
    assert!(one.is_ok());
    let changed = Refused::PoolChanged { revision: 1 };
    assert!(matches!(other, Err(LogError::Refused(refused)) if refused == changed));
    assert_eq!(bench.log.pools().borrow().revision, 1);
    assert_eq!(bench.store.pool().await.unwrap().origins[0].name, "a");
}

async fn a_queue_that_is_full_refuses_at_once(on: On) {
    let (_fresh, store) = on.store().await;
    let (metrics, _) = Metrics::new();
    // Its task is never polled: nothing is taken from the queue.
    let tasks = TaskTracker::new();
    let shutdown = CancellationToken::new();
    let tell: Tell = Box::new(|_| {});
    let room = Room { max_waiting: 1, most: MOST };
    let log = Log::start(store, key(), room, tell, metrics, shutdown, &tasks).await.unwrap();
    let (first, second) = (log.append(purge(1)), log.append(purge(2)));
    let (first, second) = tokio::join!(biased; first, second);
    assert!(first.is_ok());
    assert!(matches!(second, Err(LogError::Full)));
}

async fn a_new_log_begins_above_what_is_asked_for_and_keeps_what_is_withheld_or_pinned(on: On) {
    let bench = bench(on).await;
    let id = ContentId::Blob(blob(9));
    let block = Asked::Block { ids: vec![id], reason: "law".to_owned() };
    bench.log.append(request(block)).await.unwrap();
    bench.log.append(pins([8])).await.unwrap();
    let before = bench.log.append(purge(1)).await.unwrap().last;
    let known = Position { epoch: before.epoch + 4_999_999, seq: 7 };
    let head = bench.log.raise_beyond(known).await.unwrap();
    assert_eq!(bench.log.raise_beyond(known).await.unwrap(), head, "one proof begins one log");
    assert_eq!(head, Position { epoch: before.epoch + 5_000_000, seq: 0 });
    assert_eq!(bench.log.head(), head);
    let next = bench.log.append(purge(2)).await.unwrap();
    assert_eq!(next.first, Position { seq: 1, ..head });
    let folded = bench.store.fold().await.unwrap();
    assert_eq!(folded, *bench.log.state().read());
    assert!(folded.blocks().contains(&id) && folded.pins().contains(&blob(8)));
    assert_eq!(folded.removed().count(), 1);
}

fn blocks(ids: impl IntoIterator<Item = u32>) -> Request {
    let ids = ids.into_iter().map(|n| ContentId::Blob(blob(n))).collect();
    request(Asked::Block { ids, reason: String::new() })
}

async fn of_blocks_that_are_asked_for_at_once_those_beyond_the_room_are_refused(on: On) {
    let bench = bench(on).await;
    let (two, same, two_more, one) = tokio::join!(
        bench.log.append(blocks([1, 2])),
        bench.log.append(blocks([2, 1])),
        bench.log.append(blocks([3, 4])),
        bench.log.append(blocks([3])),
    );
    assert!(two.is_ok() && same.is_ok() && one.is_ok());
    let full = Refused::BlocksFull { most: 3 };
    assert!(matches!(two_more, Err(LogError::Refused(refused)) if refused == full));
    let unblock = request(Asked::Unblock(vec![ContentId::Blob(blob(1))]));
    let (unblocked, again) = tokio::join!(bench.log.append(unblock), bench.log.append(blocks([5])));
    assert!(unblocked.is_ok() && again.is_ok());
    assert_eq!(bench.log.state().read().blocks().len(), 3);
}

fn pins(ids: impl IntoIterator<Item = u32>) -> Request {
    request(Asked::Pin { ids: ids.into_iter().map(blob).collect(), note: String::new() })
}

fn unpins(ids: impl IntoIterator<Item = u32>) -> Request {
    request(Asked::Unpin(ids.into_iter().map(blob).collect()))
}

async fn of_pins_that_are_asked_for_at_once_those_beyond_the_room_are_refused(on: On) {
    let bench = bench(on).await;
    let (two, same, two_more, one) = tokio::join!(
        bench.log.append(pins([1, 2])),
        bench.log.append(pins([2, 1])),
        bench.log.append(pins([3, 4])),
        bench.log.append(pins([3])),
    );
    assert!(two.is_ok() && same.is_ok() && one.is_ok());
    let full = Refused::PinsFull { most: 3 };
    assert!(matches!(two_more, Err(LogError::Refused(refused)) if refused == full));
    let (unpinned, again) =
        tokio::join!(bench.log.append(unpins([1, 9])), bench.log.append(pins([5])));
    assert!(unpinned.is_ok() && again.is_ok());
    assert_eq!(bench.log.state().read().pins().len(), 3);
}

async fn what_is_pinned_is_purged_by_force_alone_and_stays_pinned(on: On) {
    let bench = bench(on).await;
    let purges = |asked: fn(Purge) -> Asked, ids: &[u32]| {
        request(asked(Purge::Ids(ids.iter().map(|n| blob(*n)).collect())))
    };
    bench.log.append(purge(1)).await.unwrap();
    // The pin is in the same transaction as the purge that follows it.
    let (pinned, refused, other) = tokio::join!(
        bench.log.append(pins([1, 2])),
        bench.log.append(purges(Asked::Purge, &[1, 2, 3])),
        bench.log.append(purges(Asked::Purge, &[3])),
    );
    assert!(pinned.is_ok() && other.is_ok());
    let Err(LogError::Refused(Refused::Pinned(spared))) = refused else { panic!("purged") };
    let named: BTreeSet<_> = spared.some.into_iter().collect();
    assert_eq!((named, spared.count), ([blob(1), blob(2)].into(), 2));
    let all = bench.log.append(request(Asked::Purge(Purge::All))).await;
    assert!(matches!(all, Err(LogError::Refused(Refused::Pinned(spared))) if spared.count == 2));
    bench.log.append(purges(Asked::ForcedPurge, &[1])).await.unwrap();
    bench.log.append(request(Asked::ForcedPurge(Purge::All))).await.unwrap();
    assert_eq!(bench.log.state().read().pins().len(), 2);
    bench.log.append(unpins([1, 2])).await.unwrap();
    bench.log.append(request(Asked::Purge(Purge::All))).await.unwrap();
    bench.log.append(purge(1)).await.unwrap();
    assert_eq!(bench.store.fold().await.unwrap(), *bench.log.state().read());
}

async fn after_a_write_that_may_be_lost_nothing_is_written_until_the_log_is_known(on: On) {
    let bench = bench(on).await;
    let head = bench.log.append(purge(1)).await.unwrap().last;
    let other = Store::open(&bench.fresh.place).await.unwrap();
    // A table is missing: transactions fail, and the log cannot be read. The second time that is known,
    // and for a second it is not tried again.
    bench.store.run("ALTER TABLE head RENAME TO hidden").await;
    for _ in 0..2 {
        assert!(matches!(bench.log.append(purge(2)).await, Err(LogError::Store(_))));
    }
    // What became of it: it was written all the same, and so was another pool.
    let pool = OriginPool { revision: 9, ..OriginPool::default() };
    bench.store.put_pool(&pool).await;
    bench.store.run("ALTER TABLE hidden RENAME TO head").await;
    let lost = other.append(&key(), Most { blocks: 3, pins: 3 }, &[purge(2)]).await.unwrap();
    assert_eq!(bench.log.head(), head);
    eventually("the store is read again", || bench.log.head() == lost.head).await;
    assert_eq!(bench.log.append(purge(3)).await.unwrap().first.seq, 3);
    assert_eq!(*bench.log.pools().borrow(), pool);
    let folded = bench.store.fold().await.unwrap();
    assert_eq!(folded, *bench.log.state().read());
}

async fn a_log_that_ends_before_its_head_or_has_a_gap_is_not_served(on: On) {
    let bench = bench(on).await;
    for n in 1..=3 {
        bench.log.append(purge(n)).await.unwrap();
    }
    let damaged = |folded| matches!(folded, Err(StoreError::Damaged { .. }));
    assert!(bench.store.fold().await.is_ok());
    bench.store.run("UPDATE head SET seq = 4").await;
    assert!(damaged(bench.store.fold().await));
    bench.store.run("UPDATE head SET seq = 3").await;
    bench.store.run("DELETE FROM frames WHERE first_seq = 2").await;
    assert!(damaged(bench.store.fold().await));
    let (metrics, _) = Metrics::new();
    let room = Room { max_waiting: 1, most: MOST };
    let tell: Tell = Box::new(|_| {});
    let (store, tasks, shutdown) = (bench.store.clone(), TaskTracker::new(), bench.shutdown);
    assert!(Log::start(store, key(), room, tell, metrics, shutdown, &tasks).await.is_err());
}
