//! Names operators give: of regions, nodes and origins.

use std::{fmt, str::FromStr, sync::Arc};

use crate::text::serde_as_text;

/// A text that cannot name a region, node or origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name: use 1 to {MAX_LEN} of a-z 0-9 . - _, beginning with a letter or digit"
)]
pub struct InvalidName {
    text: String,
}

const MAX_LEN: usize = 63;

fn checked(text: &str) -> Result<Arc<str>, InvalidName> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=MAX_LEN).contains(&text.len())
        && text.starts_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '.' | '-' | '_'));
    if fits { Ok(text.into()) } else { Err(InvalidName { text: text.chars().take(80).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 63 of `a-z 0-9 . - _`, beginning with a letter or digit: safe as a metric label,
        /// a log field and part of a host name.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        serde_as_text!($name);
    };
}

name! {
    /// Where nodes stand near each other, such as `eu-west`.
    Region
}
name! {
    /// One edge node, such as `eu-west-1`.
    NodeId
}
name! {
    /// A Walrus aggregator or gateway that the edge fills from.
    OriginName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words() {
        for text in ["eu-west", "a", "9lives", "walrus.example.com"] {
            assert_eq!(text.parse::<Region>().unwrap().as_str(), text);
        }
        for text in ["", "-x", "Eu", "a b", "a\n", "ä", &"x".repeat(64)] {
            assert!(text.parse::<Region>().is_err(), "{text:?}");
        }
    }
}
