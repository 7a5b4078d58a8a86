//! Validators and the conditions of requests (RFC 9110 §8.8.3, §13).

use std::fmt::{Display, Write as _};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How a list of validators relates to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is not in it, or there is no list.
    No,
    /// It is in it.
    Listed,
    /// The list is `*`: it matches whatever exists.
    Any,
}

/// The strong validator of what an id names: the id in quotes. Content under an id never changes,
/// so nothing else is needed.
pub fn etag(id: &impl Display) -> HeaderValue {
    let mut text = BytesMut::with_capacity(64);
    write!(text, "\"{id}\"").expect("the buffer grows");
    HeaderValue::from_maybe_shared(text.freeze()).expect("ids are visible ASCII")
}

/// The strong validator of bytes that claim to be what an id names, and that nobody checked.
///
/// It must differ from that of checked ones: a viewer whose download of a lie was cut would else
/// resume it with the truth, and one that holds a lie would be told that it is current.
pub fn unchecked_etag(id: &impl Display) -> HeaderValue {
    etag(&format_args!("{id}.unchecked"))
}

/// Whether the viewer has what `etag` names. Weak validators count (§13.1.2).
pub fn if_none_match(headers: &HeaderMap, etag: Option<&HeaderValue>) -> Match {
    listed(headers, &header::IF_NONE_MATCH, etag, Weak::Counts)
}

/// Whether an `If-Match`, if there is one, permits the request. Weak validators do not count.
pub fn if_match_holds(headers: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    !headers.contains_key(header::IF_MATCH)
        || listed(headers, &header::IF_MATCH, etag, Weak::DoesNotCount) != Match::No
}

/// Whether a `Range` is to be honoured: there is no `If-Range`, or it names this very body. A date
/// never does, since nothing here has one (§13.1.5).
pub fn if_range_holds(headers: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) => etag.is_some_and(|etag| value.as_bytes().trim_ascii() == etag.as_bytes()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    Counts,
    DoesNotCount,
}

fn listed(headers: &HeaderMap, name: &HeaderName, etag: Option<&HeaderValue>, weak: Weak) -> Match {
    for line in headers.get_all(name) {
        for one in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if one == b"*" {
                return Match::Any;
            }
            let strong = one.strip_prefix(b"W/").filter(|_| weak == Weak::Counts).unwrap_or(one);
            // Ids have no commas, so splitting at each one loses nothing that could match.
            if etag.is_some_and(|etag| etag.as_bytes() == strong) {
                return Match::Listed;
            }
        }
    }
    Match::No
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
        let values =
            values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()));
        values.collect()
    }

    fn none_match(values: &[&str]) -> Match {
        if_none_match(&with(header::IF_NONE_MATCH, values), Some(&etag(&"abc")))
    }

    #[test]
    fn a_viewer_has_what_it_lists_weakly_or_strongly() {
        for values in
            [&["\"abc\""][..], &["W/\"abc\""], &["\"x\", \"abc\""], &["\"x\"", "\"y\",W/\"abc\" "]]
        {
            assert_eq!(none_match(values), Match::Listed, "{values:?}");
        }
        assert_eq!(none_match(&["*"]), Match::Any);
        for values in [&[][..], &["\"ab\""], &["abc"], &["w/\"abc\""], &["\"abc"], &["", ","]] {
            assert_eq!(none_match(values), Match::No, "{values:?}");
        }
    }

    #[test]
    fn if_match_wants_a_strong_validator() {
        let holds = |value| if_match_holds(&with(header::IF_MATCH, &[value]), Some(&etag(&"abc")));
        assert!(holds("\"abc\"") && holds("*") && holds("\"x\",\"abc\""));
        assert!(!holds("W/\"abc\"") && !holds("\"x\""));
        assert!(if_match_holds(&HeaderMap::new(), None));
    }

    #[test]
    fn a_range_is_honoured_only_for_this_very_body() {
        let holds = |value| if_range_holds(&with(header::IF_RANGE, &[value]), Some(&etag(&"abc")));
        assert!(holds("\"abc\""));
        assert!(!holds("W/\"abc\"") && !holds("\"x\""));
        assert!(!holds("Tue, 24 Nov 2026 00:00:00 GMT"));
        assert!(if_range_holds(&HeaderMap::new(), None));
    }

    proptest! {
        #[test]
        fn membership_is_that_of_a_list(list in prop::collection::vec("[a-c]{1,3}", 0..5), id in "[a-c]{1,3}") {
            let line = list.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(" , ");
            let found = if_none_match(&with(header::IF_NONE_MATCH, &[&line]), Some(&etag(&id)));
            prop_assert_eq!(found == Match::Listed, list.contains(&id));
        }
    }
}
