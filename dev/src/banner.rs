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
    if let Some(desk) = cluster.desk() {
        row("control plane", &format!("http://{}", desk.grpc), "gRPC, with reflection");
        row("", &format!("http://{}", desk.admin), "its /livez /readyz /metrics");
        row("API key", &desk.key, "");
    }
    for own in cluster.redis() {
        row(
            "redis",
            &own.server.url(),
            &format!("of {}, process {}", own.region, own.server.pid()),
        );
    }
    if cluster.redis().is_empty() {
        row("redis", "none", "install redis-server for a tier that a region shares");
    }
    if let Some(standin) = cluster.standin() {
        row("publisher", &standin.publisher_url.to_string(), "stand-in Walrus: PUT /v1/blobs");
        for (n, url) in standin.aggregator_urls.iter().enumerate() {
            let note = "faults: PUT /_faults, counts: GET /_stats";
            row(&format!("aggregator {}", n + 1), &url.to_string(), note);
        }
    }
    for (what, command) in commands(cluster, seeded) {
        write!(text, "\n  {what}\n    {command}\n").expect("writing to a string succeeds");
    }
    text.push_str("\n  Ctrl-C drains and stops.\n");
    text
}

/// What each command shows, and the command: apart, for not every shell takes comments.
fn commands(cluster: &Cluster, seeded: Option<&Seeded>) -> Vec<(&'static str, String)> {
    let edges = cluster.edges();
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return Vec::new() };
    let id = match seeded {
        Some(seeded) => seeded.blob.to_string(),
        None => wcdn_walrus::KNOWN_LIVE_BLOB.to_owned(),
    };
    let blob = format!("{}/cdn/{id}", first.url);
    let mut commands = vec![
        ("a blob: X-Cache says MISS, and HIT from the second time on", format!("curl -i {blob}")),
        ("the same from another region", format!("curl -i {}/cdn/{id}", last.url)),
        ("304 for whoever has it", format!("curl -i -H 'If-None-Match: \"{id}\"' {blob}")),
        ("its last 100 bytes", format!("curl -r -100 {blob}")),
    ];
    if let (Some(seeded), Some(standin)) = (seeded, cluster.standin()) {
        let Seeded { quilt, file, .. } = seeded;
        let publisher = &standin.publisher_url;
        commands.extend([
            ("a file of a quilt", format!("curl {}/cdn/{quilt}/{file}", first.url)),
            ("the files of a quilt", format!("curl {}/v1/quilts/{quilt}/patches", first.url)),
            ("store one", format!("curl -X PUT --data-binary @README.md {publisher}/v1/blobs")),
            ("what an edge counts", format!("curl {}/metrics", first.admin_url)),
        ]);
    }
    if let Some(desk) = cluster.desk() {
        let wcdn = format!(
            "WCDN_ENDPOINT=http://{} WCDN_API_KEY={} target/release/wcdn",
            desk.grpc, desk.key
        );
        commands.extend([
            ("remove it from every edge, with a receipt", format!("{wcdn} purge {id} --wait")),
            ("every edge, and how far it has followed", format!("{wcdn} nodes")),
        ]);
    }
    commands
}
