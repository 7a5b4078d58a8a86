//! Gives Redis back what it lost, slowly: a restarted one is empty, and all nodes of a region see
//! it come back at the same moment.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::time::sleep;

use super::Redis;
use crate::cache::{Cache, entry::Part};

/// The longest wait before a node begins, so that those of a region do not all write the same.
const SPREAD: Duration = Duration::from_secs(2);

/// Between two entries: at most a hundred are looked at in a second.
const PACE: Duration = Duration::from_millis(10);

/// Runs for ever: each time Redis is back, offers it the verified blobs in memory that it lacks.
pub async fn run(redis: Redis, cache: Arc<Cache>) {
    loop {
        redis.shared.healed.notified().await;
        let wait = rand::rng().random_range(Duration::ZERO..SPREAD);
        sleep(wait).await;
        let written = rewarm(&redis, &cache).await;
        if written > 0 {
            tracing::info!(written, "blobs in memory were given back to redis");
        }
    }
}

async fn rewarm(redis: &Redis, cache: &Cache) -> usize {
    let mut written = 0;
    for (key, entry) in cache.snapshot() {
        let record = entry.record();
        let is_whole = key.part == Part::Whole;
        if !is_whole
            || !record.level.is_verified()
            || record.length > redis.shared.settings.max_blob
        {
            continue;
        }
        let is_removed = redis.shared.log.removed.covers(&key.id, record.token);
        if is_removed || !redis.shared.lanes.lock().is_open(&key.id) {
            continue;
        }
        sleep(PACE).await;
        if !redis.holds(&key.id).await && redis.write(&key.id, &entry).await {
            written += 1;
        }
    }
    written
}
