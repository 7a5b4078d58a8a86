//! Who calls.

use std::{net::IpAddr, sync::Arc};

use tokio::time::Instant;
use wcdn_proto::Scope;

use super::{Key, Operation};
use crate::{limits::Decision, refusal::Refusal};

/// An operator, or a program of one, whose key is good.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) key: Arc<Key>,
    /// From where, as far as trusted proxies tell.
    pub(crate) address: Option<IpAddr>,
    /// By which the call is found in logs.
    pub(crate) request_id: String,
    /// What is left of the minute's requests, if they are limited.
    pub(crate) budget: Option<Decision>,
    /// When it no longer waits.
    pub(crate) deadline: Option<Instant>,
}

/// Who did something, as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Author {
    /// Of the key; empty if there was none.
    pub(crate) key_id: String,
    /// Of the key, or of the part of the program that did it.
    pub(crate) name: String,
    /// From where; empty if it was the program.
    pub(crate) address: String,
    pub(crate) request_id: String,
}

impl Caller {
    /// Whether the caller may ask for this.
    ///
    /// # Errors
    /// [`Refusal::ScopeMissing`], [`Refusal::VaultsOnly`].
    pub(crate) fn may(&self, operation: Operation) -> Result<(), Refusal> {
        let settings = &self.key.settings;
        if !operation.admits(settings.scopes) {
            return Err(self.lacks(operation.scopes()));
        }
        let is_within = settings.vaults.is_empty() || operation.is_within_vaults();
        if is_within { Ok(()) } else { Err(Refusal::VaultsOnly { key: self.key.name.clone() }) }
    }

    /// Whether the caller has this scope besides.
    ///
    /// # Errors
    /// [`Refusal::ScopeMissing`].
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), Refusal> {
        if self.key.settings.scopes.has(scope) { Ok(()) } else { Err(self.lacks(&[scope])) }
    }

    fn lacks(&self, any_of: &[Scope]) -> Refusal {
        Refusal::ScopeMissing { key: self.key.name.clone(), any_of: any_of.to_vec() }
    }

    /// As it is remembered.
    pub(crate) fn author(&self) -> Author {
        Author {
            key_id: self.key.id.to_string(),
            name: self.key.name.clone(),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            request_id: self.request_id.clone(),
        }
    }
}

impl Author {
    /// A part of the program.
    pub(crate) fn program(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}
