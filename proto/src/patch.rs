//! A quilt patch id: a quilt's blob id plus the columns one of its files occupies.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::BlobId;

/// The name of one file in a quilt: the quilt, and the half-open range of its columns.
///
/// Bytes: quilt id (32) ‖ version `0x01` ‖ start u16 LE ‖ end u16 LE; text: base64url without
/// padding, 50 characters. It is not derived from content: a forged one may name columns that hold
/// no file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuiltPatchId {
    quilt: BlobId,
    start: u16,
    end: u16,
}

/// Why a text is not a [`QuiltPatchId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatchId {
    /// The text has the wrong number of characters.
    #[error("a quilt patch id has {} characters, not {length}", QuiltPatchId::TEXT_LEN)]
    Length {
        /// Bytes of text given.
        length: usize,
    },
    /// The byte string has the wrong length.
    #[error("a quilt patch id is {} bytes, not {length}", QuiltPatchId::BYTES)]
    Bytes {
        /// Bytes given.
        length: usize,
    },
    /// The text is not canonical base64url.
    #[error("a quilt patch id is unpadded base64url (A-Z a-z 0-9 - _) in canonical form")]
    Text,
    /// The quilt version is one this program does not know.
    #[error("quilt version {version} is unknown; version 1 is the only one")]
    Version {
        /// The version byte found.
        version: u8,
    },
    /// The columns are no range: a patch begins after the index and holds at least one column.
    #[error("columns {start}..{end} are no range of a quilt's columns")]
    Columns {
        /// First column.
        start: u16,
        /// One past the last column.
        end: u16,
    },
}

const VERSION: u8 = 1;
const BYTES: usize = QuiltPatchId::BYTES;

impl QuiltPatchId {
    /// Characters in the text form.
    pub const TEXT_LEN: usize = 50;

    /// Bytes in the byte form.
    pub const BYTES: usize = 37;

    /// The patch at columns `start..end` of `quilt`.
    ///
    /// # Errors
    /// [`InvalidPatchId::Columns`] unless `0 < start < end`: column 0 holds the index.
    pub fn new(quilt: BlobId, start: u16, end: u16) -> Result<Self, InvalidPatchId> {
        if start == 0 || start >= end {
            return Err(InvalidPatchId::Columns { start, end });
        }
        Ok(Self { quilt, start, end })
    }

    /// The quilt the file is in.
    pub const fn quilt(&self) -> BlobId {
        self.quilt
    }

    /// First column of the file.
    pub const fn start(&self) -> u16 {
        self.start
    }

    /// One past the last column of the file.
    pub const fn end(&self) -> u16 {
        self.end
    }

    /// The byte form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..32].copy_from_slice(self.quilt.as_bytes());
        bytes[32] = VERSION;
        bytes[33..35].copy_from_slice(&self.start.to_le_bytes());
        bytes[35..].copy_from_slice(&self.end.to_le_bytes());
        bytes
    }
}

impl TryFrom<&[u8]> for QuiltPatchId {
    type Error = InvalidPatchId;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let bytes: &[u8; BYTES] =
            bytes.try_into().map_err(|_| InvalidPatchId::Bytes { length: bytes.len() })?;
        if bytes[32] != VERSION {
            return Err(InvalidPatchId::Version { version: bytes[32] });
        }
        let quilt = BlobId::try_from(&bytes[..32]).expect("32 bytes make an id");
        let start = u16::from_le_bytes([bytes[33], bytes[34]]);
        let end = u16::from_le_bytes([bytes[35], bytes[36]]);
        Self::new(quilt, start, end)
    }
}

impl FromStr for QuiltPatchId {
    type Err = InvalidPatchId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != Self::TEXT_LEN {
            return Err(InvalidPatchId::Length { length: text.len() });
        }
        let mut bytes = [0; 39];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) {
            return Err(InvalidPatchId::Text);
        }
        Self::try_from(&bytes[..BYTES])
    }
}

impl fmt::Display for QuiltPatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.to_bytes()))
    }
}

impl fmt::Debug for QuiltPatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuiltPatchId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn print_then_parse_gives_the_same_patch(
            bytes: [u8; 32],
            (start, end) in (1..u16::MAX).prop_flat_map(|start| (Just(start), start + 1..)),
        ) {
            let id = QuiltPatchId::new(BlobId::from_bytes(bytes), start, end).unwrap();
            prop_assert_eq!(id.to_string().parse::<QuiltPatchId>(), Ok(id));
        }

        #[test]
        fn what_parses_prints_as_it_was_written(text in "[A-Za-z0-9_-]{43}B[A-Za-z0-9_-]{6}") {
            if let Ok(id) = text.parse::<QuiltPatchId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn the_documented_example_names_columns_1_to_208() {
        let text = "6XUOE-Q5-nAXHRifN6n9nomVDtHZQbGuAkW3PjlBuKoBAQDQAA";
        let id: QuiltPatchId = text.parse().unwrap();
        assert_eq!((id.start(), id.end()), (1, 208));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn the_index_column_and_empty_ranges_name_no_patch() {
        let quilt = BlobId::from_bytes([7; 32]);
        for (start, end) in [(0, 1), (5, 5), (6, 5)] {
            assert_eq!(
                QuiltPatchId::new(quilt, start, end),
                Err(InvalidPatchId::Columns { start, end })
            );
        }
    }
}
