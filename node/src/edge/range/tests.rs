use proptest::prelude::*;

use super::*;

fn resolve(value: &str, length: u64) -> Resolved {
    let mut headers = HeaderMap::new();
    headers.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
    of(&headers).resolve(length)
}

#[test]
fn every_form_of_one_range_is_understood() {
    for (value, range) in [
        ("bytes=0-0", 0..1),
        ("bytes=2-5", 2..6),
        ("bytes=2-", 2..10),
        ("bytes=-3", 7..10),
        ("bytes=-99", 0..10),
        ("bytes=8-99", 8..10),
        ("BYTES=2-5", 2..6),
        ("bytes= 2-5 ,", 2..6),
        ("bytes=0-99999999999999999999999999", 0..10),
    ] {
        assert_eq!(resolve(value, 10), Resolved::Single(range), "{value}");
    }
}

#[test]
fn what_is_no_range_is_ignored() {
    for value in [
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=0x0-5",
        "lines=1-2",
        "bytes=1-2,x",
    ] {
        assert_eq!(resolve(value, 10), Resolved::Whole, "{value}");
    }
    assert_eq!(of(&HeaderMap::new()).resolve(10), Resolved::Whole);
    let mut twice = HeaderMap::new();
    twice.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    twice.append(header::RANGE, HeaderValue::from_static("bytes=2-3"));
    assert_eq!(of(&twice).resolve(10), Resolved::Whole);
}

#[test]
fn bytes_that_are_not_there_cannot_be_had() {
    for (value, length) in
        [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
    {
        assert_eq!(resolve(value, length), Resolved::Unsatisfiable, "{value} of {length}");
    }
}

#[test]
fn ranges_far_apart_are_sent_in_the_order_asked_for() {
    let asked = resolve("bytes=900-909, 0-9, 5000-", 1_000);
    assert_eq!(asked, Resolved::Multi(vec![900..910, 0..10]));
}

#[test]
fn ranges_that_overlap_or_nearly_touch_are_joined() {
    assert_eq!(resolve("bytes=0-9,5-19", 1_000), Resolved::Single(0..20));
    assert_eq!(resolve("bytes=0-9,90-99", 1_000), Resolved::Single(0..100));
    assert_eq!(resolve("bytes=500-509,0-9,505-519", 1_000), Resolved::Multi(vec![0..10, 500..520]));
}

#[test]
fn two_thousand_ranges_get_the_body_once() {
    let many: Vec<String> =
        (0..2_000).map(|n| format!("{}-{}", 1_000 * n, 1_000 * n + 1)).collect();
    assert_eq!(resolve(&format!("bytes={}", many.join(",")), 1 << 30), Resolved::Whole);
    let overlapping = vec!["0-"; 60].join(",");
    assert_eq!(resolve(&format!("bytes={overlapping}"), 1 << 30), Resolved::Whole);
}

#[test]
fn content_range_counts_from_zero_and_includes_its_end() {
    assert_eq!(content_range(&(2..6), 10), "bytes 2-5/10");
    assert_eq!(unsatisfied(10), "bytes */10");
}

fn spec() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u64..60, 0u64..60).prop_map(|(a, b)| format!("{a}-{b}")),
        (0u64..60).prop_map(|a| format!("{a}-")),
        (0u64..60).prop_map(|b| format!("-{b}")),
    ]
}

/// The bytes asked for, by going through them one by one; `None` if a range is malformed.
fn model(specs: &[String], length: u64) -> Option<Vec<bool>> {
    let mut wanted = vec![false; usize::try_from(length).unwrap()];
    for spec in specs {
        let (first, last) = spec.split_once('-').unwrap();
        let (first, last) = (first.parse::<u64>().ok(), last.parse::<u64>().ok());
        if matches!((first, last), (Some(first), Some(last)) if first > last) {
            return None;
        }
        for (at, wanted) in (0..length).zip(&mut wanted) {
            *wanted |= match (first, last) {
                (Some(first), Some(last)) => (first..=last).contains(&at),
                (Some(first), None) => at >= first,
                (None, Some(suffix)) => at + suffix >= length,
                (None, None) => false,
            };
        }
    }
    Some(wanted)
}

proptest! {
    #[test]
    fn nothing_asked_for_is_missing_and_no_byte_comes_twice(
        specs in prop::collection::vec(spec(), 1..6), length in 0u64..50
    ) {
        let resolved = resolve(&format!("bytes={}", specs.join(",")), length);
        let Some(wanted) = model(&specs, length) else {
            prop_assert_eq!(resolved, Resolved::Whole);
            return Ok(());
        };
        let sent = match resolved {
            Resolved::Whole => std::iter::once(0..length).collect(),
            Resolved::Single(range) => vec![range],
            Resolved::Multi(ranges) => ranges,
            Resolved::Unsatisfiable => {
                prop_assert!(!wanted.contains(&true));
                return Ok(());
            }
        };
        for (at, wanted) in (0..length).zip(&wanted) {
            let times = sent.iter().filter(|range| range.contains(&at)).count();
            prop_assert!(times <= 1 && (times == 1 || !wanted), "byte {at} comes {times} times");
        }
    }

    #[test]
    fn no_header_makes_the_parser_panic(value in "(bytes=)?[0-9, -]{0,60}", length: u64) {
        let _ = resolve(&value, length);
    }
}
