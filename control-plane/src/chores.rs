//! What is done from time to time: looking who is late, keeping receipts, forgetting old frames.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wcdn_proto::{NodeId, pb::admin::v1::Receipt};

use crate::{
    config,
    desk::Desk,
    store::{StoreError, jobs::Fence, now_ms, prune::Retention},
    tracker::{Standing, State, Swept},
};

/// Between two looks at nodes and receipts: a receipt settles so much later than a lease ends.
const SWEEP: Duration = Duration::from_millis(100);

/// Between two looks at what is old.
const PRUNE: Duration = Duration::from_secs(60);

/// Receipts of one transaction: some milliseconds, in which changes wait.
const RECEIPTS: usize = 1_000;

/// Looks who is late, until `shutdown`.
pub(crate) async fn sweep(desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut round = interval(SWEEP);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(round.tick()).await.is_some() {
        if let Some(plane) = &desk.plane {
            plane.confirm(&desk.tracker);
        }
        let swept = desk.tracker.lock().sweep(Instant::now());
        remember(&desk, &swept).await;
        for receipts in swept.done.chunks(RECEIPTS) {
            keep(&desk, receipts).await;
        }
        let nodes = desk.tracker.lock().nodes(Instant::now());
        follow_pins(&desk, &swept.lost, &nodes);
        desk.preloads.lock().sweep(Instant::now());
        measure(&desk, &nodes);
    }
    // Whoever registered in the last moment is waited for after a restart, too.
    let last = desk.tracker.lock().sweep(Instant::now());
    remember(&desk, &last).await;
}

async fn remember(desk: &Desk, swept: &Swept) {
    for node in &swept.lost {
        tracing::warn!(%node, "edge lost");
    }
    if swept.lost.is_empty() && swept.registered.is_empty() {
        return;
    }
    let kept = desk.store.in_time(desk.store.remember(&swept.registered, &swept.lost)).await;
    if kept.is_err() {
        desk.tracker.lock().unkept(&swept.registered);
    }
    report(kept);
}

async fn keep(desk: &Desk, receipts: &[Receipt]) {
    let kept = desk.store.in_time(desk.store.keep_receipts(receipts)).await;
    // What could not be kept stays in memory, and is tried again.
    if kept.is_ok() {
        desk.tracker.lock().kept(receipts);
    }
    report(kept);
}

fn report(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!(error = &error as &dyn std::error::Error, "store cannot be written");
    }
}

/// Who is lost holds nothing; whoever is not is expected to.
fn follow_pins(desk: &Desk, lost: &[NodeId], nodes: &[Standing]) {
    let there = nodes.iter().filter(|node| node.state != State::Lost);
    let counts = {
        let state = desk.log.state().read();
        let mut pins = desk.pins.lock();
        lost.iter().for_each(|node| pins.lost(node));
        pins.expect(there.map(|node| &node.who.region));
        pins.settle(state.pins());
        pins.counts()
    };
    counts.named().into_iter().for_each(|(state, count)| desk.metrics.pins(state, count));
}

fn measure(desk: &Desk, nodes: &[Standing]) {
    let (open, forgotten) = {
        let mut tracker = desk.tracker.lock();
        (tracker.open_receipts(), tracker.forgotten())
    };
    desk.metrics.forgotten_receipts.inc_by(forgotten);
    desk.metrics.open_receipts.set(i64::try_from(open).unwrap_or(i64::MAX));
    for state in [State::Live, State::Unconfirmed, State::Fenced, State::Lost] {
        let count = nodes.iter().filter(|node| node.state == state).count();
        desk.metrics.nodes(state.as_str(), count);
    }
}

/// Forgets old frames and changes, from time to time.
pub(crate) async fn prune(desk: Arc<Desk>, log: config::Log, fence: Fence) {
    let mut round = interval(PRUNE);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        let age = u64::try_from(log.retention.duration().as_millis()).unwrap_or(u64::MAX);
        let before_ms = now_ms().saturating_sub(age);
        match desk.store.beyond(log.max_frames).await {
            Ok(upto) => forget(&desk, Retention { before_ms, upto }, fence).await,
            Err(error) => report(Err(error)),
        }
        report(desk.store.prune_changes(before_ms, fence).await);
    }
}

/// A few at a time, so that changes get their turn.
async fn forget(desk: &Desk, retention: Retention, fence: Fence) {
    while let Ok(count @ 1..) = desk.log.prune(retention, fence).await {
        desk.metrics.pruned_frames.inc_by(count);
    }
}
