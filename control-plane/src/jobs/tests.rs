//! What only one may do is done by one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::mpsc;

use super::*;
use crate::store::stores::{Fresh, On, on_both};

on_both!(a_turn_that_was_taken_over_writes_nothing_more);

const SHORT: Duration = Duration::from_millis(200);

/// Longer than anything takes that is to happen.
const PATIENCE: Duration = Duration::from_secs(20);

async fn a_turn_that_was_taken_over_writes_nothing_more(on: On) {
    let (_fresh, store) = on.store().await;
    let first = store.take_job("a", "one", Duration::ZERO).await.unwrap().unwrap();
    let second = store.take_job("a", "two", PATIENCE).await.unwrap().unwrap();
    assert!(second.number() > first.number());
    assert!(!store.renew_job(first, PATIENCE).await.unwrap());
    assert!(store.renew_job(second, PATIENCE).await.unwrap());
    let mut tx = store.write().await.unwrap();
    assert!(matches!(first.hold(&mut tx).await, Err(StoreError::Superseded { job: "a" })));
    second.hold(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    store.leave_job(first).await.unwrap();
    if store.is_shared() {
        assert_eq!(store.take_job("a", "three", PATIENCE).await.unwrap(), None);
    }
    store.leave_job(second).await.unwrap();
    assert!(store.take_job("a", "three", PATIENCE).await.unwrap().is_some());
    assert!(store.take_job("b", "one", PATIENCE).await.unwrap().is_some());
}

/// A control plane that says when it has a turn and when it has it no longer.
struct Replica {
    store: Store,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    turns: mpsc::Receiver<Fence>,
    /// Of all.
    working: Arc<AtomicUsize>,
}

struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Replica {
    async fn start(fresh: &Fresh, working: &Arc<AtomicUsize>) -> Self {
        let (store, tasks) = (fresh.open().await, TaskTracker::new());
        let shutdown = CancellationToken::new();
        let name = "control-plane".parse().unwrap();
        let mut jobs = Jobs::new(store.clone(), &name, tasks.clone(), shutdown.clone());
        jobs.timing = Timing { lease: 8 * SHORT, renew: SHORT, margin: 2 * SHORT };
        let (told, turns) = mpsc::channel(16);
        let count = Arc::clone(working);
        jobs.run_as_singleton("a", move |fence| {
            assert_eq!(count.fetch_add(1, SeqCst), 0, "somebody works already");
            let working = Working(Arc::clone(&count));
            told.try_send(fence).unwrap();
            async move {
                let _working = working;
                std::future::pending().await
            }
        });
        Self { store, shutdown, tasks, turns, working: Arc::clone(working) }
    }

    async fn has_a_turn(&mut self) -> Fence {
        tokio::time::timeout(PATIENCE, self.turns.recv()).await.expect("a turn").unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

#[tokio::test]
async fn one_works_and_when_it_leaves_another_does() {
    let (fresh, working) = (On::Postgres.fresh().await, Arc::default());
    let mut first = Replica::start(&fresh, &working).await;
    let before = first.has_a_turn().await;
    let mut second = Replica::start(&fresh, &working).await;
    // Longer than the lease of one that is not renewed.
    let waited = tokio::time::timeout(10 * SHORT, second.turns.recv()).await;
    assert!(waited.is_err(), "two at once");
    first.stop().await;
    assert!(second.has_a_turn().await.number() > before.number());
    second.stop().await;
}

#[tokio::test]
async fn one_that_cannot_renew_stops_before_another_begins() {
    let (fresh, working) = (On::Postgres.fresh().await, Arc::default());
    let mut first = Replica::start(&fresh, &working).await;
    let before = first.has_a_turn().await;
    // Its connections are all in use, as if the server did not answer; another one's are not.
    let mut taken = Vec::new();
    while let Ok(Ok(tx)) = tokio::time::timeout(SHORT, first.store.write()).await {
        taken.push(tx);
    }
    let mut second = Replica::start(&fresh, &working).await;
    assert!(second.has_a_turn().await.number() > before.number());
    assert_eq!(second.working.load(SeqCst), 1);
    drop(taken);
    second.stop().await;
    first.has_a_turn().await;
    first.stop().await;
}
