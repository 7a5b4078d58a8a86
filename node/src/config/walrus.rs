//! The Walrus network, and the aggregators to fill from.

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{OriginName, pb::edge::v1 as edge};
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
    /// Its share of blobs among others that are as fast, 1 to 1000.
    #[serde(default = "usual_weight", skip_serializing_if = "is_usual")]
    pub weight: u32,
    /// Whether it is asked only where no other serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ejected: bool,
}

/// Of an origin of which nothing else is said.
const USUAL_WEIGHT: u32 = 100;

/// The most.
const MAX_WEIGHT: u32 = 1_000;

fn usual_weight() -> u32 {
    USUAL_WEIGHT
}

fn is_usual(weight: &u32) -> bool {
    *weight == USUAL_WEIGHT
}

impl OriginSpec {
    /// An aggregator that is not trusted.
    pub fn new(name: OriginName, url: BaseUrl) -> Self {
        Self { name, url, trusted: false, weight: USUAL_WEIGHT, ejected: false }
    }

    /// As a control plane names it; none if its name or URL is none.
    pub fn read(wire: &edge::Origin) -> Option<Self> {
        let weight = if wire.weight == 0 { USUAL_WEIGHT } else { wire.weight.min(MAX_WEIGHT) };
        Some(Self {
            name: wire.name.parse().ok()?,
            url: wire.url.parse().ok()?,
            trusted: wire.trusted,
            weight,
            ejected: wire.ejected,
        })
    }

    /// Whether both are the same aggregator, on whatever terms.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |spec: &Self| (spec.name.clone(), spec.url.clone(), spec.trusted);
        place(self) == place(other)
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
    for origin in origins.iter().filter(|origin| !(1..=MAX_WEIGHT).contains(&origin.weight)) {
        let (name, weight) = (&origin.name, origin.weight);
        let problem = format!("{name} has weight {weight}; it lies between 1 and {MAX_WEIGHT}");
        problems.push("origin", problem);
    }
}
