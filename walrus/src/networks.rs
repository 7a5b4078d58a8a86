//! The public networks, and who runs aggregators and publishers for them.

use std::fmt;

use serde::{Deserialize, Serialize};
use wcdn_proto::OriginName;

use crate::BaseUrl;

/// A public Walrus network. Both have 1000 shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Where data is paid for and kept.
    Mainnet,
    /// Where data may be wiped without warning.
    Testnet,
}

/// Somebody who runs an aggregator or a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOperator {
    /// A name for logs and metrics, made from the host.
    pub name: OriginName,
    /// Who it is.
    pub operator: String,
    /// Where it answers.
    pub url: BaseUrl,
}

/// A blob that lives on both networks: the operators' own list is checked with it every week.
pub const KNOWN_LIVE_BLOB: &str = "bfH-ZqYV5faXTiq2-FVBT2cLQD61VYRuDje0cIkMWMo";

#[derive(Deserialize)]
struct Lists {
    aggregators: Vec<Listed>,
    publishers: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    operator: String,
    url: BaseUrl,
}

impl Network {
    /// Public aggregators that answered when the list was made (2026-03-16).
    pub fn aggregators(self) -> Vec<NetworkOperator> {
        self.lists().aggregators.into_iter().map(named).collect()
    }

    /// Public publishers; mainnet has none.
    pub fn publishers(self) -> Vec<NetworkOperator> {
        self.lists().publishers.into_iter().map(named).collect()
    }

    fn lists(self) -> Lists {
        let json = match self {
            Self::Mainnet => include_str!("../networks/mainnet.json"),
            Self::Testnet => include_str!("../networks/testnet.json"),
        };
        serde_json::from_str(json).expect("the lists that are shipped are valid")
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
        })
    }
}

fn named(Listed { operator, url }: Listed) -> NetworkOperator {
    let name = name(&url, false).expect("a host name is a name");
    NetworkOperator { name, operator, url }
}

/// A name made from the host of a URL, and its port where the host alone does not tell it from another.
pub(crate) fn name(url: &BaseUrl, with_port: bool) -> Option<OriginName> {
    let is_plain = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '.';
    let host: String =
        url.host().to_lowercase().chars().map(|c| if is_plain(&c) { c } else { '-' }).collect();
    let port = url.port().filter(|_| with_port).map(|port| format!("-{port}")).unwrap_or_default();
    let room = 63_usize.saturating_sub(port.len());
    let host: String = host.trim_start_matches(['.', '-']).chars().take(room).collect();
    format!("{host}{port}").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_known_blob_has_a_valid_id() {
        assert!(KNOWN_LIVE_BLOB.parse::<wcdn_proto::BlobId>().is_ok());
    }

    #[test]
    fn the_shipped_lists_are_valid_and_name_everybody_once() {
        for (network, aggregators, publishers) in
            [(Network::Mainnet, 51, 0), (Network::Testnet, 50, 47)]
        {
            for (list, count) in
                [(network.aggregators(), aggregators), (network.publishers(), publishers)]
            {
                let names: HashSet<_> = list.iter().map(|one| &one.name).collect();
                assert_eq!((list.len(), names.len()), (count, count), "{network}");
            }
        }
    }
}
