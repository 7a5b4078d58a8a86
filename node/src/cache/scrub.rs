//! Looks again at what has lain in memory for long: memory forgets a bit now and then.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Cache,
    entry::{Entry, Key},
};
use crate::metrics::{Checked, Metrics};

/// Entries looked at in one go.
const BATCH: usize = 16;

/// How many times as long as it works it rests: it takes a twentieth of one core at most.
const REST: u32 = 19;

/// Runs for ever: every `after`, checks the entries that are at least as old.
pub async fn run(cache: Arc<Cache>, metrics: Arc<Metrics>, after: Duration) {
    loop {
        sleep(after).await;
        pass(&cache, &metrics, after).await;
    }
}

async fn pass(cache: &Cache, metrics: &Metrics, after: Duration) {
    let mut entries = cache.snapshot().filter(|(_, entry)| entry.age() >= after);
    loop {
        let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let checked = tokio::task::spawn_blocking(move || {
            batch.into_iter().map(|(key, entry)| (key, is_sound(&entry))).collect::<Vec<_>>()
        });
        let Ok(checked) = checked.await else { return };
        for (key, sound) in checked {
            note(cache, metrics, &key, sound);
        }
        sleep(began.elapsed() * REST).await;
    }
}

fn note(cache: &Cache, metrics: &Metrics, key: &Key, sound: bool) {
    let result = if sound { "match" } else { "mismatch" };
    metrics.scrubbed.get_or_create(&Checked { result }).inc();
    if !sound {
        tracing::error!(blob = %key.id, "bytes in memory have changed; is the memory sound?");
        cache.remove(key);
    }
}

/// Whether the bytes are still those that were admitted.
fn is_sound(entry: &Entry) -> bool {
    let mut hasher = blake3::Hasher::new();
    for slice in entry.slices() {
        hasher.update(slice);
    }
    hasher.finalize() == entry.record().digest
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use wcdn_proto::{BlobId, Position};

    use super::*;
    use crate::{
        cache::{
            Lookup,
            entry::{Level, Part, Record, cost},
        },
        config,
        edge::{media::MediaType, validator},
        events::Log,
    };

    fn admit(cache: &Cache, n: u8, body: &'static [u8], digest: blake3::Hash) -> Key {
        let key = Key { id: BlobId::from_bytes([n; 32]), part: Part::Whole };
        let length = body.len() as u64;
        let record = Record {
            length,
            total: length,
            media: MediaType::OCTET_STREAM,
            level: Level::Full,
            digest,
            token: Position::ORIGIN,
            inserted: SystemTime::now() - Duration::from_secs(60),
        };
        let held = cache.reserve(cost(length)).unwrap();
        let etag = validator::etag(&key.id);
        let entry = Entry::new(record, etag, vec![Bytes::from_static(body)], held);
        cache.admit(key, Arc::new(entry));
        key
    }

    #[tokio::test]
    async fn bytes_that_changed_are_dropped_and_sound_ones_stay() {
        let cache = Cache::new(&config::Cache::default(), true, Log::none());
        let (metrics, _) = Metrics::new("test", "test");
        let sound = admit(&cache, 1, b"as admitted", blake3::hash(b"as admitted"));
        let rotten = admit(&cache, 2, b"as admittec", blake3::hash(b"as admitted"));
        let young = Duration::from_secs(3_600);
        pass(&cache, &metrics, young).await;
        assert!(matches!(cache.lookup(&rotten), Lookup::Hit(_)), "it is not held for long yet");
        pass(&cache, &metrics, Duration::from_secs(30)).await;
        assert!(matches!(cache.lookup(&sound), Lookup::Hit(_)));
        assert!(matches!(cache.lookup(&rotten), Lookup::Miss));
    }
}
