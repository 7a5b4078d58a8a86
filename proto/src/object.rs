//! A Sui object id: the on-chain object that holds a blob.

use std::{fmt, str::FromStr};

/// The address of a Sui object. Text: `0x` and up to 64 hex digits; printed in full, lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 32]);

/// A text that is no [`ObjectId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object id is 0x followed by 1 to 64 hexadecimal digits")]
pub struct InvalidObjectId;

impl ObjectId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").ok_or(InvalidObjectId)?.as_bytes();
        if digits.is_empty() || digits.len() > 64 {
            return Err(InvalidObjectId);
        }
        let mut bytes = [0; 32];
        for (place, digit) in digits.iter().rev().enumerate() {
            let value = char::from(*digit).to_digit(16).ok_or(InvalidObjectId)?;
            let value = u8::try_from(value).expect("a hex digit fits a byte");
            bytes[31 - place / 2] |= value << (4 * (place % 2));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn print_then_parse_gives_the_same_object(bytes: [u8; 32]) {
            let id = ObjectId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<ObjectId>(), Ok(id));
        }
    }

    #[test]
    fn short_and_upper_case_forms_name_the_same_object() {
        let full = format!("0x{}2a", "0".repeat(62));
        assert_eq!("0x2A".parse::<ObjectId>().unwrap().to_string(), full);
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused() {
        for text in ["", "0x", "2a", "0xg1", "0x+1", &format!("0x{}", "0".repeat(65))] {
            assert_eq!(text.parse::<ObjectId>(), Err(InvalidObjectId), "{text}");
        }
    }
}
