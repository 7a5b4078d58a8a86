//! Who the origins are, as edges ask them and the control plane watches them.

use wcdn_control_plane::{Config, config};
use wcdn_node::config::OriginSpec;
use wcdn_walrus::BaseUrl;

use crate::{
    standin::Standin,
    topology::{Topology, WalrusNetwork},
};

/// The aggregators of a stand-in, under names.
pub(crate) fn named(urls: &[BaseUrl]) -> anyhow::Result<Vec<OriginSpec>> {
    let named = urls
        .iter()
        .enumerate()
        .map(|(n, url)| Ok(OriginSpec::new(format!("aggregator-{}", n + 1).parse()?, url.clone())));
    named.collect()
}

/// The configuration of a control plane that watches the origins of its edges.
pub(crate) fn watch(topology: &Topology, standin: Option<&Standin>) -> anyhow::Result<Config> {
    let mut config = topology.control.clone();
    match topology.network {
        WalrusNetwork::Public(network) => config.walrus.network = network.into(),
        WalrusNetwork::Local => {
            config.walrus.network = config::WalrusNetwork::Local;
            config.walrus.n_shards = topology.encoding.n_shards();
            config.health.allow_private = true;
        }
    }
    let Some(standin) = standin.filter(|_| config.origins.is_empty()) else { return Ok(config) };
    let given = &topology.edge.origins;
    let own = if given.is_empty() { named(&standin.aggregator_urls)? } else { given.clone() };
    config.origins = own.into_iter().map(watched).collect();
    let publisher = OriginSpec::new("publisher-1".parse()?, standin.publisher_url.clone());
    config.publishers = vec![watched(publisher)];
    Ok(config)
}

fn watched(OriginSpec { name, url, trusted, .. }: OriginSpec) -> config::OriginConfig {
    config::OriginConfig { name, url, trusted }
}
