//! A Walrus blob id: 32 bytes that commit to a blob's content, length and encoding.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::text::serde_as_text;

/// The name of a blob, computed from its bytes: whoever holds the bytes can check the name.
///
/// Its one text form is base64url without padding, 43 characters. Decoding refuses non-canonical
/// trailing bits, so equal ids have equal text and the text is safe as a cache key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

/// Why a text or byte string is not a [`BlobId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlobId {
    /// The text has the wrong number of characters.
    #[error("a blob id has {} characters, not {length}", BlobId::TEXT_LEN)]
    Length {
        /// Bytes of text given.
        length: usize,
    },
    /// The text is not canonical base64url.
    #[error("a blob id is unpadded base64url (A-Z a-z 0-9 - _) in canonical form")]
    Text,
    /// The byte string is not 32 bytes long.
    #[error("a blob id is 32 bytes, not {length}")]
    Bytes {
        /// Bytes given.
        length: usize,
    },
}

impl BlobId {
    /// Characters in the text form.
    pub const TEXT_LEN: usize = 43;

    /// The id with these bytes, as computed by the encoder. Every 32-byte string is an id.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, in the order they are hashed and stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for BlobId {
    type Err = InvalidBlobId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != Self::TEXT_LEN {
            return Err(InvalidBlobId::Length { length: text.len() });
        }
        // The decoder asks for room by its estimate of the length, which is above 32.
        let mut bytes = [0; 33];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes[..32].try_into().expect("32 bytes were decoded"))),
            _ => Err(InvalidBlobId::Text),
        }
    }
}

impl TryFrom<&[u8]> for BlobId {
    type Error = InvalidBlobId;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        match bytes.try_into() {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(InvalidBlobId::Bytes { length: bytes.len() }),
        }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::TEXT_LEN];
        let written =
            URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).expect("43 characters hold 32 bytes");
        f.pad(std::str::from_utf8(&text[..written]).expect("base64 is ASCII"))
    }
}

serde_as_text!(BlobId);

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn print_then_parse_gives_the_same_id(bytes: [u8; 32]) {
            let id = BlobId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<BlobId>(), Ok(id));
        }

        #[test]
        fn what_parses_prints_as_it_was_written(text in "[A-Za-z0-9_-]{43}") {
            if let Ok(id) = text.parse::<BlobId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _parsed = text.parse::<BlobId>().is_ok();
        }
    }

    #[test]
    fn a_non_canonical_last_character_is_refused() {
        let id = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk";
        assert!(id.parse::<BlobId>().is_ok());
        let twin = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUl";
        assert_eq!(twin.parse::<BlobId>(), Err(InvalidBlobId::Text));
    }

    #[test]
    fn padding_the_standard_alphabet_and_wrong_lengths_are_refused() {
        assert_eq!("".parse::<BlobId>(), Err(InvalidBlobId::Length { length: 0 }));
        let padded = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk=";
        assert_eq!(padded.parse::<BlobId>(), Err(InvalidBlobId::Length { length: 44 }));
        let standard = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK+W7/4BUk";
        assert_eq!(standard.parse::<BlobId>(), Err(InvalidBlobId::Text));
    }
}
