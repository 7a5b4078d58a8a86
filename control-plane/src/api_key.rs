//! API keys: `wcdn_<id>_<secret><checksum>`, shown once and stored as a keyed hash.
//!
//! The id (10 digits) may be shown; the secret (52 digits) has 256 bits; the checksum (7 digits) tells
//! a key that was copied badly from one that is unknown, and lets scanners for leaked secrets be sure.
//! Digits are those of [`base32`].

use std::fmt;

use wcdn_proto::KeyId;

use crate::base32;

/// A key as its owner has it. `Debug` shows its id.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    text: String,
}

/// What is stored of a key.
#[derive(Clone, Copy)]
pub(crate) struct ApiKeyHash(blake3::Hash);

/// What keys are hashed with, so that hashes of one store mean nothing to another.
#[derive(Clone)]
pub(crate) struct Pepper([u8; 32]);

const PREFIX: &str = "wcdn_";
const CHECKSUM_DIGITS: usize = 7;
const CHECKED_DIGITS: usize = 52 + CHECKSUM_DIGITS;

/// The least length of a key that somebody else made up.
const LEAST: usize = 16;

/// Longer texts are not looked at.
pub(crate) const MOST: usize = 256;

/// A text that may not be a key.
#[derive(Debug, thiserror::Error)]
#[error("an API key has {LEAST} to {MOST} visible ASCII characters")]
pub struct InvalidApiKey;

impl ApiKey {
    /// A new one.
    pub fn generate() -> Self {
        Self::of(base32::encode(&rand::random::<[u8; 6]>()))
    }

    /// Another one of the same id.
    pub(crate) fn renew(id: &KeyId) -> Self {
        Self::of(id.to_string())
    }

    fn of(id: String) -> Self {
        let body = format!("{PREFIX}{id}_{}", base32::encode(&rand::random::<[u8; 32]>()));
        let text = format!("{body}{}", checksum(&body));
        Self { id, text }
    }

    /// One that is given from outside, such as the fixed key of a demonstration.
    ///
    /// # Errors
    /// [`InvalidApiKey`], if it is too short to be a secret, or no header could carry it.
    pub fn fixed(text: &str) -> Result<Self, InvalidApiKey> {
        let fits =
            (LEAST..=MOST).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        if !fits || is_damaged(text) {
            return Err(InvalidApiKey);
        }
        let digest = blake3::derive_key("wcdn 2026 id of a fixed api key", text.as_bytes());
        Ok(Self { id: base32::encode(&digest[..6]), text: text.to_owned() })
    }

    /// May be shown.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key, for its owner.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// Whether a text looks like one of our keys and is none: something was lost in copying.
pub(crate) fn is_damaged(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((_, secret)) = rest.split_once('_') else { return false };
    let is_whole = secret.len() == CHECKED_DIGITS && text.is_ascii();
    let Some((body, check)) = text.split_at_checked(text.len().saturating_sub(CHECKSUM_DIGITS))
    else {
        return true;
    };
    !is_whole || checksum(body) != check
}

fn checksum(body: &str) -> String {
    base32::encode(&blake3::hash(body.as_bytes()).as_bytes()[..4])
}

impl Pepper {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What edges hash keys with: it tells nothing of this one.
    pub(crate) fn of_edges(&self) -> Self {
        Self(blake3::derive_key("wcdn 2026 api keys at edges", &self.0))
    }

    /// For edges, if it is theirs.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What is stored of a key.
    pub(crate) fn hash(&self, key: &str) -> ApiKeyHash {
        ApiKeyHash(blake3::keyed_hash(&self.0, key.as_bytes()))
    }
}

impl ApiKeyHash {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Takes the same time wherever they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.id)
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(…)")
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_key_is_whole_and_no_two_are_the_same() {
        let (one, other) = (ApiKey::generate(), ApiKey::generate());
        assert!(!is_damaged(one.expose()));
        assert_eq!(one.expose().len(), 75);
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn neither_a_key_nor_its_hash_is_shown() {
        let key = ApiKey::generate();
        let shown = format!("{key:?} {:?}", Pepper::new([1; 32]).hash(key.expose()));
        assert_eq!(shown, format!("ApiKey({}…) ApiKeyHash(…)", key.id()));
    }

    #[test]
    fn a_fixed_key_must_be_long_enough_to_be_a_secret() {
        assert!(ApiKey::fixed("demo").is_err());
        assert!(ApiKey::fixed("two words are not one").is_err());
        assert_eq!(ApiKey::fixed("wcdn-demo-key-2026").unwrap().expose(), "wcdn-demo-key-2026");
    }

    proptest! {
        #[test]
        fn a_key_that_lost_or_changed_a_digit_is_damaged(at in 16_usize..75, digit in "[0-9a-z]") {
            let key = ApiKey::generate();
            let mut lost = key.expose().to_owned();
            lost.remove(at);
            prop_assert!(is_damaged(&lost));
            let mut changed = key.expose().to_owned();
            changed.replace_range(at..=at, &digit);
            prop_assert!(changed == key.expose() || is_damaged(&changed));
        }

        #[test]
        fn any_text_is_damaged_or_not(text: String) {
            prop_assert!(text.starts_with(PREFIX) || !is_damaged(&text));
        }
    }
}
