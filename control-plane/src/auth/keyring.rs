//! Keys that were shown, in memory: a call with a known one costs no look into the store.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::Semaphore;

use super::{Key, Text, uses::Uses};
use crate::{
    api_key::{ApiKeyHash, Pepper},
    hooks::Token,
    refusal::Refusal,
    store::{Store, StoreError},
};

/// Look-ups of keys that nobody has shown yet at once: strangers do not keep others from the store.
const MAX_LOOKUPS: usize = 2;

/// Keys in memory; a store that has more is asked again.
const MAX_KEYS: usize = 10_000;

/// What keys are known by.
#[derive(Debug)]
pub(crate) struct Keyring {
    pepper: Pepper,
    edge_pepper: Pepper,
    seen: RwLock<Seen>,
    lookups: Semaphore,
    pub(crate) uses: Uses,
}

/// Keys as they were at some count of their changes.
#[derive(Debug, Default)]
struct Seen {
    changes: u64,
    keys: HashMap<[u8; 32], Arc<Presented>>,
}

/// A key, and the text that was shown for it.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) key: Arc<Key>,
    /// Of the text.
    pub(crate) hash: ApiKeyHash,
    /// Until when the text is good: `None` while it is the present one.
    pub(crate) until_ms: Option<u64>,
}

impl Keyring {
    /// Nobody has shown any key yet.
    pub(crate) fn new(pepper: Pepper) -> Self {
        let edge_pepper = pepper.of_edges();
        let (seen, uses) = (RwLock::default(), Uses::default());
        Self { pepper, edge_pepper, seen, lookups: Semaphore::new(MAX_LOOKUPS), uses }
    }

    /// What is kept of a text.
    pub(crate) fn text(&self, text: &str) -> Text {
        Text { hash: self.pepper.hash(text), edge_hash: self.edge_pepper.hash(text) }
    }

    /// What is kept of a hook's token.
    pub(crate) fn hook(&self, token: &Token) -> ApiKeyHash {
        token.hash(&self.pepper)
    }

    /// What edges hash keys with.
    pub(crate) fn edge_pepper(&self) -> &Pepper {
        &self.edge_pepper
    }

    /// The key that was shown, good or not, if it is one. `changes` counts the changes of keys in the log:
    /// after another one, all are looked up anew.
    ///
    /// Whoever does not know what keys are hashed with cannot choose a hash, so that looking it up tells
    /// nothing by the time that it takes. Looking up what is in memory already costs a stranger's `turn`
    /// nothing.
    ///
    /// # Errors
    /// Those of the store, and what `turn` says of a look into it.
    pub(crate) async fn find(
        &self,
        store: &Store,
        changes: u64,
        shown: &str,
        turn: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Option<Arc<Presented>>, Refusal> {
        let hash = self.pepper.hash(shown);
        if let Some(known) = self.known(&hash, changes) {
            return Ok(Some(known));
        }
        turn()?;
        let Some(found) = self.look_up(store, &hash).await? else { return Ok(None) };
        let found = Arc::new(found);
        let mut seen = self.seen.write();
        seen.forget_before(changes);
        if seen.changes == changes && seen.keys.len() < MAX_KEYS {
            seen.keys.insert(*hash.as_bytes(), Arc::clone(&found));
        }
        Ok(found.hash.is(&hash).then_some(found))
    }

    fn known(&self, hash: &ApiKeyHash, changes: u64) -> Option<Arc<Presented>> {
        let seen = self.seen.read();
        let known = seen.keys.get(hash.as_bytes()).filter(|known| known.hash.is(hash));
        known.filter(|_| seen.changes == changes).cloned()
    }

    async fn look_up(
        &self,
        store: &Store,
        hash: &ApiKeyHash,
    ) -> Result<Option<Presented>, StoreError> {
        let _turn = self.lookups.acquire().await;
        store.in_time(store.presented(hash)).await
    }
}

impl Seen {
    fn forget_before(&mut self, changes: u64) {
        if self.changes < changes {
            *self = Self { changes, keys: HashMap::new() };
        }
    }
}
