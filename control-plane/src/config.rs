//! What a control plane is told at start: every key with its default, and what values make sense.

mod health;
mod limits;
mod parts;
mod store;
mod walrus;

use serde::{Deserialize, Serialize};
use wcdn_daemon::{config::Problems, proxy::Proxy};
use wcdn_proto::{Span, pb::edge::v1::OriginPool};

pub use self::{
    health::Health,
    limits::Limits,
    parts::{Audit, Cluster, Cors, Gossip, Keys, Listen, Log, Receipts, Tls},
    store::{InvalidStoreUrl, Store, StoreUrl},
    walrus::{OriginConfig, Walrus, WalrusNetwork},
};
pub(crate) use self::{store::encode as url_encode, walrus::listed};

/// The configuration of a control plane. `config.example.toml` shows every key with its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Who it is among the nodes that gossip.
    pub gossip: Gossip,
    /// The certificate that is shown to operators and edges.
    pub tls: Tls,
    /// The proxies in front of it.
    pub proxy: Proxy,
    /// Where everything is kept.
    pub store: Store,
    /// How much of the past can be replayed.
    pub log: Log,
    /// The keys of the cluster.
    pub cluster: Cluster,
    /// API keys.
    pub keys: Keys,
    /// Which pages of other origins may call the REST API.
    pub cors: Cors,
    /// Who did what.
    pub audit: Audit,
    /// When a node counts as what.
    pub receipts: Receipts,
    /// The Walrus network.
    pub walrus: Walrus,
    /// The aggregators until some are set; empty means those of the network.
    #[serde(rename = "origin", skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginConfig>,
    /// The publishers until some are set; empty means those of the network.
    #[serde(rename = "publisher", skip_serializing_if = "Vec::is_empty")]
    pub publishers: Vec<OriginConfig>,
    /// How origins are watched.
    pub health: Health,
    /// What operators and edges may take.
    pub limits: Limits,
}

impl Config {
    /// Everything wrong with the values, at once.
    ///
    /// # Errors
    /// [`Problems`] names each key, its value and the remedy.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.listen.check(&mut problems);
        self.gossip.check(&self.listen, &mut problems);
        self.tls.check(&mut problems);
        self.proxy.check(&mut problems);
        self.store.check(&mut problems);
        self.log.check(&mut problems);
        self.cluster.check(&mut problems);
        self.cors.check(&mut problems);
        self.audit.check(&mut problems);
        self.receipts.check(&mut problems);
        self.walrus.check(&mut problems);
        walrus::check_names("origin", &self.origins, &mut problems);
        walrus::check_names("publisher", &self.publishers, &mut problems);
        self.health.check(&mut problems);
        self.limits.check(&mut problems);
        problems.into_result()
    }

    /// The origin pool until one is set.
    pub fn base_pool(&self) -> OriginPool {
        walrus::base_pool(&self.walrus, &self.origins, &self.publishers)
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
