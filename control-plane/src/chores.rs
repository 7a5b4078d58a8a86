//! What is done from time to time: looking who is late, keeping receipts, forgetting old frames.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wcdn_proto::{NodeId, Span, pb::admin::v1::Receipt};

use crate::{
    audit::Draft,
    config,
    desk::Desk,
    store::{StoreError, jobs::Fence, prune::Retention},
    tracker::{Standing, State, Unkept},
};

/// Between two looks at nodes and receipts: a receipt settles so much later than a lease ends.
const SWEEP: Duration = Duration::from_millis(100);

/// Between two looks at what is old.
const PRUNE: Duration = Duration::from_secs(60);

/// Receipts of one transaction: some milliseconds, in which changes wait.
const RECEIPTS: usize = 1_000;

/// Between two writes of what the audit log is told.
const AUDIT: Duration = Duration::from_secs(1);

/// Between two notes of when keys were used.
const USES: Duration = Duration::from_secs(5);

/// Between two looks at the nodes that other control planes know.
const OTHERS: Duration = Duration::from_secs(5);

/// Looks who is late, until `shutdown`; what follows from it for the store is written beside that: one that
/// does not answer holds up no receipt.
pub(crate) async fn sweep(desk: Arc<Desk>, shutdown: CancellationToken) {
    tokio::join!(look(&desk, &shutdown), write_down(&desk, &shutdown));
}

async fn look(desk: &Desk, shutdown: &CancellationToken) {
    let (mut round, mut epoch) = (every(SWEEP), desk.log.head().epoch);
    while shutdown.run_until_cancelled(round.tick()).await.is_some() {
        if let Some(plane) = &desk.plane {
            plane.confirm(&desk.tracker);
        }
        let (lost, nodes) = {
            let (mut tracker, now) = (desk.tracker.lock(), Instant::now());
            (tracker.sweep(now), tracker.nodes(now))
        };
        follow_pins(desk, &lost, &nodes);
        for node in &lost {
            let draft = Draft::system("node.lost", node.to_string(), json!({}));
            desk.audit.note_often(draft, Instant::now());
        }
        let head = desk.log.head();
        if head.epoch != epoch {
            let detail = json!({"before": epoch, "after": head.epoch});
            desk.audit.note(Draft::system("log.begun_anew", "", detail));
            epoch = head.epoch;
        }
        desk.preloads.lock().sweep(Instant::now());
        measure(desk, &nodes);
    }
}

async fn write_down(desk: &Desk, shutdown: &CancellationToken) {
    let (mut round, mut others, mut uses) = (every(SWEEP), every(OTHERS), every(USES));
    let mut audit = every(AUDIT);
    loop {
        tokio::select! {
            _ = round.tick() => write(desk).await,
            _ = uses.tick() => note_uses(desk).await,
            _ = audit.tick() => report(desk.write_audit(false).await),
            _ = others.tick(), if desk.store.is_shared() => learn(desk).await,
            () = shutdown.cancelled() => break,
        }
    }
    // Whoever registered in the last moment is waited for after a restart, too.
    write(desk).await;
    note_uses(desk).await;
    desk.audit.note(Draft::system("control_plane.stop", "", json!({})));
    report(desk.write_audit(true).await);
}

fn every(pause: Duration) -> Interval {
    let mut round = interval(pause);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    round
}

async fn write(desk: &Desk) {
    let unkept = desk.tracker.lock().unkept(Instant::now());
    remember(desk, &unkept).await;
    look_for(desk, &unkept.doubtful).await;
    for receipts in unkept.done.chunks(RECEIPTS) {
        keep(desk, receipts).await;
    }
}

/// What cannot be noted now is not noted: the next use of the key will be.
async fn note_uses(desk: &Desk) {
    let uses = desk.keys.uses.take();
    if !uses.is_empty() {
        report(desk.store.in_time(desk.store.note_uses(&uses)).await);
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

async fn remember(desk: &Desk, unkept: &Unkept) {
    if unkept.lost.is_empty() && unkept.registered.is_empty() {
        return;
    }
    let kept = desk.store.in_time(desk.store.remember(&unkept.registered, &unkept.lost)).await;
    if kept.is_err() {
        desk.tracker.lock().put_back(unkept);
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
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "store cannot be read or written; tried again"
        );
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
pub(crate) async fn prune(desk: Arc<Desk>, log: config::Log, audit: config::Audit, fence: Fence) {
    let mut round = every(PRUNE);
    loop {
        round.tick().await;
        let now_ms = match desk.store.in_time(desk.store.head_and_time()).await {
            Ok((_, now_ms)) => now_ms,
            Err(error) => {
                report(Err(error));
                continue;
            }
        };
        let before = |age: Span| now_ms.saturating_sub(millis(age.duration()));
        let before_ms = before(log.retention);
        match desk.store.beyond(log.max_frames).await {
            Ok(upto) => forget(&desk, Retention { before_ms, upto }, fence).await,
            Err(error) => report(Err(error)),
        }
        report(desk.store.prune_changes(before_ms, now_ms, fence).await);
        forget_audit(&desk, before(audit.retention), fence).await;
    }
}

async fn forget_audit(desk: &Desk, before_ms: u64, fence: Fence) {
    while let Ok(true) = desk.store.prune_audit(before_ms, fence).await {}
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A few at a time, so that changes get their turn.
async fn forget(desk: &Desk, retention: Retention, fence: Fence) {
    while let Ok(count @ 1..) = desk.log.prune(retention, fence).await {
        desk.metrics.pruned_frames.inc_by(count);
    }
}
