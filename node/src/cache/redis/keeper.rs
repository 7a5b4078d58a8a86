//! Keeps the connections to Redis: makes them, and finds out when what was silent answers again.
//!
//! Viewers never wait for any of this.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
use redis::Cmd;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use wcdn_proto::BlobId;

use super::{Shared, lanes::Lanes, link::Link, reading};
use crate::metrics::redis::{Operation, Result as Counted};

/// From one attempt to connect to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long making every connection may take: a cluster is looked for at one node after another.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Rounds in a row in which nothing at all answered, after which connections are made anew: those
/// of a server that was restarted never answer again, and a cluster may have moved as a whole.
const ROUNDS_PER_LINK: u32 = 3;

/// An outage shorter than this leaves nothing to be given back.
const SHORT_OUTAGE: Duration = Duration::from_secs(1);

/// Runs for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut was_away = false;
    loop {
        let lost = connect(&shared, &mut was_away).await;
        shared.show();
        if std::mem::take(&mut was_away) {
            shared.healed.notify_one();
        }
        tokio::select! {
            () = watch(&shared) => {}
            () = lost.notified() => tracing::warn!("redis closed the connection"),
        }
        was_away = true;
        shared.links.store(None);
        shared.show();
    }
}

/// Connects, however long it takes; what it returns is woken when the connection ends.
async fn connect(shared: &Shared, was_away: &mut bool) -> Arc<Notify> {
    let mut pause = FIRST_PAUSE;
    loop {
        // One for each attempt: connections that came to nothing end, too.
        let lost = Arc::new(Notify::new());
        let failure = match timeout(CONNECT_DEADLINE, links(shared, &lost)).await {
            Ok(Ok(links)) => {
                *shared.lanes.lock() = Lanes::new(shared.settings.cluster);
                shared.links.store(Some(Arc::new(links)));
                shared.tried.cancel();
                tracing::info!(cluster = shared.settings.cluster, "redis is connected");
                return lost;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        if !std::mem::replace(was_away, true) {
            tracing::warn!(error = failure, "cannot reach redis; serving from memory and origins");
        }
        shared.tried.cancel();
        shared.metrics.count(Operation::Connect, Counted::Outage);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn links(shared: &Shared, lost: &Arc<Notify>) -> Result<Vec<Link>, redis::RedisError> {
    let connecting = (0..=shared.settings.connections).map(|_| async {
        let mut link = Link::connect(&shared.settings, lost).await?;
        if let Link::Server(_) = link {
            link.ask::<()>(redis::cmd("PING").arg("wcdn")).await?;
        }
        Ok(link)
    });
    try_join_all(connecting).await
}

/// Probes closed lanes; returns when the connections must be made anew.
async fn watch(shared: &Shared) {
    let mut silent_rounds = 0;
    let mut closed_since: Option<Instant> = None;
    loop {
        let next = shared.lanes.lock().next();
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = shared.closed.notified() => {
                closed_since.get_or_insert_with(Instant::now);
                continue;
            }
        }
        probe(shared).await;
        // As long as some of it answers, a cluster sees to the rest by itself.
        let is_silent = shared.lanes.lock().all_closed();
        silent_rounds = if is_silent { silent_rounds + 1 } else { 0 };
        shared.show();
        if silent_rounds >= ROUNDS_PER_LINK {
            return;
        }
        if shared.lanes.lock().all_open()
            && let Some(since) = closed_since.take()
        {
            tracing::info!("redis answers again");
            if since.elapsed() >= SHORT_OUTAGE {
                shared.healed.notify_one();
            }
        }
    }
}

/// Asks for a blob of each lane that is due, and opens those that answer.
async fn probe(shared: &Shared) {
    let due = shared.lanes.lock().due(Instant::now());
    let answers = due.into_iter().map(|id| async move {
        if answers(shared, &id).await {
            shared.lanes.lock().open(&id, Instant::now());
        }
    });
    join_all(answers).await;
}

async fn answers(shared: &Shared, id: &BlobId) -> bool {
    let Some(links) = shared.links.load_full() else { return false };
    let Some(mut link) = reading(&links, id) else { return false };
    let mut command = Cmd::new();
    command.arg("EXISTS").arg(shared.place(id).record());
    let answer = timeout(shared.settings.timeout, link.ask::<u64>(&command)).await;
    let answers = matches!(answer, Ok(Ok(_)));
    let counted = if answers { Counted::Hit } else { Counted::Outage };
    shared.metrics.count(Operation::Probe, counted);
    answers
}
