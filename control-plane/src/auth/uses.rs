//! When keys were last used, and how often since that was last written down.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;
use wcdn_proto::KeyId;

/// Uses that are not written down yet. One entry a key: many calls are one write.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<KeyId, Use>>);

/// The last use of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    /// Unix time in milliseconds.
    pub(crate) at_ms: u64,
    pub(crate) address: Option<IpAddr>,
    /// Calls since the last one that was written down.
    pub(crate) count: u64,
}

/// Keys with uses to be written down; more are not noted until some are.
const MAX_NOTED: usize = 10_000;

impl Uses {
    /// A call with this key.
    pub(crate) fn note(&self, id: &KeyId, name: &str, address: Option<IpAddr>, at_ms: u64) {
        let mut uses = self.0.lock();
        if let Some(last) = uses.get_mut(id) {
            last.at_ms = last.at_ms.max(at_ms);
            last.address = address;
            last.count += 1;
        } else if uses.len() < MAX_NOTED {
            uses.insert(id.clone(), Use { name: name.to_owned(), at_ms, address, count: 1 });
        }
    }

    /// All of them, to be written down.
    pub(crate) fn take(&self) -> HashMap<KeyId, Use> {
        std::mem::take(&mut self.0.lock())
    }

    /// The last use of a key that is not written down yet.
    pub(crate) fn last(&self, id: &KeyId) -> Option<Use> {
        self.0.lock().get(id).cloned()
    }
}
