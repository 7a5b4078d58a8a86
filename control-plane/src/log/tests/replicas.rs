//! Several control planes write one log.

use super::*;

/// Two logs on one store.
async fn two() -> (Bench, Bench) {
    let fresh = Arc::new(On::Postgres.fresh().await);
    (replica(Arc::clone(&fresh)).await, replica(fresh).await)
}

async fn agree(one: &Bench, other: &Bench) {
    let head = one.store.head().await.unwrap();
    eventually("both are at the head", || {
        [one, other]
            .iter()
            .all(|it| it.log.head() == head && it.log.state().read().position() == head)
    })
    .await;
    let folded = one.store.fold().await.unwrap();
    for bench in [one, other] {
        assert_eq!(*bench.log.state().read(), folded);
    }
}

#[tokio::test]
async fn what_two_write_at_once_is_one_log_and_told_once_by_each_in_its_order() {
    let (one, other) = two().await;
    let mut callers = Vec::new();
    for n in 0..200 {
        let log = if n % 2 == 0 { one.log.clone() } else { other.log.clone() };
        callers.push(one.tasks.spawn(async move {
            // Changes of several frames, too.
            let ids = (0..1 + n % 60).map(|m| blob(n * 100 + m)).collect();
            let change = log.append(request(Asked::Purge(Purge::Ids(ids)))).await.unwrap();
            (change, Instant::now())
        }));
    }
    let mut written = Vec::new();
    for caller in callers {
        written.push(caller.await.unwrap());
    }
    agree(&one, &other).await;
    written.sort_by_key(|(change, _)| change.first);
    let mut next = 1;
    for (change, _) in &written {
        assert_eq!(change.first.seq, next, "a gap, or a place twice");
        next = change.last.seq + 1;
    }
    for bench in [&one, &other] {
        let told = bench.changes.lock();
        let changes: Vec<_> = told.iter().map(|(change, _)| change).collect();
        assert!(changes.iter().copied().eq(written.iter().map(|(change, _)| change)));
        // Whatever is counted from then on is more than the truth.
        assert!(told.iter().zip(&written).all(|((_, since), (_, answered))| since <= answered));
        assert!(bench.told.lock().is_sorted());
    }
}

#[tokio::test]
async fn blocks_pools_and_tokens_of_one_are_those_of_the_other() {
    let (one, other) = two().await;
    one.log.append(blocks([1, 2])).await.unwrap();
    let origin = Origin { name: "a".into(), url: "http://a".into(), ..Origin::default() };
    let pool = || {
        request(Asked::Origins(OriginPool {
            origins: vec![origin.clone()],
            ..OriginPool::default()
        }))
    };
    one.log.append(pool()).await.unwrap();
    let with_token = || Request { token: Some("once".to_owned()), ..purge(1) };
    let first = one.log.append(with_token()).await.unwrap();
    assert_eq!(other.log.append(with_token()).await.unwrap(), first);
    let full = other.log.append(blocks([3, 4])).await;
    assert!(matches!(full, Err(LogError::Refused(Refused::BlocksFull { .. }))));
    let changed = other.log.append(pool()).await;
    assert!(matches!(changed, Err(LogError::Refused(Refused::PoolChanged { revision: 1 }))));
    agree(&one, &other).await;
    eventually("the pool is known", || other.log.pools().borrow().revision == 1).await;
    assert_eq!(other.log.state().read().blocks().len(), 2);
}

#[tokio::test]
async fn a_new_log_that_one_begins_is_that_of_the_other() {
    let (one, other) = two().await;
    one.log.append(blocks([1])).await.unwrap();
    other.log.append(purge(1)).await.unwrap();
    let known = Position { seq: u64::MAX, ..one.log.head() };
    let head = one.log.raise_beyond(known).await.unwrap();
    eventually("it is heard of", || other.log.head() == head).await;
    assert_eq!(other.log.append(purge(2)).await.unwrap().first, Position { seq: 1, ..head });
    agree(&one, &other).await;
    assert_eq!(one.log.state().read().blocks().len(), 1);
}

#[tokio::test]
async fn a_database_that_is_another_one_begins_a_new_log_before_anything_is_written_or_read() {
    let (one, other) = two().await;
    let before = one.log.append(purge(1)).await.unwrap().last;
    // As after a promotion, or when a dump was brought back.
    one.store.run("UPDATE head SET lineage = 'of before'").await;
    let written = other.log.append(purge(2)).await.unwrap();
    assert!(written.first.epoch > before.epoch);
    assert_eq!(written.first.seq, 1);
    agree(&one, &other).await;
    one.store.run("UPDATE head SET lineage = 'of before'").await;
    let head = other.log.head();
    eventually("it is noticed without a change", || other.log.head().epoch > head.epoch).await;
    // One that starts finds it out by itself.
    one.store.run("UPDATE head SET lineage = 'of before'").await;
    let opened = Store::open(&one.fresh.place).await.unwrap().head().await.unwrap();
    assert!(opened.epoch > head.epoch);
}

#[tokio::test]
async fn whoever_looks_knows_what_was_committed_before() {
    let (one, other) = two().await;
    for n in 0..20 {
        let last = one.log.append(purge(n)).await.unwrap().last;
        other.log.look().await;
        assert!(other.log.head() >= last);
    }
}

#[tokio::test]
async fn one_that_stands_still_in_a_commit_holds_the_others_up_for_a_time_limit_only() {
    let fresh =
        On::Postgres.fresh_with(|store| store.statement_timeout = wcdn_proto::Span::secs(1));
    let fresh = Arc::new(fresh.await);
    let (one, other) = (replica(Arc::clone(&fresh)).await, replica(fresh).await);
    one.log.append(purge(1)).await.unwrap();
    let stuck = other.store.lock_log().await.unwrap();
    let begun = Instant::now();
    let mut tries = 0;
    while one.log.append(purge(2)).await.is_err() {
        tries += 1;
        assert!(begun.elapsed() < Duration::from_secs(20), "still after {tries} tries");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whoever wakes up finds that it has lost its transaction.
    let (tx, _) = stuck;
    assert!(tx.commit().await.is_err());
    agree(&one, &other).await;
}
