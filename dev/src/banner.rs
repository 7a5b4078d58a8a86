//! What a person sees once everything runs: where it is, and what to try.

use std::fmt::Write as _;

use crate::{Cluster, seed::Seeded};

/// The table of URLs, and commands that work when pasted.
pub fn text(cluster: &Cluster, seeded: Option<&Seeded>) -> String {
    let mut text = String::from("\n");
    let mut row = |what: &str, url: &str, note: &str| {
        writeln!(text, "  {what:<16} {url:<28} {note}").expect("writing to a string succeeds");
    };
    for edge in cluster.edges() {
        row(edge.region.as_str(), &edge.url, &format!("admin {}", edge.admin_url));
    }
    if let Some(standin) = cluster.standin() {
        row("publisher", &standin.publisher_url.to_string(), "stand-in Walrus: PUT /v1/blobs");
        for (n, url) in standin.aggregator_urls.iter().enumerate() {
            let note = "faults: PUT /_faults, counts: GET /_stats";
            row(&format!("aggregator {}", n + 1), &url.to_string(), note);
        }
    }
    text.push('\n');
    for line in commands(cluster, seeded) {
        writeln!(text, "  {line}").expect("writing to a string succeeds");
    }
    text.push_str("\n  Ctrl-C drains and stops.\n");
    text
}

fn commands(cluster: &Cluster, seeded: Option<&Seeded>) -> Vec<String> {
    let edges = cluster.edges();
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Vec::new();
    };
    let id = match seeded {
        Some(seeded) => seeded.blob.to_string(),
        None => wcdn_walrus::KNOWN_LIVE_BLOB.to_owned(),
    };
    let mut lines = vec![
        format!("curl -i {}/cdn/{id}", first.url),
        format!("curl -i {}/cdn/{id}    # again: X-Cache: HIT", first.url),
        format!("curl -i {}/cdn/{id}    # another region", last.url),
        format!("curl -i -H 'If-None-Match: \"{id}\"' {}/cdn/{id}    # 304", first.url),
        format!("curl -r -100 {}/cdn/{id}    # the tail", first.url),
    ];
    if let (Some(seeded), Some(standin)) = (seeded, cluster.standin()) {
        let Seeded { quilt, file, .. } = seeded;
        lines.extend([
            format!("curl {}/cdn/{quilt}/{file}    # a file of a quilt", first.url),
            format!("curl {}/v1/quilts/{quilt}/patches", first.url),
            format!("curl -X PUT --data-binary @README.md {}/v1/blobs", standin.publisher_url),
            format!("curl {}/metrics", first.admin_url),
        ]);
    }
    lines
}
