//! The Walrus network, and the aggregators to fill from.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::OriginName;
use wcdn_walrus::{BaseUrl, Encoding, Network};

/// The Walrus network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Walrus {
    /// Whose public aggregators to use when no `[[origin]]` is given.
    pub network: Network,
    /// Shards of the network: part of every blob id. Both public networks have 1000.
    pub n_shards: u16,
}

/// One aggregator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginSpec {
    /// Its name in logs and metrics.
    pub name: OriginName,
    /// Where it answers, such as `https://aggregator.example.com`.
    pub url: BaseUrl,
    /// Whether its word alone is believed that there is no such blob, or that it is withheld.
    #[serde(default)]
    pub trusted: bool,
}

impl OriginSpec {
    /// An aggregator that is not trusted.
    pub fn new(name: OriginName, url: BaseUrl) -> Self {
        Self { name, url, trusted: false }
    }
}

impl Default for Walrus {
    fn default() -> Self {
        Self { network: Network::Mainnet, n_shards: Encoding::PUBLIC.n_shards() }
    }
}

impl Walrus {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(error) = Encoding::new(self.n_shards) {
            problems.push("walrus.n_shards", error);
        }
    }

    /// The network's public aggregators.
    pub(super) fn aggregators(&self) -> Vec<OriginSpec> {
        let operators = self.network.aggregators().into_iter();
        operators.map(|one| OriginSpec::new(one.name, one.url)).collect()
    }
}

/// Names are unique: metrics and logs tell origins apart by them.
pub(super) fn check_origins(origins: &[OriginSpec], problems: &mut Problems) {
    let mut names: Vec<_> = origins.iter().map(|origin| &origin.name).collect();
    names.sort();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        problems.push("origin", format!("has {} twice; names are unique", pair[0]));
    }
}
