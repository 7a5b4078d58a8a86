//! What a session tells of API keys, in parts.

use wcdn_proto::{KeyState, Position, pb::edge::v1 as edge};

use crate::events::keys::ApiKeys;

/// Parts that have come, until the last one has.
#[derive(Debug, Default)]
pub(super) struct ToldKeys(Vec<KeyState>);

/// Keys that a node remembers: some 200 bytes each. Those beyond are viewers like others.
const MAX_KEYS: usize = 100_000;

impl ToldKeys {
    /// Takes a part; with the last one, all are known. One that makes no sense is passed over: who shows
    /// that key is a viewer like others.
    pub(super) fn take(&mut self, part: edge::ApiKeys, keys: &ApiKeys) {
        let room = MAX_KEYS.saturating_sub(self.0.len());
        let states = part.keys.iter().filter_map(|key| KeyState::from_wire(key).ok());
        self.0.extend(states.take(room));
        if part.more {
            return;
        }
        let told = std::mem::take(&mut self.0);
        match <[u8; 32]>::try_from(&part.pepper[..]) {
            Ok(pepper) => keys.replace(pepper, told, Position::from(part.position)),
            Err(_) => tracing::warn!("API keys came without what they are hashed with"),
        }
    }
}

#[cfg(test)]
mod tests {
    use wcdn_proto::pb::event::v1::{self as event, Key};

    use super::*;

    fn part(ids: &[&str], more: bool) -> edge::ApiKeys {
        let key = |id: &&str| {
            let hash = blake3::keyed_hash(&[1; 32], id.as_bytes());
            let hash = hash.as_bytes().to_vec().into();
            let secrets = vec![event::KeySecret { hash, until_ms: 0 }];
            Key { id: (*id).to_owned(), secrets, per_minute: 0 }
        };
        edge::ApiKeys {
            position: Some(event::Position { epoch: 1, seq: 1 }),
            pepper: vec![1; 32].into(),
            keys: ids.iter().map(key).collect(),
            more,
        }
    }

    #[test]
    fn keys_are_known_with_the_last_part_and_those_that_make_no_sense_are_not() {
        let (keys, mut told) = (ApiKeys::default(), ToldKeys::default());
        told.take(part(&["0000000001", "none"], true), &keys);
        assert_eq!(keys.count(), 0);
        told.take(part(&["0000000002"], false), &keys);
        assert_eq!(keys.count(), 2);
        assert!(keys.find(b"0000000001", 0).is_some());
        told.take(part(&[], false), &keys);
        assert_eq!(keys.count(), 0);
    }
}
