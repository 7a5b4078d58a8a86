//! A length of time, as people write it.

use std::{fmt, str::FromStr, time::Duration};

use crate::text::serde_as_text;

/// A length of time in configuration. Text: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`.
///
/// Printed in the largest unit that loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(Duration);

/// A text that is no [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no time span: write a whole number and a unit, such as \"30s\" (ms, s, m, h, d)"
)]
pub struct InvalidSpan {
    text: String,
}

// "ms" stands before "m" and "s" in parsing, since it ends like one and begins like the other.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl Span {
    /// This many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// This many seconds.
    pub const fn secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// The same length of time for the standard library.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSpan { text: text.chars().take(80).collect() };
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .ok_or_else(invalid)?;
        let number = number.trim();
        if !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u64 = number.parse().map_err(|_| invalid())?;
        number.checked_mul(unit).map(Self::millis).ok_or_else(invalid)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (name, unit) = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit))
            .unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

serde_as_text!(Span);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn print_then_parse_gives_the_same_span(millis: u64) {
            let span = Span::millis(millis);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }

    #[test]
    fn units_that_share_letters_are_told_apart() {
        assert_eq!("5ms".parse(), Ok(Span::millis(5)));
        assert_eq!("5m".parse(), Ok(Span::secs(300)));
        assert_eq!("5 s".parse(), Ok(Span::secs(5)));
        assert!("5".parse::<Span>().is_err());
        assert!("m".parse::<Span>().is_err());
    }
}
