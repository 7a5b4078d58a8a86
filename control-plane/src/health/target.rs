//! Whom to ask: the aggregators and publishers of the pool.

use wcdn_proto::{
    OriginName,
    pb::{
        admin::v1::OriginKind,
        edge::v1::{Origin, OriginPool},
    },
};
use wcdn_walrus::BaseUrl;

/// What an origin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Blobs are read from it.
    Aggregator,
    /// Blobs are stored at it.
    Publisher,
}

/// What tells an origin from all others: an aggregator and a publisher may have the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) name: OriginName,
}

/// An origin of the pool.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) key: Key,
    pub(crate) url: BaseUrl,
    /// As it stands in the pool.
    pub(crate) origin: Origin,
}

impl Kind {
    /// As it is stored, and as metrics say it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Publisher => "publisher",
        }
    }

    /// Reads what [`as_str`](Self::as_str) says.
    pub(crate) fn read(text: &str) -> Option<Self> {
        [Self::Aggregator, Self::Publisher].into_iter().find(|kind| kind.as_str() == text)
    }

    /// As it travels.
    pub(crate) fn to_wire(self) -> OriginKind {
        match self {
            Self::Aggregator => OriginKind::Aggregator,
            Self::Publisher => OriginKind::Publisher,
        }
    }
}

impl Target {
    /// Everybody in the pool. Whoever set it had to give names and URLs; what is neither is left out.
    pub(crate) fn all(pool: &OriginPool) -> Vec<Self> {
        let of = |kind, origins: &[Origin]| -> Vec<Self> {
            origins.iter().filter_map(|origin| Self::of(kind, origin)).collect()
        };
        let mut all = of(Kind::Aggregator, &pool.origins);
        all.extend(of(Kind::Publisher, &pool.publishers));
        all
    }

    fn of(kind: Kind, origin: &Origin) -> Option<Self> {
        let key = Key { kind, name: origin.name.parse().ok()? };
        Some(Self { key, url: origin.url.parse().ok()?, origin: origin.clone() })
    }
}
