//! How positions, times and amounts are written.

use std::time::Duration;

use jiff::Timestamp;
use wcdn_proto::{Position, Span, pb::event::v1 as event};

/// What stands where there is nothing.
pub(crate) const NOTHING: &str = "-";

/// A text that is no position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no position: write EPOCH:SEQ, such as 1:42")]
pub(crate) struct InvalidPosition {
    text: String,
}

/// `EPOCH:SEQ`.
pub(crate) fn parse_position(text: &str) -> Result<Position, InvalidPosition> {
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
        if is_number { digits.parse().ok() } else { None }
    };
    text.split_once(':')
        .and_then(|(epoch, seq)| Some(Position { epoch: number(epoch)?, seq: number(seq)? }))
        .ok_or_else(|| InvalidPosition { text: text.chars().take(80).collect() })
}

/// `EPOCH:SEQ`, which [`parse_position`] reads.
pub(crate) fn position(position: Position) -> String {
    format!("{}:{}", position.epoch, position.seq)
}

/// The same of one that may be missing.
pub(crate) fn wire_position(wire: Option<event::Position>) -> Option<String> {
    wire.map(|at| position(at.into()))
}

/// A time in RFC 3339, in UTC; none of one beyond all calendars.
pub(crate) fn time(unix_ms: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(format!("{time:.3}"))
}

/// A moment, by this machine's clock where it is counted from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        Self(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0))
    }

    /// Unix time in milliseconds; 0 for never.
    pub(crate) fn unix_ms(self) -> u64 {
        self.0
    }
}

/// A time in RFC 3339.
pub(crate) fn parse_moment(text: &str) -> Result<Moment, String> {
    let time = text.parse::<Timestamp>().ok();
    let millis = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    millis.map(Moment).ok_or_else(|| "write a time such as 2026-12-31T00:00:00Z".to_owned())
}

/// A time, a span from now, or never.
pub(crate) fn parse_end(text: &str) -> Result<Moment, String> {
    match text.parse::<Span>() {
        _ if text == "never" => Ok(Moment(0)),
        Ok(span) => Ok(Moment(Moment::now().0.saturating_add(millis(span.duration())))),
        Err(_) => {
            parse_moment(text).map_err(|told| format!("{told}, a span such as 90d, or never"))
        }
    }
}

/// A time, or a span back from now.
pub(crate) fn parse_past(text: &str) -> Result<Moment, String> {
    match text.parse::<Span>() {
        Ok(span) => Ok(Moment(Moment::now().0.saturating_sub(millis(span.duration())))),
        Err(_) => parse_moment(text).map_err(|told| format!("{told}, or a span such as 24h")),
    }
}

/// A span in milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A span as people read it, rounded up, since it is an upper bound.
pub(crate) fn after(micros: u64) -> String {
    match micros {
        0..10_000 => {
            let tenths = micros.div_ceil(100);
            format!("{}.{} ms", tenths / 10, tenths % 10)
        }
        10_000..10_000_000 => format!("{} ms", micros.div_ceil(1_000)),
        _ => format!("{} s", micros.div_ceil(1_000_000)),
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A text from outside without what would command a terminal, or make it show another text than it is.
pub(crate) fn plain(text: &str) -> String {
    let visible = text.chars().filter(|c| !is_invisible(*c));
    visible.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Characters without a width, and those that turn the direction of others (UAX #9).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn print_then_parse_gives_the_same_position(epoch: u64, seq: u64) {
            let there = Position { epoch, seq };
            prop_assert_eq!(parse_position(&position(there)), Ok(there));
        }

        #[test]
        fn any_text_is_a_position_or_refused(text in "[0-9+: -]{0,12}") {
            if let Ok(there) = parse_position(&text) {
                prop_assert_eq!(parse_position(&position(there)), Ok(there));
            }
        }

        #[test]
        fn any_time_is_written_or_left_out(unix_ms: u64) {
            prop_assert!(time(unix_ms).is_none_or(|text| text.ends_with('Z')));
        }
    }

    #[test]
    fn what_has_no_number_on_each_side_is_no_position() {
        for text in ["", ":", "1", "1:", ":1", "+1:2", "1:2:3", "1:99999999999999999999"] {
            assert!(parse_position(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_was_said() {
        assert_eq!(plain("a\u{202e}b\u{200b}c\u{2066}d\u{feff}"), "abcd");
        assert_eq!(plain("\u{1b}[2Jé 日本"), " [2Jé 日本");
    }

    #[test]
    fn spans_are_rounded_up() {
        let written = [0, 1, 9_900, 9_901, 38_001, 9_999_999, 12_000_001].map(after);
        assert_eq!(written, ["0.0 ms", "0.1 ms", "9.9 ms", "10.0 ms", "39 ms", "10000 ms", "13 s"]);
    }

    #[test]
    fn times_have_milliseconds_and_a_zone() {
        assert_eq!(time(1_764_114_253_007).as_deref(), Some("2025-11-25T23:44:13.007Z"));
    }
}
