//! What an edge is told at start: every key with its default, and what values make sense.

mod access_log;
mod cache;
mod control;
mod cors;
mod dns;
mod fetch;
mod limits;
mod peer;
mod place;
mod redis;
mod tls;
mod verify;
mod walrus;

use serde::{Deserialize, Serialize};
use wcdn_daemon::{config::Problems, proxy::Proxy};
use wcdn_proto::{ByteSize, Span};

pub use self::{
    access_log::{AccessLog, LogFormat},
    cache::Cache,
    control::{Control, Gossip},
    cors::Cors,
    dns::Dns,
    fetch::Fetch,
    limits::Limits,
    peer::Peer,
    place::{Identity, Listen},
    redis::{Cluster, Redis},
    tls::{Hsts, Tls},
    verify::{Mode, Verify},
    walrus::{OriginSpec, Walrus},
};

/// The configuration of an edge. `config.example.toml` shows every key with its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this node is.
    pub node: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// The certificate that viewers are shown.
    pub tls: Tls,
    /// The web pages that may read responses.
    pub cors: Cors,
    /// The proxies in front of it.
    pub proxy: Proxy,
    /// The Walrus network it serves.
    pub walrus: Walrus,
    /// The aggregators to fill from; empty means those of the network.
    #[serde(rename = "origin", skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginSpec>,
    /// What is kept, and in how much memory.
    pub cache: Cache,
    /// The tier that the nodes of a region share.
    pub redis: Redis,
    /// What the nodes of a cluster share.
    pub cluster: Cluster,
    /// The control plane that it follows.
    pub control: Control,
    /// How it hears of events.
    pub gossip: Gossip,
    /// How the nodes of a region read through each other.
    pub peer: Peer,
    /// How bytes are checked against their id.
    pub verify: Verify,
    /// How origins are asked.
    pub fetch: Fetch,
    /// How the names of origins are looked up.
    pub dns: Dns,
    /// What viewers may take.
    pub limits: Limits,
    /// The log of requests.
    pub access_log: AccessLog,
}

impl Config {
    /// Everything wrong with the values, at once.
    ///
    /// # Errors
    /// [`Problems`] names each key, its value and the remedy.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.listen.check(&mut problems);
        self.tls.check(&self.listen, &mut problems);
        self.cors.check(&mut problems);
        self.proxy.check(&mut problems);
        self.walrus.check(&mut problems);
        walrus::check_origins(&self.origins, &mut problems);
        self.cache.check(&mut problems);
        self.redis.check(&self.cluster, &mut problems);
        self.cluster.check(&mut problems);
        self.control.check(&self.cluster, &mut problems);
        self.gossip.check(&self.control, &self.cluster, &mut problems);
        self.peer.check(&self.listen, &self.gossip, &mut problems);
        self.verify.check(&mut problems);
        self.fetch.check(&mut problems);
        if self.fetch.slice.bytes() > self.cache.memory.bytes() / 16 {
            let (slice, memory) = (self.fetch.slice, self.cache.memory);
            problems.push(
                "fetch.slice",
                format!("is {slice}; the most is a sixteenth of cache.memory ({memory})"),
            );
        }
        self.dns.check(&mut problems);
        self.limits.check(&self.fetch, &mut problems);
        self.access_log.check(&mut problems);
        problems.into_result()
    }

    /// The origins to use: those given, or the network's.
    pub fn origins(&self) -> Vec<OriginSpec> {
        if self.origins.is_empty() { self.walrus.aggregators() } else { self.origins.clone() }
    }
}

fn at_least(problems: &mut Problems, key: &str, value: ByteSize, least: ByteSize) {
    if value < least {
        problems.push(key, format!("is {value}; the least is {least}"));
    }
}

fn not_zero<'a>(problems: &mut Problems, counts: impl IntoIterator<Item = (&'a str, usize)>) {
    for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
        problems.push(key, "is 0; the least is 1");
    }
}

fn takes_time<'a>(problems: &mut Problems, spans: impl IntoIterator<Item = (&'a str, Span)>) {
    for (key, _) in spans.into_iter().filter(|(_, span)| span.duration().is_zero()) {
        problems.push(key, "is 0; waiting for no time at all would refuse everything");
    }
}

#[cfg(test)]
mod tests;
