//! Keeps the connections to Redis: makes them, and finds out when what was silent answers again.
//!
//! Viewers never wait for any of this.

use std::{future::pending, sync::Arc, time::Duration};

use redis::Cmd;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use wcdn_proto::BlobId;

use super::{Shared, link::Link, record::record_key};
use crate::metrics::redis::{Operation, Result as Counted};

/// From one attempt to connect to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long making every connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// Failed probes in a row after which connections are made anew: those of a server that was
/// restarted never answer again, and a cluster may have moved as a whole.
const PROBES_PER_LINK: u32 = 3;

/// Runs for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut was_away = false;
    loop {
        let lost = Arc::new(Notify::new());
        connect(&shared, &lost, &mut was_away).await;
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

/// Connects, however long it takes.
async fn connect(shared: &Shared, lost: &Arc<Notify>, was_away: &mut bool) {
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match timeout(CONNECT_DEADLINE, links(shared, lost)).await {
            Ok(Ok(links)) => {
                *shared.lanes.lock() = super::Lanes::new(shared.settings.cluster);
                shared.links.store(Some(Arc::new(links)));
                shared.tried.cancel();
                tracing::info!(cluster = shared.settings.cluster, "redis is connected");
                return;
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
    let mut links = Vec::new();
    for _ in 0..=shared.settings.connections {
        let mut link = Link::connect(&shared.settings, lost).await?;
        if let Link::Server(_) = link {
            link.ask::<()>(redis::cmd("PING").arg("wcdn")).await?;
        }
        links.push(link);
    }
    Ok(links)
}

/// Probes closed lanes; returns when the connections must be made anew.
async fn watch(shared: &Shared) {
    let mut failed = 0;
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
        let probes = shared.lanes.lock().due(Instant::now());
        for id in probes {
            if answers(shared, &id).await {
                failed = 0;
                shared.lanes.lock().open(&id);
            } else {
                failed += 1;
            }
        }
        shared.show();
        if failed >= PROBES_PER_LINK {
            return;
        }
        if shared.lanes.lock().all_open() && closed_since.take().is_some() {
            tracing::info!("redis answers again");
            shared.healed.notify_one();
        }
    }
}

async fn answers(shared: &Shared, id: &BlobId) -> bool {
    let Some(mut link) = shared.reading(id) else { return false };
    let mut command = Cmd::new();
    command.arg("EXISTS").arg(record_key(id));
    let answer = timeout(shared.settings.timeout, link.ask::<u64>(&command)).await;
    let answers = matches!(answer, Ok(Ok(_)));
    let counted = if answers { Counted::Hit } else { Counted::Outage };
    shared.metrics.count(Operation::Probe, counted);
    answers
}
