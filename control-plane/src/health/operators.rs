//! The pool brought up to date with the list of public operators.

use std::{collections::HashSet, path::Path, time::Duration};

use tokio::{io::AsyncReadExt as _, time::timeout};
use wcdn_proto::pb::edge::v1::{Origin, OriginPool};
use wcdn_walrus::{
    HttpClient, HttpOptions, InvalidOperators, MAX_OPERATORS_DOCUMENT, Network, NetworkOperator,
    Operators, OperatorsError,
};

use crate::config::{Config, listed};

/// Where lists come from.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    http: HttpClient,
    network: Option<Network>,
    allow_private: bool,
}

/// Why the pool stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// There is no such list.
    #[error("walrus.network is local: a network of your own has no public operators")]
    NoNetwork,
    /// It cannot be had.
    #[error("the list of operators")]
    Fetch(#[from] OperatorsError),
    /// It came too slowly.
    #[error("the list of operators did not come within {0:?}")]
    Slow(Duration),
    /// Anybody on the way could change it.
    #[error("the list of operators must come from an https URL (health.allow_private is false)")]
    Plain,
    /// The file cannot be read.
    #[error("the list of operators cannot be read")]
    File(#[from] std::io::Error),
    /// It is no list.
    #[error("the list of operators")]
    Invalid(#[from] InvalidOperators),
    /// There is nobody in it.
    #[error("the list of operators has no aggregator of {0} that answers")]
    Empty(Network),
    /// It would take most of them away.
    #[error("{leaving} of {all} origins would leave the pool; if that is right, use force")]
    TooMany {
        /// Origins that would leave.
        leaving: usize,
        /// Origins that there are.
        all: usize,
    },
}

/// What a list changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    /// Those whose URL or operator is another one.
    pub(crate) altered: Vec<String>,
}

/// How long a list may take to come.
const FETCH: Duration = Duration::from_secs(10);

impl Lists {
    pub(crate) fn new(config: &Config) -> Self {
        let allow_private = config.health.allow_private;
        let options = HttpOptions { public_only: !allow_private, ..HttpOptions::default() };
        let network = config.walrus.network.public();
        Self { http: HttpClient::new(options), network, allow_private }
    }

    /// Reads a list from a URL.
    pub(crate) async fn fetch(&self, url: &str) -> Result<Operators, ListError> {
        if !url.starts_with("https://") && !self.allow_private {
            return Err(ListError::Plain);
        }
        let fetching = timeout(FETCH, Operators::fetch(&self.http, url)).await;
        Ok(fetching.map_err(|_| ListError::Slow(FETCH))??)
    }

    /// Reads a list from a file, or a URL.
    pub(crate) async fn read(&self, from: &str) -> Result<Operators, ListError> {
        if from.starts_with("https://") || from.starts_with("http://") {
            return self.fetch(from).await;
        }
        let file = tokio::fs::File::open(Path::new(from)).await?;
        let mut bytes = Vec::new();
        file.take(MAX_OPERATORS_DOCUMENT as u64 + 1).read_to_end(&mut bytes).await?;
        Ok(Operators::parse(&bytes)?)
    }

    /// Brings a pool up to date. Origins of no operator are the cluster's own and stay as they are; the
    /// others come and go with the list, and keep what was set of them meanwhile. Publishers stay where
    /// the list has none.
    ///
    /// # Errors
    /// [`ListError`]; unless by force, also if more than half of the aggregators would leave.
    pub(crate) fn merge(
        &self,
        pool: &mut OriginPool,
        operators: &Operators,
        force: bool,
    ) -> Result<Difference, ListError> {
        let network = self.network.ok_or(ListError::NoNetwork)?;
        let (aggregators, publishers) =
            (operators.aggregators(network), operators.publishers(network));
        if aggregators.is_empty() {
            return Err(ListError::Empty(network));
        }
        let all = pool.origins.len();
        let mut difference = Difference::default();
        merge(&mut pool.origins, aggregators, &mut difference);
        let leaving = difference.removed.len();
        if leaving * 2 > all && !force {
            return Err(ListError::TooMany { leaving, all });
        }
        if !publishers.is_empty() {
            merge(&mut pool.publishers, publishers, &mut difference);
        }
        Ok(difference)
    }
}

impl Difference {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.altered.is_empty()
    }
}

fn merge(present: &mut Vec<Origin>, list: &[NetworkOperator], difference: &mut Difference) {
    let mut taken = HashSet::new();
    present.retain_mut(|origin| {
        let same_url = list.iter().position(|one| one.url.to_string() == origin.url);
        let same_name = || list.iter().position(|one| one.name.as_str() == origin.name);
        let found = same_url.or_else(same_name).filter(|n| taken.insert(*n));
        match found.map(|n| &list[n]) {
            _ if origin.operator.is_empty() => {}
            None => {
                difference.removed.push(origin.name.clone());
                return false;
            }
            Some(one) if one.url.to_string() == origin.url && one.operator == origin.operator => {}
            Some(one) => {
                (origin.url, origin.operator) = (one.url.to_string(), one.operator.clone());
                difference.altered.push(origin.name.clone());
            }
        }
        true
    });
    let mut names: HashSet<String> = present.iter().map(|origin| origin.name.clone()).collect();
    for (_, one) in list.iter().enumerate().filter(|(n, _)| !taken.contains(n)) {
        // One of the cluster's own has this name.
        if names.insert(one.name.to_string()) {
            difference.added.push(one.name.to_string());
            present.push(listed(one.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
