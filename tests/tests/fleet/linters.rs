//! What others who know HTTP find wrong: nothing that is not named here.

use bytes::Bytes;
use wcdn_proto::BlobId;
use wcdn_tests::{
    Fleet, bytes,
    redbot::{Note, Probe, lint},
};

/// What REDbot warns of though it is as it should be: its name for it, and the probe, or `""` where
/// every one may have it.
const NO_FAULTS: [(&str, &str); 6] = [
    // It lets caches keep the answer to a request with Authorization, too (RFC 9111 §3.5): blobs
    // are the same for everybody.
    ("STORE_PUBLIC_UNNECESSARY", ""),
    // Several ranges have a Content-Range in each part, and must have none in the head
    // (RFC 9110 §15.3.7.2).
    ("PARTIAL_WITHOUT_RANGE", "ranges"),
    // What is sent before it is checked has a validator of its own, so that no client joins it to
    // the blob; what follows is the blob, checked, under its id.
    ("RANGE_CHANGED", "streamed"),
    ("INM_FULL", "streamed"),
    // The request is meant to be wrong.
    ("STATUS_BAD_REQUEST", "nonsense"),
    ("STATUS_BAD_REQUEST", "outside"),
];

fn is_no_fault(note: &Note) -> bool {
    NO_FAULTS.iter().any(|(name, probe)| note.note == *name && ["", &note.probe].contains(probe))
}

async fn probes(fleet: &Fleet) -> Vec<Probe> {
    let text: Bytes = "A walrus has tusks.\n".repeat(500).into();
    let cached = fleet.store(text.clone()).await;
    let uncached = fleet.store(bytes(1, 50_000)).await;
    let streamed = fleet.store(bytes(2, 3_000_000)).await;
    let page = format!("<!doctype html><title>Tusks</title>{}", "<p>They are long.".repeat(50));
    let page = fleet.store(page.into()).await;
    let (quilt, _) = fleet.store_quilt(&[("tusks.txt", text, "text/plain")]).await;
    fleet.get(&format!("/cdn/{cached}")).await;
    let missing = BlobId::from_bytes([7; 32]);
    let at = |path: String| fleet.edge(0, &path);
    let blob = || at(format!("/cdn/{cached}"));
    let part = |range| at(format!("/v1/blobs/{cached}/byte-range?{range}"));
    vec![
        Probe::get("cached", blob()),
        Probe::get("uncached", at(format!("/cdn/{uncached}"))),
        Probe::get("streamed", at(format!("/cdn/{streamed}"))),
        Probe::get("page", at(format!("/cdn/{page}"))),
        Probe::get("aggregator", at(format!("/v1/blobs/{cached}"))),
        Probe::get("file", at(format!("/cdn/{quilt}/tusks.txt"))),
        Probe::get("files", at(format!("/v1/quilts/{quilt}/patches"))),
        Probe::new("head", "HEAD", blob()),
        Probe::get("not modified", blob()).header("if-none-match", format!("\"{cached}\"")),
        Probe::get("precondition", blob()).header("if-match", "\"other\""),
        Probe::get("range", blob()).header("range", "bytes=10-99"),
        Probe::get("ranges", blob()).header("range", "bytes=10-99,200-299"),
        Probe::get("unsatisfiable", blob()).header("range", "bytes=1000000-"),
        Probe::get("byte-range", part("start=10&length=90")),
        Probe::get("outside", part("start=10&length=1000000")),
        Probe::get("missing", at(format!("/cdn/{missing}"))),
        Probe::get("missing there, too", at(format!("/v1/blobs/{missing}"))),
        Probe::get("nonsense", at("/cdn/nonsense".into())),
        Probe::get("nowhere", at("/nowhere".into())),
        Probe::new("preflight", "OPTIONS", blob())
            .header("origin", "https://walrus.example")
            .header("access-control-request-method", "GET"),
        Probe::new("refused", "DELETE", blob()),
        Probe::get("status", at("/status".into())),
    ]
}

#[tokio::test]
async fn a_linter_of_http_finds_nothing_wrong() {
    let fleet = Fleet::start().await;
    let notes = lint(&probes(&fleet).await).await;
    let (bad, good): (Vec<&Note>, Vec<&Note>) =
        notes.iter().partition(|note| matches!(note.level.as_str(), "warning" | "bad"));
    let faults: Vec<_> = bad.iter().filter(|note| !is_no_fault(note)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for (name, probe) in NO_FAULTS {
        let is_needed =
            bad.iter().any(|note| note.note == name && ["", &note.probe].contains(&probe));
        assert!(is_needed, "{name} of {probe:?} is excused, but nobody finds it any more");
    }
    for probe in ["cached", "uncached", "page", "aggregator", "file"] {
        for praise in ["RANGE_CORRECT", "INM_304"] {
            let is_there = good.iter().any(|note| note.probe == probe && note.note == praise);
            assert!(is_there, "{probe} was not tried for {praise}: {notes:#?}");
        }
    }
}
