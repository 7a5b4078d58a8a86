//! How long making sense of a `Range` header takes, kind and hostile.

use divan::Bencher;
use http::{HeaderMap, HeaderValue, header::RANGE};
use wcdn_node::edge::range;

fn headers(kind: &str) -> HeaderMap {
    let value = match kind {
        "none" => return HeaderMap::new(),
        "one" => "bytes=1000-1999".to_owned(),
        "suffix" => "bytes=-100".to_owned(),
        "three" => "bytes=0-99,500-599,-100".to_owned(),
        _ => {
            let many: Vec<String> = (0..2_000).map(|n| format!("{n}0-{n}5")).collect();
            format!("bytes={}", many.join(","))
        }
    };
    HeaderMap::from_iter([(RANGE, HeaderValue::try_from(value).expect("digits"))])
}

#[divan::bench(args = ["none", "one", "suffix", "three", "two thousand"])]
fn resolve(bencher: Bencher<'_, '_>, kind: &str) {
    let headers = headers(kind);
    bencher.bench(|| range::of(divan::black_box(&headers)).resolve(10 << 20));
}

fn main() {
    divan::main();
}
