//! Preloads: begun, and watched.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};
use wcdn_proto::pb::admin::v1 as admin;

use super::{
    parse,
    stream::{self, Feed, Sent},
};
use crate::{
    audit::{Class, Draft},
    auth::Caller,
    desk::Desk,
    refusal::Refusal,
    store::now_ms,
};

/// Between two messages.
const BETWEEN: Duration = Duration::from_millis(200);

pub(crate) fn begin(
    desk: &Desk,
    caller: &Caller,
    request: admin::PreloadRequest,
) -> Result<admin::PreloadResponse, Refusal> {
    let ids = parse::pinned(&request.ids)?;
    let regions = parse::regions(&request.regions)?;
    let mut preloads = desk.preloads.lock();
    let id = preloads.begin(&ids, regions, Instant::now(), now_ms())?;
    let draft = Draft::done(Class::Operation, "preload", caller.author());
    let detail = json!({"ids": ids.len(), "regions": request.regions});
    desk.audit.note(Draft { target: id.clone(), detail, ..draft });
    tracing::info!(job = id, by = caller.key.name, blobs = ids.len(), "preload begins");
    Ok(admin::PreloadResponse { job: preloads.standing(&id) })
}

pub(crate) fn watch(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::WatchPreloadRequest,
) -> Result<Sent<admin::WatchPreloadResponse>, Refusal> {
    let room = desk.room_to_watch()?;
    let id = request.job_id;
    // It is told at once if there is no such job.
    standing(desk, &id)?;
    Ok(stream::begin(desk, room, caller.deadline, |desk, feed| async move {
        follow(&desk, &feed, &id).await
    }))
}

async fn follow(
    desk: &Desk,
    feed: &Feed<admin::WatchPreloadResponse>,
    id: &str,
) -> Result<(), Refusal> {
    let mut bell = desk.preloads.lock().bell();
    let mut sent = None;
    loop {
        bell.mark_unchanged();
        let job = standing(desk, id)?;
        let is_settled = job.settled;
        if sent.as_ref() != Some(&job) {
            feed.send(admin::WatchPreloadResponse { job: Some(job.clone()) }).await?;
            sent = Some(job);
        }
        if is_settled {
            return Ok(());
        }
        sleep(BETWEEN).await;
        // The desk has its other end.
        drop(bell.changed().await);
    }
}

/// How far a preload is.
pub(crate) fn standing(desk: &Desk, id: &str) -> Result<admin::PreloadJob, Refusal> {
    let unknown = || Refusal::NoPreload { id: id.chars().take(80).collect() };
    desk.preloads.lock().standing(id).ok_or_else(unknown)
}
