//! What is done from time to time: looking who is late, keeping receipts, forgetting old frames.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use wcdn_proto::{NodeId, pb::admin::v1::Receipt};

use crate::{
    config,
    desk::Desk,
    store::{StoreError, jobs::Fence, prune::Retention},
    tracker::{Standing, State, Swept},
};

/// Between two looks at nodes and receipts: a receipt settles so much later than a lease ends.
const SWEEP: Duration = Duration::from_millis(100);

/// Between two looks at what is old.
const PRUNE: Duration = Duration::from_secs(60);

/// Receipts of one transaction: some milliseconds, in which changes wait.
const RECEIPTS: usize = 1_000;

/// Between two looks at the nodes that other control planes know.
const OTHERS: Duration = Duration::from_secs(5);

/// Looks who is late, until `shutdown`; what follows from it for the store is done beside that: one that
/// does not answer holds up no receipt.
pub(crate) async fn sweep(desk: Arc<Desk>, shutdown: CancellationToken) {
    let (sender, swept) = mpsc::channel(1);
    tokio::join!(look(&desk, sender, shutdown), tidy(&desk, swept));
}

async fn look(desk: &Desk, sender: mpsc::Sender<Swept>, shutdown: CancellationToken) {
    let mut round = interval(SWEEP);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(round.tick()).await.is_some() {
        if let Some(plane) = &desk.plane {
            plane.confirm(&desk.tracker);
        }
        // As long as the last ones are written, more gather.
        let room = sender.try_reserve().ok();
        let swept = desk.tracker.lock().sweep(Instant::now());
        let nodes = desk.tracker.lock().nodes(Instant::now());
        follow_pins(desk, &swept.lost, &nodes);
        desk.preloads.lock().sweep(Instant::now());
        measure(desk, &nodes);
        match room {
            Some(room) if !swept.is_empty() => room.send(swept),
            Some(_) => {}
            None => desk.tracker.lock().unkept(&swept),
        }
    }
    // Whoever registered in the last moment is waited for after a restart, too.
    let last = desk.tracker.lock().sweep(Instant::now());
    let _is_over = sender.send(last).await.is_err();
}

async fn tidy(desk: &Desk, mut swept: mpsc::Receiver<Swept>) {
    let mut others = interval(OTHERS);
    others.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            swept = swept.recv() => {
                let Some(swept) = swept else { return };
                remember(desk, &swept).await;
                look_for(desk, &swept.doubtful).await;
                for receipts in swept.done.chunks(RECEIPTS) {
                    keep(desk, receipts).await;
                }
            }
            _ = others.tick(), if desk.store.is_shared() => learn(desk).await,
        }
    }
}

/// Knows the nodes that registered elsewhere.
async fn learn(desk: &Desk) {
    match desk.store.in_time(desk.store.nodes()).await {
        Ok(nodes) => desk.tracker.lock().learn(nodes, Instant::now()),
        Err(error) => report(Err(error)),
    }
}

/// Finds out which changes the log lacks since another one goes on.
async fn look_for(desk: &Desk, doubtful: &[String]) {
    let epoch = desk.tracker.lock().epoch();
    for ids in doubtful.chunks(RECEIPTS) {
        match desk.store.in_time(desk.store.those_there(ids)).await {
            Ok(there) => desk.tracker.lock().found(ids, &there, epoch, Instant::now()),
            Err(error) => return report(Err(error)),
        }
    }
}

async fn remember(desk: &Desk, swept: &Swept) {
    if swept.lost.is_empty() && swept.registered.is_empty() {
        return;
    }
    let kept = desk.store.in_time(desk.store.remember(&swept.registered, &swept.lost)).await;
    if kept.is_err() {
        desk.tracker.lock().unkept(swept);
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
        let now_ms = match desk.store.in_time(desk.store.head_and_time()).await {
            Ok((_, now_ms)) => now_ms,
            Err(error) => {
                report(Err(error));
                continue;
            }
        };
        let before_ms = now_ms.saturating_sub(age);
        match desk.store.beyond(log.max_frames).await {
            Ok(upto) => forget(&desk, Retention { before_ms, upto }, fence).await,
            Err(error) => report(Err(error)),
        }
        report(desk.store.prune_changes(before_ms, now_ms, fence).await);
    }
}

/// A few at a time, so that changes get their turn.
async fn forget(desk: &Desk, retention: Retention, fence: Fence) {
    while let Ok(count @ 1..) = desk.log.prune(retention, fence).await {
        desk.metrics.pruned_frames.inc_by(count);
    }
}
