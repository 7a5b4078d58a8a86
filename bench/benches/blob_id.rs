//! How long the id of a blob takes, by size, at the 1000 shards of the public networks.

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use wcdn_walrus::{Encoding, SliverHashes, blob_id};

const SIZES: [usize; 5] = [1, 1 << 10, 100 << 10, 1 << 20, 10 << 20];

fn blob(size: usize) -> Vec<Bytes> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    vec![(0..size).map(next).collect()]
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn compute(bencher: Bencher<'_, '_>, size: usize) {
    let blob = blob(size);
    bencher.counter(BytesCount::new(size)).bench(|| blob_id(Encoding::PUBLIC, &blob));
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn check_with_metadata(bencher: Bencher<'_, '_>, size: usize) {
    let blob = blob(size);
    let hashes = SliverHashes::compute(Encoding::PUBLIC, &blob).expect("small enough");
    bencher.counter(BytesCount::new(size)).bench(|| hashes.check(&blob));
}

#[divan::bench(args = SIZES, sample_count = 5)]
fn blake3_of_the_same(bencher: Bencher<'_, '_>, size: usize) {
    let blob = blob(size);
    bencher.counter(BytesCount::new(size)).bench(|| blake3::hash(&blob[0]));
}

fn main() {
    divan::main();
}
