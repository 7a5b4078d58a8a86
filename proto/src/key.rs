//! API keys as every program knows them: by an id, and by hashes of their texts.

use std::{fmt, str::FromStr};

use crate::pb::event::v1 as event;

/// The id of an API key: ten digits of Crockford's base 32, lower case. It is part of the key's text, and
/// may be shown.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Box<str>);

/// A text that is no [`KeyId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has {} digits of 0-9 and a-z without i, l, o, u", KeyId::DIGITS)]
pub struct InvalidKeyId;

/// Why a message is no [`KeyState`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// It names none.
    #[error(transparent)]
    Id(#[from] InvalidKeyId),
    /// The hash of a text has another length.
    #[error("the hash of a key's text has 32 bytes, not {length}")]
    Hash {
        /// Bytes of it.
        length: usize,
    },
}

/// What nodes know of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Which.
    pub id: KeyId,
    /// Texts that are good for it; none if it has ended.
    pub secrets: Vec<KeySecret>,
    /// Requests a minute; 0 for what a node gives every key.
    pub per_minute: u32,
}

/// A text that is good for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    /// BLAKE3 of it, keyed by what control planes tell nodes.
    pub hash: [u8; 32],
    /// Until when, in Unix milliseconds; 0 for no end.
    pub until_ms: u64,
}

impl KeyId {
    /// Digits of one.
    pub const DIGITS: usize = 10;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyState {
    /// As it travels.
    pub fn to_wire(&self) -> event::Key {
        let secret = |secret: &KeySecret| event::KeySecret {
            hash: secret.hash.to_vec().into(),
            until_ms: secret.until_ms,
        };
        event::Key {
            id: self.id.to_string(),
            secrets: self.secrets.iter().map(secret).collect(),
            per_minute: self.per_minute,
        }
    }

    /// # Errors
    /// [`InvalidKey`].
    pub fn from_wire(key: &event::Key) -> Result<Self, InvalidKey> {
        let secret = |secret: &event::KeySecret| {
            let hash = secret.hash.as_ref().try_into();
            let hash = hash.map_err(|_| InvalidKey::Hash { length: secret.hash.len() })?;
            Ok(KeySecret { hash, until_ms: secret.until_ms })
        };
        let secrets: Result<Vec<_>, InvalidKey> = key.secrets.iter().map(secret).collect();
        Ok(Self { id: key.id.parse()?, secrets: secrets?, per_minute: key.per_minute })
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let is_digit =
            |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z') && !b"ilou".contains(&byte);
        let is_id = text.len() == Self::DIGITS && text.bytes().all(is_digit);
        is_id.then(|| Self(text.into())).ok_or(InvalidKeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySecret").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_ten_digits_of_base_32() {
        assert_eq!("0123abcxyz".parse::<KeyId>().unwrap().to_string(), "0123abcxyz");
        for none in ["", "0123abcxy", "0123abcxyzz", "0123ABCXYZ", "0123abcxyo", "0123abcxé"] {
            assert!(none.parse::<KeyId>().is_err(), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_id_or_none(text: String) {
            if let Ok(id) = text.parse::<KeyId>() {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
