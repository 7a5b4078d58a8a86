//! What a person sees once everything runs: where it is, and what to try.

use std::fmt::Write as _;

use crate::{Apart, Cluster, apart::Run, redis::RedisServer, seed::Seeded};

/// What the table is made of.
#[derive(Debug)]
pub struct Banner<'a> {
    /// What it all stands on.
    ground: &'a Cluster,
    edges: Vec<Edge<'a>>,
    desks: Vec<Desk<'a>>,
}

#[derive(Debug)]
struct Edge<'a> {
    region: &'a str,
    url: &'a str,
    admin_url: &'a str,
    run: Option<&'a Run>,
}

#[derive(Debug)]
struct Desk<'a> {
    grpc: String,
    http: String,
    admin: String,
    key: &'a str,
    run: Option<&'a Run>,
}

impl<'a> Banner<'a> {
    /// Of a system in this process.
    pub fn of(cluster: &'a Cluster) -> Self {
        let edges = cluster.edges().iter().map(|edge| Edge {
            region: edge.region.as_str(),
            url: &edge.url,
            admin_url: &edge.admin_url,
            run: None,
        });
        let desks = cluster.desks().map(|desk| Desk {
            grpc: desk.grpc.to_string(),
            http: desk.http.to_string(),
            admin: desk.admin.to_string(),
            key: &desk.key,
            run: None,
        });
        Self { ground: cluster, edges: edges.collect(), desks: desks.collect() }
    }

    /// Of a system in many.
    pub fn of_apart(apart: &'a Apart) -> Self {
        let edges = apart.edges().iter().map(|edge| Edge {
            region: edge.region.as_str(),
            url: &edge.url,
            admin_url: &edge.admin_url,
            run: Some(&edge.run),
        });
        let desks = apart.desks().iter().map(|desk| Desk {
            grpc: desk.grpc.to_string(),
            http: desk.http.to_string(),
            admin: desk.admin.to_string(),
            key: &desk.key,
            run: Some(&desk.run),
        });
        Self { ground: apart.ground(), edges: edges.collect(), desks: desks.collect() }
    }

    /// The table of URLs, and commands that work when pasted.
    pub fn text(&self, seeded: Option<&Seeded>) -> String {
        let mut text = String::from("\n");
        for (what, where_to, note) in self.rows() {
            let row = format!("  {what:<16} {where_to:<28} {note}");
            text.push_str(row.trim_end());
            text.push('\n');
        }
        for (what, command) in self.commands(seeded) {
            write!(text, "\n  {what}\n    {command}\n").expect("writing to a string succeeds");
        }
        text.push_str("\n  Ctrl-C drains and stops.\n");
        text
    }

    fn rows(&self) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, place: String, note: String| {
            rows.push((what.to_owned(), place, note));
        };
        for edge in &self.edges {
            let note = format!("admin {}{}", edge.admin_url, process(edge.run));
            row(edge.region, edge.url.to_owned(), note);
        }
        for (n, desk) in self.desks.iter().enumerate() {
            let name =
                if n == 0 { "control plane".into() } else { format!("control plane {}", n + 1) };
            let note = format!("REST: try it at /docs{}", process(desk.run));
            row(&name, format!("http://{}", desk.http), note);
            row("", format!("http://{}", desk.grpc), "gRPC, with reflection".into());
            row("", format!("http://{}", desk.admin), "its /livez /readyz /metrics".into());
        }
        if let Some(desk) = self.desks.first() {
            row("API key", desk.key.to_owned(), String::new());
        }
        if let Some(postgres) = self.ground.postgres() {
            row("postgres", postgres.url("wcdn"), "what the control planes share".into());
        }
        for own in self.ground.redis() {
            row("redis", own.server.url(), redis(own.region.as_str(), &own.server));
        }
        if self.ground.redis().is_empty() {
            let note = "install redis-server for a tier that a region shares";
            row("redis", "none".into(), note.into());
        }
        if let Some(standin) = self.ground.standin() {
            let publisher = standin.publisher_url.to_string();
            row("publisher", publisher, "stand-in Walrus: PUT /v1/blobs".into());
            for (n, url) in standin.aggregator_urls.iter().enumerate() {
                let note = "faults: PUT /_faults, counts: GET /_stats";
                row(&format!("aggregator {}", n + 1), url.to_string(), note.into());
            }
        }
        rows
    }

    /// What each command shows, and the command: apart, for not every shell takes comments.
    fn commands(&self, seeded: Option<&Seeded>) -> Vec<(&'static str, String)> {
        let (Some(first), Some(last)) = (self.edges.first(), self.edges.last()) else {
            return Vec::new();
        };
        let id = match seeded {
            Some(seeded) => seeded.blob.to_string(),
            None => wcdn_walrus::KNOWN_LIVE_BLOB.to_owned(),
        };
        let blob = format!("{}/cdn/{id}", first.url);
        let mut commands = vec![
            (
                "a blob: X-Cache says MISS, and HIT from the second time on",
                format!("curl -i {blob}"),
            ),
            ("the same from another region", format!("curl -i {}/cdn/{id}", last.url)),
            ("304 for whoever has it", format!("curl -i -H 'If-None-Match: \"{id}\"' {blob}")),
            ("its last 100 bytes", format!("curl -r -100 {blob}")),
        ];
        if let (Some(seeded), Some(standin)) = (seeded, self.ground.standin()) {
            let Seeded { quilt, file, .. } = seeded;
            let publisher = &standin.publisher_url;
            commands.extend([
                ("a file of a quilt", format!("curl {}/cdn/{quilt}/{file}", first.url)),
                ("the files of a quilt", format!("curl {}/v1/quilts/{quilt}/patches", first.url)),
                ("store one", format!("curl -X PUT --data-binary @README.md {publisher}/v1/blobs")),
                ("what an edge counts", format!("curl {}/metrics", first.admin_url)),
            ]);
        }
        if let Some(desk) = self.desks.first() {
            let all: Vec<&str> = self.desks.iter().map(|desk| desk.grpc.as_str()).collect();
            let (all, key) = (all.join(","), desk.key);
            let wcdn = format!("WCDN_ENDPOINT={all} WCDN_API_KEY={key} target/release/wcdn");
            commands.extend([
                ("remove it from every edge, with a receipt", format!("{wcdn} purge {id} --wait")),
                ("every edge, and how far it has followed", format!("{wcdn} nodes")),
                (
                    "the same by REST",
                    format!("curl -H 'X-API-Key: {key}' http://{}/api/v1/nodes", desk.http),
                ),
            ]);
        }
        if let Some(run) = last.run {
            commands.extend([
                ("kill the last edge", format!("kill -9 {}", run.pid)),
                ("and start it again, here or in another terminal", run.command.clone()),
            ]);
        }
        commands
    }
}

fn process(run: Option<&Run>) -> String {
    run.map_or_else(String::new, |run| format!(", process {}", run.pid))
}

fn redis(region: &str, server: &RedisServer) -> String {
    format!("of {region}, process {}", server.pid())
}
