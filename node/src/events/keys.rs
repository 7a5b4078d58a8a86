//! API keys, as far as a node knows them: what their texts hash to, and what they may ask for.
//!
//! A session tells of all of them, events of what changes: the latest word on each counts, in whatever
//! order they come. Without a session since its start a node knows none, and whoever shows one is a viewer
//! like others.

use std::collections::HashMap;

use parking_lot::RwLock;
use wcdn_proto::{KeyId, KeyState, Position};

/// What is known of API keys.
#[derive(Debug, Default)]
pub struct ApiKeys(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What texts are hashed with; none before a session has told.
    pepper: Option<[u8; 32]>,
    /// The latest word on each key, and where it stands in the log. One that has ended has no secrets.
    keys: HashMap<KeyId, (Position, KeyState), foldhash::fast::RandomState>,
    by_hash: HashMap<[u8; 32], KeyId, foldhash::fast::RandomState>,
}

/// A key that was shown and is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Which.
    pub id: KeyId,
    /// Requests a minute; 0 for what the node gives every key.
    pub per_minute: u32,
}

impl ApiKeys {
    /// Takes the word of an event; an older one than is known changes nothing.
    pub fn hear(&self, key: &KeyState, at: Position) {
        self.0.write().put(key.clone(), at);
    }

    /// Takes what a session tells of: every key that had not ended at `at`.
    pub fn replace(&self, pepper: [u8; 32], keys: Vec<KeyState>, at: Position) {
        let mut known = self.0.write();
        known.pepper = Some(pepper);
        let gone: Vec<KeyId> = known
            .keys
            .iter()
            .filter(|(_, (word, _))| *word <= at)
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            known.forget(&id);
        }
        for key in keys {
            known.put(key, at);
        }
    }

    /// The key of a text, if it is one that is good now, in Unix milliseconds.
    pub fn find(&self, text: &[u8], now_ms: u64) -> Option<KnownKey> {
        let known = self.0.read();
        let hash = *blake3::keyed_hash(known.pepper.as_ref()?, text).as_bytes();
        let (_, key) = known.keys.get(known.by_hash.get(&hash)?)?;
        // Equal in constant time, though a hash that nobody can choose tells nothing by the time it takes.
        let shown = blake3::Hash::from_bytes(hash);
        let secret = key.secrets.iter().find(|it| blake3::Hash::from_bytes(it.hash) == shown)?;
        let is_good = secret.until_ms == 0 || secret.until_ms > now_ms;
        is_good.then(|| KnownKey { id: key.id.clone(), per_minute: key.per_minute })
    }

    /// Keys that have not ended.
    pub fn count(&self) -> usize {
        self.0.read().keys.values().filter(|(_, key)| !key.secrets.is_empty()).count()
    }
}

impl Known {
    fn put(&mut self, key: KeyState, at: Position) {
        if self.keys.get(&key.id).is_some_and(|(known, _)| *known > at) {
            return;
        }
        self.forget(&key.id);
        self.by_hash.extend(key.secrets.iter().map(|secret| (secret.hash, key.id.clone())));
        self.keys.insert(key.id.clone(), (at, key));
    }

    fn forget(&mut self, id: &KeyId) {
        if let Some((_, key)) = self.keys.remove(id) {
            for secret in key.secrets {
                self.by_hash.remove(&secret.hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wcdn_proto::KeySecret;

    use super::*;

    const PEPPER: [u8; 32] = [7; 32];

    fn key(n: u8, texts: &[(&str, u64)]) -> KeyState {
        let secret = |(text, until_ms): &(&str, u64)| KeySecret {
            hash: *blake3::keyed_hash(&PEPPER, text.as_bytes()).as_bytes(),
            until_ms: *until_ms,
        };
        let id = format!("000000000{n}").parse().unwrap();
        KeyState { id, secrets: texts.iter().map(secret).collect(), per_minute: n.into() }
    }

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    #[test]
    fn a_key_is_good_by_any_of_its_texts_until_their_ends() {
        let keys = ApiKeys::default();
        keys.hear(&key(1, &[("new", 0), ("old", 100)]), at(1));
        assert_eq!(keys.find(b"new", 0), None, "nobody has told what texts are hashed with");
        keys.replace(PEPPER, vec![], at(0));
        assert_eq!(keys.find(b"new", u64::MAX).unwrap().per_minute, 1);
        assert!(keys.find(b"old", 99).is_some());
        assert_eq!(keys.find(b"old", 100), None);
        assert_eq!(keys.find(b"other", 0), None);
    }

    #[test]
    fn what_a_session_tells_does_not_undo_what_came_after_it() {
        let keys = ApiKeys::default();
        keys.hear(&key(1, &[]), at(9));
        keys.hear(&key(2, &[("two", 0)]), at(3));
        keys.replace(PEPPER, vec![key(1, &[("one", 0)]), key(3, &[("three", 0)])], at(5));
        assert_eq!(keys.find(b"one", 0), None, "it was ended");
        assert_eq!(keys.find(b"two", 0), None, "it is not among those that have not ended");
        assert!(keys.find(b"three", 0).is_some());
        assert_eq!(keys.count(), 1);
    }

    proptest! {
        #[test]
        fn the_latest_word_counts_in_whatever_order_it_comes(
            says in prop::collection::vec((0u8..3, any::<bool>()), 1..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
        ) {
            let keys = ApiKeys::default();
            keys.replace(PEPPER, vec![], at(0));
            let text = |n: usize| format!("text {n}");
            let all = 0..says.len();
            for n in order.iter().map(|n| n.index(says.len())).chain(all) {
                let (id, is_good) = says[n];
                let text = text(n);
                let texts = if is_good { vec![(text.as_str(), 0)] } else { vec![] };
                keys.hear(&key(id, &texts), at(n as u64 + 1));
            }
            for (n, (id, is_good)) in says.iter().enumerate() {
                let is_last = !says[n + 1..].iter().any(|(other, _)| other == id);
                let found = keys.find(text(n).as_bytes(), 0).is_some();
                prop_assert_eq!(found, is_last && *is_good);
            }
        }
    }
}
