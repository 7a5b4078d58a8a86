//! The Walrus network, and who is asked until origins are set.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{
    OriginName,
    pb::edge::v1::{Origin, OriginPool},
};
use wcdn_walrus::{BaseUrl, Encoding, Network, NetworkOperator};

/// The Walrus network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Walrus {
    /// Whose public aggregators and publishers are watched until origins are set.
    pub network: WalrusNetwork,
    /// Shards of the network: part of every blob id.
    pub n_shards: u16,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalrusNetwork {
    /// Where data is paid for and kept.
    Mainnet,
    /// Where data may be wiped without warning.
    Testnet,
    /// One of your own, without public aggregators.
    Local,
}

/// An aggregator or a publisher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginConfig {
    /// Its name in logs and metrics.
    pub name: OriginName,
    /// Where it answers, such as `https://aggregator.example.com`.
    pub url: BaseUrl,
    /// Whether its word alone is believed that there is no such blob.
    #[serde(default)]
    pub trusted: bool,
}

impl Default for Walrus {
    fn default() -> Self {
        Self { network: WalrusNetwork::Mainnet, n_shards: Encoding::PUBLIC.n_shards() }
    }
}

impl From<Network> for WalrusNetwork {
    fn from(network: Network) -> Self {
        match network {
            Network::Mainnet => Self::Mainnet,
            Network::Testnet => Self::Testnet,
        }
    }
}

impl WalrusNetwork {
    /// The public one, if it is one.
    pub fn public(self) -> Option<Network> {
        match self {
            Self::Mainnet => Some(Network::Mainnet),
            Self::Testnet => Some(Network::Testnet),
            Self::Local => None,
        }
    }
}

impl Walrus {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(error) = Encoding::new(self.n_shards) {
            problems.push("walrus.n_shards", error);
        }
    }

    /// The code of its blobs.
    ///
    /// # Panics
    /// If the configuration was not checked.
    pub fn encoding(&self) -> Encoding {
        Encoding::new(self.n_shards).expect("the number of shards was checked")
    }
}

/// The pool until one is set: those given, else those of the network.
pub(super) fn base_pool(
    walrus: &Walrus,
    origins: &[OriginConfig],
    publishers: &[OriginConfig],
) -> OriginPool {
    let either = |given: &[OriginConfig], public: fn(Network) -> Vec<NetworkOperator>| {
        let network = walrus.network.public().filter(|_| given.is_empty());
        let public = network.map(public).unwrap_or_default().into_iter().map(listed);
        given.iter().map(OriginConfig::to_wire).chain(public).collect()
    };
    OriginPool {
        revision: 0,
        origins: either(origins, Network::aggregators),
        publishers: either(publishers, Network::publishers),
    }
}

/// Of a public list.
pub(crate) fn listed(one: NetworkOperator) -> Origin {
    Origin {
        name: one.name.to_string(),
        url: one.url.to_string(),
        operator: one.operator,
        ..Origin::default()
    }
}

impl OriginConfig {
    fn to_wire(&self) -> Origin {
        Origin {
            name: self.name.to_string(),
            url: self.url.to_string(),
            trusted: self.trusted,
            ..Origin::default()
        }
    }
}

/// Names are unique: metrics and logs tell origins apart by them.
pub(super) fn check_names(key: &str, origins: &[OriginConfig], problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for twice in origins.iter().filter(|origin| !names.insert(&origin.name)) {
        problems.push(key, format!("has {} twice; names are unique", twice.name));
    }
}
