//! An API key: what it may do, from where, and until when.

use std::net::IpAddr;

use ipnet::IpNet;
use wcdn_proto::{KeyId, Scopes, pb::admin::v1 as admin};

use crate::api_key::ApiKeyHash;

/// A key as it is stored: never its text.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    /// Unique among all that there ever were.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    /// Unix time in milliseconds, as all times here; 0 for never.
    pub(crate) created_at_ms: u64,
    pub(crate) created_by: String,
    pub(crate) rotated_at_ms: u64,
    pub(crate) previous_until_ms: u64,
    pub(crate) revoked_at_ms: u64,
    pub(crate) used_at_ms: u64,
    pub(crate) used_from: String,
    pub(crate) revision: u64,
}

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) scopes: Scopes,
    /// If there are any, nothing outside of them.
    pub(crate) vaults: Vec<String>,
    /// If there are any, from these networks only.
    pub(crate) networks: Vec<IpNet>,
    /// Requests a minute; 0 for what every key may.
    pub(crate) per_minute: u32,
    /// 0 for never.
    pub(crate) expires_at_ms: u64,
}

/// What is kept of a key's text: for control planes, and for edges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) hash: ApiKeyHash,
    pub(crate) edge_hash: ApiKeyHash,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    pub(crate) text: Text,
    pub(crate) settings: Settings,
}

/// What becomes of a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyChange {
    /// It begins.
    Create(Box<NewKey>),
    /// It may do something else.
    Update {
        id: KeyId,
        /// The one that is replaced; 0 for whichever is there.
        revision: u64,
        settings: Settings,
    },
    /// Its text is another one.
    Rotate {
        id: KeyId,
        text: Text,
        /// Until when the text before is good.
        until_ms: u64,
    },
    /// It ends.
    Revoke {
        id: KeyId,
        /// For people.
        reason: String,
    },
}

impl Settings {
    /// Everything, from everywhere, for ever.
    pub(crate) fn unrestricted() -> Self {
        Self {
            scopes: Scopes::ALL,
            vaults: Vec::new(),
            networks: Vec::new(),
            per_minute: 0,
            expires_at_ms: 0,
        }
    }

    /// Whether it is good from an address; one that is not known is in no network.
    pub(crate) fn admits(&self, address: Option<IpAddr>) -> bool {
        let is_in = |address: IpAddr| {
            let address = address.to_canonical();
            self.networks.iter().any(|network| network.contains(&address))
        };
        self.networks.is_empty() || address.is_some_and(is_in)
    }

    pub(crate) fn to_wire(&self) -> admin::KeySettings {
        admin::KeySettings {
            scopes: self.scopes.names().into_iter().map(str::to_owned).collect(),
            vaults: self.vaults.clone(),
            networks: self.networks.iter().map(ToString::to_string).collect(),
            per_minute: self.per_minute,
            expires_at_ms: self.expires_at_ms,
        }
    }
}

impl Key {
    pub(crate) fn to_wire(&self) -> admin::ApiKey {
        admin::ApiKey {
            id: self.id.to_string(),
            name: self.name.clone(),
            settings: Some(self.settings.to_wire()),
            created_at_ms: self.created_at_ms,
            created_by: self.created_by.clone(),
            rotated_at_ms: self.rotated_at_ms,
            previous_until_ms: self.previous_until_ms,
            revoked_at_ms: self.revoked_at_ms,
            used_at_ms: self.used_at_ms,
            used_from: self.used_from.clone(),
            revision: self.revision,
        }
    }
}

impl KeyChange {
    /// As one word, such as "key.create".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "key.create",
            Self::Update { .. } => "key.update",
            Self::Rotate { .. } => "key.rotate",
            Self::Revoke { .. } => "key.revoke",
        }
    }

    /// Of which key.
    pub(crate) fn id(&self) -> &KeyId {
        match self {
            Self::Create(new) => &new.id,
            Self::Update { id, .. } | Self::Rotate { id, .. } | Self::Revoke { id, .. } => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_networks_is_good_from_them_alone() {
        let network = "10.0.0.0/8".parse().unwrap();
        let within = Settings { networks: vec![network], ..Settings::unrestricted() };
        assert!(within.admits("10.1.2.3".parse().ok()));
        assert!(within.admits("::ffff:10.1.2.3".parse().ok()));
        assert!(!within.admits("11.1.2.3".parse().ok()));
        assert!(!within.admits(None));
        assert!(Settings::unrestricted().admits(None));
    }
}
