//! How long finding an entry in memory takes.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use divan::Bencher;
use wcdn_node::{
    cache::{
        Cache,
        entry::{Entry, Key, Level, Part, Record},
    },
    config,
    edge::{media::MediaType, validator},
    events::Log,
};
use wcdn_proto::{BlobId, Position};

const ENTRIES: u32 = 10_000;

fn key(n: u32) -> Key {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Key { id: BlobId::from_bytes(bytes), part: Part::Whole }
}

fn filled() -> Cache {
    let cache = Cache::new(&config::Cache::default(), true, Log::none());
    let body = Bytes::from_static(&[1; 1024]);
    for n in 0..ENTRIES {
        let record = Record {
            length: 1024,
            total: 1024,
            media: MediaType::OCTET_STREAM,
            level: Level::Full,
            digest: blake3::hash(&body),
            token: Position::ORIGIN,
            inserted: SystemTime::now(),
        };
        let held = cache.reserve(1024 + 512).expect("there is room");
        let etag = validator::etag(&key(n).id);
        let entry = Entry::new(record, etag, vec![body.clone()], held);
        cache.admit(key(n), Arc::new(entry));
    }
    cache
}

#[divan::bench(threads = [1, 2])]
fn hit(bencher: Bencher<'_, '_>) {
    let cache = filled();
    let keys: Vec<Key> = (0..ENTRIES).map(key).collect();
    let next = std::sync::atomic::AtomicU32::new(0);
    bencher.bench(|| {
        let n = next.fetch_add(7, std::sync::atomic::Ordering::Relaxed) % ENTRIES;
        cache.lookup(&keys[n as usize])
    });
}

#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let cache = filled();
    let absent = key(ENTRIES + 1);
    bencher.bench(|| cache.lookup(&absent));
}

fn main() {
    divan::main();
}
