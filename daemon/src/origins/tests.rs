use proptest::{prelude::*, sample::select};

use super::*;

fn parse(entry: &str) -> AllowedOrigin {
    entry.parse().unwrap()
}

#[test]
fn an_entry_is_kept_as_browsers_write_origins() {
    for (entry, kept) in [
        ("*", "*"),
        ("HTTPS://App.Example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("https://*.Example.org:443", "https://*.example.org"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert_eq!(parse(entry).to_string(), kept);
    }
}

#[test]
fn what_is_no_origin_is_named_with_the_remedy() {
    for entry in [
        "",
        "app.example",
        "https://",
        "//app.example",
        "https://app.example:0",
        "https://app.example:65536",
        "https://app.example:+1",
        "https://app.example:",
        "https://a..b",
        "https://app.example.",
        "https://user@app.example",
        "https://app.exämple",
        "https://*",
        "https://*example.org",
        "https://a.*.org",
        "https://*.*.org",
        "https://*.[::1]",
        "https://[::1",
        "https://[::1]x",
        "*://app.example",
        "https://a b",
    ] {
        let told = entry.parse::<AllowedOrigin>().unwrap_err().to_string();
        assert!(told.starts_with(&format!("{entry} is no origin; write it like https://")));
    }
    for entry in ["https://app.example/", "https://app.example/x", "https://app.example?x"] {
        let told = entry.parse::<AllowedOrigin>().unwrap_err().to_string();
        let right =
            format!("{entry} is more than an origin; leave out what follows the host and its port");
        assert_eq!(told, right);
    }
    assert_eq!("null".parse::<AllowedOrigin>(), Err(NoOrigin::Null));
}

#[test]
fn a_list_tells_an_origin_its_own_name_unless_it_is_everybodys() {
    let ask = |list: &Origins| list.allow(&HeaderValue::from_static("https://app.example"));
    let one: Origins = [parse("https://app.example")].into_iter().collect();
    let other: Origins = [parse("https://*.app.example")].into_iter().collect();
    assert_eq!(ask(&one).unwrap(), "https://app.example");
    assert_eq!(ask(&Origins::everybody()).unwrap(), "*");
    assert_eq!((ask(&other), ask(&Origins::default())), (None, None));
    assert!(one.depend() && !Origins::everybody().depend() && !Origins::default().depend());
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(select(vec!["a", "b", "evil", "example", "org", "x-1"]), 1..4)
        .prop_map(|labels| labels.into_iter().map(str::to_owned).collect())
}

/// Scheme, host and port, apart.
fn origin() -> impl Strategy<Value = (&'static str, Vec<String>, Option<u16>)> {
    let port = select(vec![None, Some(8080), Some(8443)]);
    (select(vec!["http", "https"]), labels(), port)
}

fn written(scheme: &str, host: &str, port: Option<u16>) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}")
}

proptest! {
    #[test]
    fn one_origin_allows_itself_alone(one in origin(), other in origin()) {
        let [a, b] = [&one, &other].map(|(s, host, port)| written(s, &host.join("."), *port));
        prop_assert_eq!(parse(&a).allows(b.as_bytes()), a == b);
    }

    #[test]
    fn a_domain_allows_what_is_below_it_by_the_same_scheme_and_port(
        parent in origin(), asks in origin(), is_below in any::<bool>(),
    ) {
        let pattern = parse(&written(parent.0, &format!("*.{}", parent.1.join(".")), parent.2));
        let mut host = asks.1;
        if is_below {
            host.extend(parent.1.iter().cloned());
        }
        let origin = written(asks.0, &host.join("."), asks.2);
        let is_longer = host.len() > parent.1.len() && host.ends_with(&parent.1);
        let expected = is_longer && asks.0 == parent.0 && asks.2 == parent.2;
        prop_assert_eq!(pattern.allows(origin.as_bytes()), expected, "{} {}", pattern, origin);
    }

    /// It is sent back in a header.
    #[test]
    fn whatever_a_domain_allows_is_an_origin(
        between in "[a-z./:@ \\r\\n*-]{0,12}", after in "(:8080|/|\\.evil)?",
    ) {
        let origin = format!("https://{between}.example.org{after}");
        if parse("https://*.example.org").allows(origin.as_bytes()) {
            prop_assert_eq!(parse(&origin), AllowedOrigin::One(origin));
        }
    }

    #[test]
    fn what_is_read_is_what_was_written(entry in "\\PC{0,20}|[a-z]{1,5}://(\\*\\.)?[a-zA-Z.:0-9\\[\\]*-]{0,20}") {
        if let Ok(origin) = entry.parse::<AllowedOrigin>() {
            prop_assert_eq!(parse(&origin.to_string()), origin);
        }
    }
}
